"""The command line, put together. `commands` holds what each command does."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from clipindex import __version__
from clipindex.commands import collection, demo, ingest, query, transfer
from clipindex.errors import ExitCode

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 3 done but some files could not be read, others: an error that"
    " says what to do. The README lists them all.",
)


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


for command in (
    ingest.ingest,
    ingest.reindex,
    query.query,
    collection.status,
    collection.tag,
    collection.untag,
    collection.relocate,
    collection.forget,
    collection.alias,
    collection.unalias,
    transfer.export,
    demo.demo,
):
    app.command()(command)
app.command("import")(transfer.import_)


def main() -> NoReturn:
    """Entry point of the `clipindex` command."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a pool nobody uses
    try:
        app()
        code = int(ExitCode.DONE)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(ExitCode.FAILED)
    except KeyboardInterrupt:  # while the program still loads
        code = int(ExitCode.INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # Everything of ours is closed. Python's own way out would take onnxruntime apart, which
    # costs time, and after an interrupt pulls the ground from under a worker still inside it.
    os._exit(code)
