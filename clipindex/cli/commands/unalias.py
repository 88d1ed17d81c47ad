"""`clipindex unalias`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli.results import show_alias
from clipindex.cli.session import Session, command


@command(without=("collection", "source"))
def unalias(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The alias.", rich_help_panel="Which alias")
    ],
) -> None:
    """Take an alias away from a Qdrant server. The collection that it stood for stays.

    After that, a command with the alias as its --collection ends with exit code 6.

        clipindex unalias photos --url http://localhost:6333
    """

    show_alias(name, None, session.index().unalias(name), session.output)
