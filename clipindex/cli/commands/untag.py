"""`clipindex untag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command

PANEL = "What to untag"


@command(writes=True)
def untag(
    session: Session,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The tag's key.", rich_help_panel=PANEL)
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
    """Take a tag off every indexed picture at or below the paths.

    Other tags stay as they are. A tag that none of these pictures has is an error: exit code 2.

        clipindex untag year ~/Pictures/2019
    """

    show_count("untagged", session.index().untag([key], paths), session.output)
