"""`clipindex status`."""

from __future__ import annotations

from clipindex.cli.session import Session, command
from clipindex.cli.status_view import show_status


@command()
def status(session: Session) -> None:
    """Show what a collection holds, its remembered folders, the run under way and the last ones.

    A run under way is shown with its progress, a folder with the options that `reindex` uses.
    Nothing is locked: it also works while an ingest is running.

        clipindex status
        clipindex status --store ./index --json
    """
    from clipindex.collection.status import status_of

    show_status(status_of(session.place()), session.output)
