"""`clipindex doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import config as configuration
from clipindex.cli import options, values
from clipindex.cli.session import Session, command
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.collection.place import Place


def _tolerant(context: typer.Context, path: Path | None) -> Path | None:
    """As `config.configure`; a broken file is a line of the report instead of the end."""
    try:
        return configuration.configure(context, path)
    except UsageError:
        context.default_map = {}
        return path


# As every command has them, but taking any value: a wrong one is a line of the report.
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="CLIPINDEX_URL",
        help="A Qdrant server instead of a folder.",
        show_default=False,
        rich_help_panel=options.WHERE,
    ),
]
Collection = Annotated[
    str,
    typer.Option(
        "--collection",
        metavar="NAME",
        envvar="CLIPINDEX_COLLECTION",
        help="Name of the collection.",
        rich_help_panel=options.WHERE,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="NAME",
        envvar="CLIPINDEX_SOURCE",
        help="Whose files these are, where several machines fill one collection.",
        show_default=False,
        rich_help_panel=options.WHERE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="CLIPINDEX_CONFIG",
        is_eager=True,
        callback=_tolerant,
        help="A TOML file of defaults.",
        show_default=False,
        rich_help_panel=options.OUTPUT,
    ),
]


@command(without=("url", "collection", "source", "config", "log_file"))
def doctor(
    session: Session,
    url: Url = None,
    collection: Collection = DEFAULT_COLLECTION,
    source: Source = None,
    config: Config = None,
    model: options.Model = None,
) -> int:
    """Check everything that clipindex needs, and say what to do about what is wrong.

    Libraries, processor, permissions, free space, file system, locks, engine, collection, server,
    model files and the vectors that they give, and where each setting comes from. Nothing is
    changed. It also works where nothing is set up yet, or something is broken.

    Exit code 0 when all is well (notes included), 1 when something must be done.

        clipindex doctor
        clipindex doctor --url http://localhost:6333
    """
    from clipindex.cli.doctor_view import show_report
    from clipindex.cli.settings import settings_of
    from clipindex.upkeep.doctor.run import examine

    def find_place() -> Place:
        from clipindex.collection.places import place_at

        server = values.server(url, session.timeout)
        name = values.collection(collection)
        return place_at(session.store, server, name, source and values.source(source))

    checks = examine(find_place, model)
    return show_report(settings_of(session.context), checks, session.output)
