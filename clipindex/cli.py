"""The command line, put together. `commands` holds what each command does."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from clipindex import __version__
from clipindex.commands import collection, ingest, query
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
):
    app.command()(command)


def main() -> None:
    """Entry point of the `clipindex` command."""
    try:
        app()
    except KeyboardInterrupt:  # while the program still loads
        sys.exit(int(ExitCode.INTERRUPTED))
