"""`clipindex doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import config as configuration
from clipindex.cli import options, values
from clipindex.cli.session import Session, command
from clipindex.errors import ClipIndexError, UsageError

if TYPE_CHECKING:
    from clipindex.collection.place import Place


def _tolerant(context: typer.Context, path: Path | None) -> Path | None:
    """As `config.configure`; a broken file is a line of the report instead of the end."""
    try:
        return configuration.configure(context, path)
    except UsageError:
        context.default_map = {}
        return path


@command(without=("url", "config", "log_file"))
def doctor(
    session: Session,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            envvar="CLIPINDEX_URL",
            help="A Qdrant server instead of a folder.",
            show_default=False,
            rich_help_panel=options.WHERE,
        ),
    ] = None,
    config: Annotated[
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
    ] = None,
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
    from clipindex.collection.places import place_at
    from clipindex.model.encoder import Model
    from clipindex.upkeep.doctor.run import examine

    server = None
    place: Place | ClipIndexError
    try:
        server = values.server(url)
        place = place_at(session.store, server, session.collection, session.source)
    except ClipIndexError as error:
        place = error
    checks = examine(place, server, Model, model)
    return show_report(settings_of(session.context), checks, session.output)
