"""`clipindex tags`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli.session import Session, command
from clipindex.cli.tags_view import show_tags


@command(without=("source",))
def tags(
    session: Session,
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY]...",
            help="Only these keys, with all their values.",
            show_default=False,
            rich_help_panel="Which tags",
        ),
    ] = None,
) -> None:
    """List the tags and metadata of a collection, with how many pictures have each value.

    A key with many values shows the most frequent ones; name it to see them all. In a pipe each
    line is: key, tab, value, tab, count. The collection is not locked.

        clipindex tags
        clipindex tags owner --json
    """
    from clipindex.search.tag_list import tags_in

    show_tags(tags_in(session.place(), keys or ()), session.output, everything=bool(keys))
