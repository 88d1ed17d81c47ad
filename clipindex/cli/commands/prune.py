"""`clipindex prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options, values
from clipindex.cli.removal import asker, require_answer, show_foreseen, show_pruned, show_report
from clipindex.cli.session import Session, command


@command(writes=True)
def prune(
    session: Session,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Only what was at or below these. Default: all remembered folders.",
            show_default=False,
            rich_help_panel=options.REMOVAL,
        ),
    ] = None,
    excluded: Annotated[
        bool,
        typer.Option(
            "--excluded",
            help="Also remove what exists, but is excluded by now: by --exclude, --include, or as "
            "a hidden name.",
            rich_help_panel=options.REMOVAL,
        ),
    ] = False,
    max_delete: options.MaxDelete = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List what would be removed, and what stays and why; remove nothing.",
            rich_help_panel=options.REMOVAL,
        ),
    ] = False,
    yes: options.Yes = False,
    part: options.PartText = None,
) -> None:
    """Remove pictures from the index whose files are gone. No file is ever touched.

    A file is gone when its folder was walked to the end without an error and is the folder that
    was indexed, on the same disk. Nothing is removed when a disk is away, or when more than 10 %
    of a folder would go (--max-delete). Renamed pictures are not gone: run `reindex` first.

        clipindex prune --dry-run
        clipindex prune
        clipindex reindex --prune --yes --quiet
    """
    limits = values.most_deleted(max_delete, excluded=excluded)
    share, output = values.part(part), session.output
    if not dry_run:
        require_answer(output, yes=yes)
    index = session.index()
    if dry_run:
        plan = index.foresee_prune(paths or (), limits, part=share)
        show_foreseen(plan, index.place.source, output)
        return
    report = index.prune(paths or (), limits, part=share, agree=asker(output, yes=yes))
    show_report(report, index.place.source, output)
    show_pruned(report, output)
