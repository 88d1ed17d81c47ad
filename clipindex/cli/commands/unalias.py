"""`clipindex unalias`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli import options, values
from clipindex.cli.origins import checked
from clipindex.cli.results import show_alias
from clipindex.cli.session import Session, command


@command(without=("store", "collection", "source"))
def unalias(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            parser=checked(values.collection),
            help="The alias.",
            rich_help_panel="Which alias",
        ),
    ],
    store: options.NoStore = None,
) -> None:
    """Take an alias away from a Qdrant server. The collection that it stood for stays.

    After that, a command with the alias as its --collection ends with exit code 6.

        clipindex unalias photos --url http://localhost:6333
    """

    show_alias(name, None, session.index().unalias(name), session.output)
