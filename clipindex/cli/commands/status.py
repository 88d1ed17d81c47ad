"""`clipindex status`."""

from __future__ import annotations

from clipindex.cli.results import show_status
from clipindex.cli.session import Session, command


@command()
def status(session: Session) -> None:
    """Show what a collection holds, its model, its remembered folders and its latest run.

    Nothing is locked: it also works while an ingest is running.

        clipindex status
        clipindex status --store ./index --json
    """
    from clipindex.collection.status import status_of

    show_status(status_of(session.place()), session.output)
