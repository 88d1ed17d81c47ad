"""`clipindex forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.removal import require_answer
from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command
from clipindex.cli.words import count_of

PANEL = "What to forget"


@command(writes=True)
def forget(
    session: Session,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A folder that `clipindex status` lists.",
            rich_help_panel=PANEL,
        ),
    ],
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Also remove everything at or below it from the index, whether the files exist "
            "or not; then FOLDER may be any path. No file is touched.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    yes: options.Yes = False,
) -> None:
    """Drop a remembered folder: `reindex` no longer looks there. Its pictures stay indexed.

    To index it again, ingest it again: nothing is read twice. With --prune its pictures leave the
    index, too; what is indexed again later is embedded again and has lost its tags.

        clipindex forget /mnt/camera-card
        clipindex forget --prune /mnt/old-disk
    """
    index, output = session.index(), session.output
    if not prune:
        session.refuse_typed(("yes",), "only with --prune")
        index.forget(path)
        show_count("forgotten", 1, output)
        return
    require_answer(output, yes=yes, look="status")
    if not yes:
        below = index.remembered_below(path)
        question = (
            f"Remove {count_of(below.pictures, 'picture')} and {below.others:,} other files at or "
            f"below {path} from the index?"
        )
        if not output.ask(question):
            output.say("nothing was removed")
            return
    removed = index.forget_and_prune(path)
    output.log(f"forgotten with all that was indexed below: {path}: {removed:,} pruned")
    show_count("pruned", removed, output)
