"""`clipindex relocate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command

PANEL = "What moved"


@command(writes=True)
def relocate(
    session: Session,
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="Where the pictures were.", rich_help_panel=PANEL),
    ],
    new: Annotated[
        Path,
        typer.Argument(metavar="NEW", help="The folder where they are now.", rich_help_panel=PANEL),
    ],
) -> None:
    """Rewrite the paths below OLD when a disk is mounted elsewhere; no picture is opened.

    If it is interrupted, run the same command again: it finishes the work.

        clipindex relocate /media/old-disk /mnt/photos
    """

    show_count("relocated", session.index().relocate(old, new), session.output)
