"""The options that several commands share, each declared once, and the panels of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.origins import checked
from clipindex.errors import UsageError
from clipindex.ingest.options import Redecode
from clipindex.model.providers import Provider as ProviderChoice

# Panels of the help, in the order in which a command's own options name them; these come last.
WHERE = "Where"
MODEL = "Model"
SPEED = "Amount and speed"
OUTPUT = "Output"
REMOVAL = "What vanished"

LARGEST = 2**63 - 1  # what SQLite and Qdrant can count


def _refuse_store(store: Path | None) -> None:
    if store is not None:
        raise UsageError(
            "--store: only a Qdrant server has aliases, an embedded store has none",
            hint="name the server with --url, or the collection itself with --collection",
        )


def refuse_nan(option: typer.CallbackParam, number: float | None) -> float | None:
    """A callback of an option that takes a number: NaN is within any bounds."""
    if number is not None and number != number:
        least, most = getattr(option.type, "min", None), getattr(option.type, "max", None)
        raise typer.BadParameter(f"nan is not a number from {least:g} to {most:g}")
    return number


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
        help="Threads that read and embed (with --engine ray: actors). Default: one for each core.",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]
Reread = Annotated[
    bool,
    typer.Option(
        "--reread",
        help="Also read again what an earlier version indexed without its keywords, captions and "
        "ratings. Nothing is embedded again.",
        rich_help_panel=SPEED,
    ),
]
RedecodeOption = Annotated[
    Redecode | None,
    typer.Option(
        "--redecode",
        help="previews: decode again in full, and embed, each picture that a preview stands for "
        "(--preprocessing previews).",
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
