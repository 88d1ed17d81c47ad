"""`clipindex untag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.filter_options import PictureOptions
from clipindex.cli.results import show_count
from clipindex.cli.selecting import SelectionOptions, change_from_table, chosen
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

PANEL = "What to untag"


@command(writes=True, groups=(SelectionOptions, PictureOptions))
def untag(
    session: Session,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="The tag's key.", show_default=False, rich_help_panel=PANEL
        ),
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Indexed pictures, folders of them, or patterns in quotes.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Take a tag off indexed pictures: by path, by pattern, by a query, by a filter.

    Pictures are chosen as for `tag`. Other tags stay as they are. A tag that none of these
    pictures has is an error: exit code 2. With --from a tag goes that has the row's value.

        clipindex untag year ~/Pictures/2019
        clipindex untag kind --where kind=receipt --before 2020
    """
    if session.more["table"] is not None:
        change_from_table(session, key, paths or (), remove=True)
        return
    if key is None:
        raise UsageError("missing argument 'KEY'", hint="or take tags --from a file")
    pictures = chosen(session, paths or (), f"Take the tag '{key}' off them?")
    if pictures is not None:
        show_count("untagged", session.index().untag([key], pictures), session.output)
