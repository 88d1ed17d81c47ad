"""`clipindex tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.origins import checked
from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command

PANEL = "What to tag"


@command(writes=True)
def tag(
    session: Session,
    tag: Annotated[
        str,
        typer.Argument(
            metavar="KEY=VALUE",
            parser=checked(values.tag),
            help="The tag. A key has letters, digits and '_'.",
            rich_help_panel=PANEL,
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Indexed pictures, or folders of them.",
            rich_help_panel=PANEL,
        ),
    ],
) -> None:
    """Tag every indexed picture at or below the paths.

    Find them with `query --where KEY=VALUE`. A tag outlives an edit and a rename of its picture.

        clipindex tag year=2019 ~/Pictures/2019
        clipindex query "a dog" --where year=2019
    """
    key, value = values.tag(tag)
    show_count("tagged", session.index().tag({key: value}, paths), session.output)
