"""The options that several commands share, and how their texts become values."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from clipindex.cli import config
from clipindex.errors import ClipIndexError, UsageError
from clipindex.model.providers import Provider as ProviderChoice


def _option_names(command: Any) -> set[str]:
    return {parameter.name or "" for parameter in command.params} - {"config"}


def _configure(context: typer.Context, path: Path | None) -> Path | None:
    """Let the configuration file give the command's defaults, below flags and environment."""
    try:
        if configuration := config.read(path):
            commands = getattr(context.find_root().command, "commands", {})
            options = {name: _option_names(command) for name, command in commands.items()}
            values = config.defaults_for(configuration, context.command.name or "", options)
            many = {p.name or "" for p in context.command.params if getattr(p, "multiple", False)}
            context.default_map = {
                name: [value] if name in many and isinstance(value, str) else value
                for name, value in values.items()
            }
    except ClipIndexError as error:
        where = f" ({error.path})" if error.path else ""
        typer.echo(f"clipindex: {error.message}{where}", err=True)
        raise typer.Exit(int(error.exit_code)) from None
    return path


def _one_place(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Of --store and --url the nearer one holds: flag before environment before file."""
    other = "url" if parameter.name == "store" else "store"
    mine = _distance(context, str(parameter.name))
    theirs = _distance(context, other)
    if value is not None and context.params.get(other) is not None and mine != theirs:
        if theirs < mine:
            return None
        context.params[other] = None
    return value


def _distance(context: typer.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    order = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
    return order.index(source.name) if source is not None and source.name in order else len(order)


Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        callback=_one_place,
        envvar="CLIPINDEX_STORE",
        help="Folder of the embedded store. Default: in your user data folder.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        callback=_one_place,
        envvar="CLIPINDEX_URL",
        help="A Qdrant server instead of a folder: http://localhost:6333. Its key, if it has one, "
        "comes from the environment: CLIPINDEX_API_KEY.",
        show_default=False,
    ),
]
Collection = Annotated[
    str, typer.Option("--collection", envvar="CLIPINDEX_COLLECTION", help="Name of the collection.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="CLIPINDEX_MODEL",
        help="Name of a model, or the folder of a bundle. An existing collection brings its own.",
        show_default=False,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        envvar="CLIPINDEX_SOURCE",
        help="Whose files these are, where several machines fill one collection; each run judges "
        "only its own. Default: 'local', with --url this machine's name.",
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", envvar="CLIPINDEX_JSON", help="One JSON object a line.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", envvar="CLIPINDEX_QUIET", help="Errors and bad files only.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", envvar="CLIPINDEX_VERBOSE", help="Tell of every file.")
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        envvar="CLIPINDEX_LOG_FILE",
        help="Append what happens to this file as well, each line with its time.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="CLIPINDEX_CONFIG",
        is_eager=True,
        callback=_configure,
        help="A TOML file of defaults. Default: config.toml in your user configuration folder.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1,
        max=250,
        envvar="CLIPINDEX_BATCH_SIZE",
        help="Points that are written, made durable and read back together.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="CLIPINDEX_WORKERS",
        help="Threads that read and embed. Default: one for each core.",
        show_default=False,
    ),
]
Provider = Annotated[
    ProviderChoice,
    typer.Option(
        "--provider",
        envvar="CLIPINDEX_PROVIDER",
        help="What runs the vision tower. auto: cuda where it loads, else cpu. One that is asked "
        "for and cannot be had ends the run.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=0,
        envvar="CLIPINDEX_LIMIT",
        help="Read at most so many files now; the rest is deferred to the next run.",
        show_default=False,
    ),
]
MaxDuration = Annotated[
    str | None,
    typer.Option(
        envvar="CLIPINDEX_MAX_DURATION",
        help="Stop between batches after this time (90s, 30m, 4h); the rest is deferred.",
        show_default=False,
    ),
]
ZeroTerminated = Annotated[
    bool,
    typer.Option("-0", "--null", help="Names end with NUL instead of a line end, byte for byte."),
]

PartText = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="K/N",
        help="Only part K of N, by a hash of the path: N machines share the work.",
        show_default=False,
    ),
]

API_KEY = "CLIPINDEX_API_KEY"  # never an argument: those are for every user of a machine to see

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def server(url: str | None) -> Any:
    """The server that --url names, with the key from the environment; None without a URL."""
    if url is None:
        return None
    from clipindex.stores.address import Server

    return Server(url, os.environ.get(API_KEY, ""))


def seconds(duration: str | None) -> float | None:
    """`90s`, `30m`, `4h`, `1d` or a bare number of seconds. Raises UsageError."""
    if duration is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", duration.strip().lower())
    if match is None:
        raise UsageError(f"'{duration}' is not a duration such as 90s, 30m or 4h")
    return float(match[1]) * SECONDS[match[2] or "s"]


def part(text: str | None) -> Any:
    """`K/N` as a Part. Raises UsageError."""
    from clipindex.ingest.scope import Part

    if text is None:
        return Part()
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"'{text}' is not a part such as 1/3, 2/3 or 3/3")
    return Part(int(match[1]), int(match[2]))
