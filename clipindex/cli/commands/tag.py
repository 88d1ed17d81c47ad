"""`clipindex tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.filter_options import PictureOptions
from clipindex.cli.origins import checked
from clipindex.cli.results import show_count
from clipindex.cli.selecting import SelectionOptions, change_from_table, chosen
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

PANEL = "What to tag"


@command(writes=True, groups=(SelectionOptions, PictureOptions))
def tag(
    session: Session,
    tag: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY=VALUE",
            parser=checked(values.tag),
            help="The tag. A key has letters, digits and '_'.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Indexed pictures, folders of them, or patterns in quotes: 'IMG_20*', "
            "'~/Pictures/*/raw'.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Tag indexed pictures: by path, by pattern, by what a query finds, by a filter.

    All that you give must hold. Where more is meant than you named, the pictures are counted
    first, and on a terminal you are asked. Find them with `query --where KEY=VALUE`. A tag
    outlives an edit and a rename of its picture.

        clipindex tag year=2019 ~/Pictures/2019
        clipindex tag kind=receipt --query "a photographed receipt" --min-z 3 --dry-run
        clipindex tag best=yes --where "rating>=4" --taken 2024
        clipindex tag --from tags.csv
    """
    if session.more["table"] is not None:
        change_from_table(session, tag, paths or (), remove=False)
        return
    if tag is None:
        raise UsageError("missing argument 'KEY=VALUE'", hint="or take tags --from a file")
    key, value = values.tag(tag)
    pictures = chosen(session, paths or (), f"Tag them with {key}={value}?")
    if pictures is not None:
        show_count("tagged", session.index().tag({key: value}, pictures), session.output)
