"""The options that every command has, and those of every command that writes.

`clipindex.cli.session` adds them to a command's own.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.config import configure
from clipindex.cli.options import OUTPUT, WHERE
from clipindex.cli.origins import checked
from clipindex.collection.names import DEFAULT_COLLECTION


class Shared:
    """What the commands have in common; `clipindex.cli.session` adds it to each of them."""

    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="FOLDER",
            envvar="CLIPINDEX_STORE",
            help="Folder of the embedded store. Default: one in your user data folder.",
            show_default=False,
            rich_help_panel=WHERE,
        ),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            parser=checked(values.url),
            envvar="CLIPINDEX_URL",
            help="A Qdrant server instead of a folder, such as http://localhost:6333. An API key "
            "is read from the environment: CLIPINDEX_API_KEY.",
            show_default=False,
            rich_help_panel=WHERE,
        ),
    ] = None
    collection: Annotated[
        str,
        typer.Option(
            "--collection",
            metavar="NAME",
            parser=checked(values.collection),
            envvar="CLIPINDEX_COLLECTION",
            help="Name of the collection.",
            rich_help_panel=WHERE,
        ),
    ] = DEFAULT_COLLECTION
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            parser=checked(values.source),
            envvar="CLIPINDEX_SOURCE",
            help="Whose files these are, where several machines fill one collection: a run judges "
            "only its own. Default: 'local', with --url this machine's name.",
            show_default=False,
            rich_help_panel=WHERE,
        ),
    ] = None
    timeout: Annotated[
        int | None,
        typer.Option(
            "--timeout",
            min=1,
            max=86_400,
            metavar="SECONDS",
            envvar="CLIPINDEX_TIMEOUT",
            help="How long a server may take to answer a request. Default: 10 to read, 60 to "
            "write.",
            show_default=False,
            rich_help_panel=WHERE,
        ),
    ] = None
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            envvar="CLIPINDEX_JSON",
            help="Print JSON, one object a line.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            envvar="CLIPINDEX_QUIET",
            help="Print only results, errors and damaged files.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            envvar="CLIPINDEX_VERBOSE",
            help="Say more: every file of a run, the details of an unexpected error.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            envvar="CLIPINDEX_LOG_FILE",
            help="Also append a log to this file, each line with its time.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="CLIPINDEX_CONFIG",
            is_eager=True,
            callback=configure,
            help="A TOML file of defaults. Default: config.toml in your user configuration folder.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None


class Waiting:
    """What the commands that write have in common."""

    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="TIME",
            parser=checked(values.seconds),
            envvar="CLIPINDEX_WAIT",
            help="While another command writes to the collection, wait for it as long as this "
            "(90s, 30m, 4h) before giving up with exit code 11. Default: 10s.",
            show_default=False,
            rich_help_panel=WHERE,
        ),
    ] = None


PLACE: Collection[str] = ("store", "url", "collection", "source", "timeout")
