"""`clipindex import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command


@command(writes=True)
def import_(
    session: Session,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="The folder of an export.",
            show_default=False,
            rich_help_panel="What to import",
        ),
    ],
) -> None:
    """Bring an export into a collection, which is created if need be; every point is verified.

    Points that exist already are not written again, so an interrupted import just goes on. The
    points of the export's own source become this collection's own.

        clipindex import ./photos-export --store ./index
    """
    from clipindex.cli.run_view import points_bar

    index = session.index()
    with points_bar(session.output) as moved:
        count = index.import_(folder, moved)
    show_count("imported", count, session.output)
