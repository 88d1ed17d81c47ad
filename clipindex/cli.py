"""The command line: options to objects, run, render, exit code. Nothing else decides anything.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex import __version__
from clipindex.errors import ClipIndexError, ClipIndexWarning, ExitCode

if TYPE_CHECKING:
    from clipindex.render import Voice

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 3 done but some files could not be read, others: an error that"
    " says what to do. The README lists them all.",
)

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="CLIPINDEX_STORE",
        help="Folder of the embedded store. Default: in your user data folder.",
        show_default=False,
    ),
]
CollectionOption = Annotated[
    str, typer.Option("--collection", envvar="CLIPINDEX_COLLECTION", help="Name of the collection.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="CLIPINDEX_MODEL",
        help="Name of a model, or the folder of a bundle. An existing collection brings its own.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", envvar="CLIPINDEX_JSON", help="One JSON object a line.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", envvar="CLIPINDEX_QUIET", help="Errors only.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", envvar="CLIPINDEX_VERBOSE", help="Tell of every file.")
]
DEFAULT_COLLECTION = "image_embeddings"


class PreprocessingChoice(StrEnum):
    """The two ways from a file to pixels."""

    exact = "exact"
    dct_scaled = "dct-scaled"


@app.callback(invoke_without_command=True)
def clipindex(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Turn folders of photographs into a searchable index.

    [bold]clipindex ingest ~/Pictures[/bold] indexes a folder (again and again: what is
    unchanged costs nothing); [bold]clipindex query "a dog on a beach"[/bold] or
    [bold]clipindex query cat.jpg[/bold] finds pictures in it.
    """
    if version:
        typer.echo(f"clipindex {__version__}")
        raise typer.Exit


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Folders (or files) to index.")],
    store: StoreOption = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    model: ModelOption = None,
    preprocessing: Annotated[
        PreprocessingChoice | None,
        typer.Option(
            envvar="CLIPINDEX_PREPROCESSING",
            help="For a new collection: dct-scaled (the default, several times faster on large "
            "JPEGs) or exact (CLIP's own, to the pixel).",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1,
            max=250,
            envvar="CLIPINDEX_BATCH_SIZE",
            help="Points that are written, made durable and read back together.",
        ),
    ] = 25,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="CLIPINDEX_WORKERS",
            help="Threads that read and embed. Default: one for each core.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="CLIPINDEX_LIMIT",
            help="Read at most so many files now; the rest is deferred to the next run.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read; open and write nothing.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Index all pictures below the given folders, or bring their index up to date.

    Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF) are known by their content. Hidden names
    and folders that programs keep for themselves (@eaDir, lost+found, ...) are left out; links
    to files are read, links to folders not followed. Safe to interrupt at any time: finished
    batches stay, the next run goes on. Nothing is ever deleted because a file is missing.
    """
    with _ending(json, quiet, verbose) as voice:
        from clipindex import render
        from clipindex.events import RunFinished
        from clipindex.images import Preprocessing
        from clipindex.index import Index
        from clipindex.pipeline import IngestOptions

        recipe = None if preprocessing is None else Preprocessing(preprocessing.value)
        index = Index(store, collection=collection, model=model, preprocessing=recipe)
        if dry_run:
            render.show_preview(index.preview(paths, limit), voice)
            return
        view = render.ingest_view(voice)
        code = int(ExitCode.DONE)
        events = index.ingest(paths, IngestOptions(batch_size, limit, workers))
        try:
            for event in events:
                view.show(event)
                if isinstance(event, RunFinished):
                    code = event.summary.exit_code
        finally:
            view.close()
            events.close()
        raise typer.Exit(code)


@app.command()
def query(
    term: Annotated[str, typer.Argument(help="A text, or the path of a picture.")],
    store: StoreOption = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    model: ModelOption = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, envvar="CLIPINDEX_QUERY_LIMIT", help="Hits to show."),
    ] = 10,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1.0,
            max=1.0,
            envvar="CLIPINDEX_MIN_SCORE",
            help="Leave out hits below this cosine.",
            show_default=False,
        ),
    ] = None,
    under: Annotated[
        Path | None,
        typer.Option(help="Only pictures below this folder.", show_default=False),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find pictures by a text, or by a picture (an argument that names an existing file).

    Scores are cosines from -1 to 1. A text and a picture that fit it lie near 0.2 to 0.35 with
    CLIP's models, two like pictures much higher. Copies of a picture are one hit. Without a
    terminal each line is: score, tab, path.
    """
    with _ending(json, quiet, verbose) as voice:
        from clipindex import render
        from clipindex.index import Index
        from clipindex.search import QueryOptions

        if not os.path.exists(term) and _names_a_picture(term):
            render.say(f"note: there is no file '{term}'; searching for it as a text")
        index = Index(store, collection=collection, model=model)
        hits = index.query(term, QueryOptions(limit, min_score, under))
        render.show_hits(hits, voice)


@app.command()
def status(
    store: StoreOption = None,
    collection: CollectionOption = DEFAULT_COLLECTION,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what a collection holds, its model, its roots and its latest run."""
    with _ending(json, quiet, verbose) as voice:
        from clipindex import render
        from clipindex.index import Index

        render.show_status(Index(store, collection=collection).status(), voice)


class _Terminated(BaseException):
    """SIGTERM arrived; raised where the program stands, as Ctrl-C is."""


@contextmanager
def _ending(json: bool, quiet: bool, verbose: bool) -> Iterator[Voice]:
    """The one place where errors, interrupts and closed pipes become exit codes."""
    from clipindex import render

    voice = render.Voice(json, quiet, verbose)
    signal.signal(signal.SIGTERM, _terminate)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: render.say(f"note: {message}")
        warnings.simplefilter("always", ClipIndexWarning)
        try:
            yield voice
        except ClipIndexError as error:
            render.show_error(error, voice)
            raise typer.Exit(int(error.exit_code)) from None
        except KeyboardInterrupt:
            render.say("interrupted; finished batches are safe, the next run goes on from there")
            raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
        except _Terminated:
            render.say("terminated; finished batches are safe, the next run goes on from there")
            raise typer.Exit(int(ExitCode.TERMINATED)) from None
        except BrokenPipeError:  # `clipindex query ... | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(int(ExitCode.DONE)) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if verbose:
                raise
            unexpected = ClipIndexError(
                f"unexpected {type(error).__name__}: {error}",
                hint="this should not happen: please report it with the output of --verbose",
            )
            render.show_error(unexpected, voice)
            raise typer.Exit(int(ExitCode.FAILED)) from None


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _names_a_picture(term: str) -> bool:
    return Path(term).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff")


def main() -> None:
    """Entry point of the `clipindex` command."""
    app()
