"""`clipindex alias`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli import options, values
from clipindex.cli.origins import checked
from clipindex.cli.results import show_alias
from clipindex.cli.session import Session, command


@command(without=("store", "source"))
def alias(
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
    """Let NAME stand for --collection on a Qdrant server, whatever it stood for before.

    From then on everyone whose --collection is NAME uses the new collection; a run under way ends
    in the collection where it began. Nothing is copied or deleted: the same command switches back.

        clipindex alias photos --collection photos-v2 --url http://localhost:6333
    """

    index = session.index()
    before = index.alias(name)
    own_name = index.place.locate().place.collection  # --collection may itself be an alias
    show_alias(name, own_name, before, session.output)
