"""`clipindex forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command


@command(writes=True)
def forget(
    session: Session,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A folder that `clipindex status` lists.",
            rich_help_panel="What to forget",
        ),
    ],
) -> None:
    """Drop a remembered folder: `reindex` no longer looks there. Its pictures stay indexed.

    To index it again, ingest it again: nothing is read twice.

        clipindex forget /mnt/camera-card
    """

    session.index().forget(path)
    show_count("forgotten", 1, session.output)
