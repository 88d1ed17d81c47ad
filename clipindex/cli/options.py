"""The options that several commands share, each declared once, and the panels of the help."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.config import configure
from clipindex.cli.origins import checked
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import UsageError
from clipindex.model.providers import Provider as ProviderChoice

# Panels of the help, in the order in which a command's own options name them; these come last.
WHERE = "Where"
MODEL = "Model"
SPEED = "Amount and speed"
OUTPUT = "Output"
REMOVAL = "What vanished"

LARGEST = 2**63 - 1  # what SQLite and Qdrant can count


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


PLACE: Collection[str] = ("store", "url", "collection", "source", "timeout")


def _refuse_store(store: Path | None) -> None:
    if store is not None:
        raise UsageError(
            "--store: only a Qdrant server has aliases, an embedded store has none",
            hint="name the server with --url, or the collection itself with --collection",
        )


# Earlier versions listed it for `alias` and `unalias`, where it never worked.
NoStore = Annotated[
    Path | None,
    typer.Option("--store", metavar="FOLDER", callback=_refuse_store, hidden=True, help="Unused."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        envvar="CLIPINDEX_MODEL",
        help="Name of a model, or the folder of a bundle. An existing collection brings its own.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Provider = Annotated[
    ProviderChoice,
    typer.Option(
        "--provider",
        envvar="CLIPINDEX_PROVIDER",
        help="What computes the vision model. auto: cuda where it loads, else cpu. A provider "
        "that you name and that is not available ends the run.",
        rich_help_panel=SPEED,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1,
        max=250,
        metavar="N",
        envvar="CLIPINDEX_BATCH_SIZE",
        help="Pictures written, flushed and read back together; 1 to 250.",
        rich_help_panel=SPEED,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        metavar="N",
        envvar="CLIPINDEX_WORKERS",
        help="Threads that read and embed. Default: one for each core.",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LARGEST,
        metavar="N",
        envvar="CLIPINDEX_LIMIT",
        help="Read at most N files now; the rest is deferred to the next run.",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]
MaxDuration = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        parser=checked(values.seconds),
        envvar="CLIPINDEX_MAX_DURATION",
        help="Stop between batches after this time (90s, 30m, 4h); the rest is deferred.",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]
PartText = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="K/N",
        parser=checked(values.part),
        help="Index only part K of N, by a hash of the path: N machines share the work.",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Do not ask before anything is removed; needed where there is no terminal.",
        rich_help_panel=REMOVAL,
    ),
]
MaxDelete = Annotated[
    str | None,
    typer.Option(
        metavar="N|P%",
        help="Remove nothing when more than N pictures of a folder, or P percent of them, would "
        "go. Default: 10%, and never fewer than 25 pictures.",
        show_default=False,
        rich_help_panel=REMOVAL,
    ),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Afterwards remove pictures that are gone from the index, as `clipindex prune` does.",
        rich_help_panel=REMOVAL,
    ),
]
FailOnVanished = Annotated[
    bool,
    typer.Option(
        "--fail-on-vanished",
        help="End with exit code 3 while remembered pictures are not found.",
        rich_help_panel=REMOVAL,
    ),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        envvar="CLIPINDEX_METRICS_FILE",
        help="Replace this file with the run's metrics at its end, for Prometheus's textfile "
        "collector; its name must end with .prom there.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
