"""`clipindex classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.filter_options import WHICH, PictureOptions, picture_filter
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

WHAT = "Labels"


@command(writes=True, groups=(PictureOptions,))
def classify(
    session: Session,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Only these pictures, which need not be indexed. They get no tag.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The labels, one a line: LABEL, or LABEL: a text that describes it.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Write each picture's label as this tag. One that it has already stays.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="With --tag: write it also over another value of the tag.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="With --tag: write nothing, show what would be.", rich_help_panel=WHAT
        ),
    ] = False,
    always: Annotated[
        bool,
        typer.Option(
            "--always",
            help="Give each picture its nearest label, however little it stands out.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    min_z: Annotated[
        float | None,
        typer.Option(
            min=-1000.0,
            max=1000.0,
            metavar="Z",
            help="How far a label must stand out, in place of what was measured for the model.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Put a text of up to three words into seven sentences ('a photo of a ...') and "
            "take their mean.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    under: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Only pictures below this folder. Repeatable: below any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    model: options.Model = None,
) -> int:
    """Give each picture the label of a list that describes it best, or "none of these".

    The label whose text is nearest wins. It counts only if it stands out from what it scores on
    the collection's pictures in general, as far as that was measured for the model. On a terminal
    it prints how many pictures each label has; in a pipe a line each: label, score, path.

        clipindex classify --labels rooms.txt
        clipindex classify --labels rooms.txt --tag room --dry-run
        clipindex classify --labels rooms.txt new.jpg
    """
    from clipindex.cli.classify_view import read_labels, show_labels
    from clipindex.upkeep.classify import ClassifyOptions

    if labels is None:
        raise UsageError("--labels names the file with the labels", hint="one on each line")
    if tag is None and (replace or dry_run):
        raise UsageError("--replace and --dry-run are about --tag, which is missing")
    if always and min_z is not None:
        raise UsageError("--always and --min-z exclude each other", hint="give one of them")
    known = read_labels(labels)
    chosen = ClassifyOptions(
        tag=None if dry_run else tag,
        replace=replace,
        always=always,
        min_z=min_z,
        ensemble=ensemble,
        under=tuple(under or ()),
        pictures=picture_filter(session.more),
    )
    results = session.index(model=model).classify(known, files or (), chosen)
    return show_labels(results, known, session.output, tag=tag, dry_run=dry_run, always=always)
