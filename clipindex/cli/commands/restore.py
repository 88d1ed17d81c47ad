"""`clipindex restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.session import Session, command
from clipindex.cli.words import count_of, printable


@command(writes=True)
def restore(
    session: Session,
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The folder that `backup` was given.",
            show_default=False,
            rich_help_panel="What to restore",
        ),
    ],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace the collection where it exists. It is kept until the restored one is in "
            "its place and opens.",
            rich_help_panel="What to restore",
        ),
    ] = False,
) -> None:
    """Make a collection of an embedded store from its backup.

    Every file of the backup is compared with its SHA-256 before anything is written, every point
    after it was written. An interruption leaves what was there before.

        clipindex restore /mnt/backup --replace
        clipindex restore /mnt/backup --store ./restored
    """
    from clipindex.cli.run_view import points_bar

    with points_bar(session.output) as moved:
        done = session.index().restore(directory, moved, replace=replace)
    if session.output.json:
        session.output.record({"type": "restored", **asdict(done)})
    elif not session.output.quiet:
        session.output.result(
            f"{count_of(done.points, 'picture')} restored and verified; the backup was made at "
            f"{printable(done.created)} by clipindex {printable(done.clipindex)}"
        )
