"""`clipindex backup`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.session import Session, command
from clipindex.cli.words import count_of, megabytes, printable


@command(writes=True)
def backup(
    session: Session,
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder for backups, best on another disk. It is created if need be.",
            show_default=False,
            rich_help_panel="Where to",
        ),
    ],
) -> None:
    """Back up a collection of an embedded store: points, tags, folders, quarantine, history.

    The backup is the folder DIR/clipindex-COLLECTION. The next one replaces it, once it is
    complete; to keep several, name a DIR for each. Queries go on meanwhile, an ingest waits.
    `restore` makes the collection from it again; `import` reads it too, also into a Qdrant server.

        clipindex backup /mnt/backup
        clipindex backup "/mnt/backup/$(date +%A)"
    """
    from clipindex.cli.run_view import points_bar

    with points_bar(session.output) as moved:
        done = session.index().backup(directory, moved)
    if session.output.json:
        session.output.record({"type": "backup", **asdict(done)})
    elif not session.output.quiet:
        session.output.result(
            f"{count_of(done.points, 'picture')} backed up to {printable(done.folder)}: "
            f"{megabytes(done.bytes)} in {done.seconds:.1f} s"
        )
