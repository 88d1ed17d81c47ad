"""The command line, put together. `commands` holds what each command does."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from clipindex._version import __version__
from clipindex.errors import ExitCode

COMMANDS = {  # command -> module of `commands`, function, in the order of --help
    "ingest": ("ingest", "ingest"),
    "reindex": ("ingest", "reindex"),
    "query": ("query", "query"),
    "status": ("collection", "status"),
    "tag": ("collection", "tag"),
    "untag": ("collection", "untag"),
    "relocate": ("collection", "relocate"),
    "forget": ("collection", "forget"),
    "alias": ("collection", "alias"),
    "unalias": ("collection", "unalias"),
    "export": ("transfer", "export"),
    "import": ("transfer", "import_"),
    "demo": ("demo", "demo"),
}
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Commands(TyperGroup):
    """Builds a command when it is named: a query does not wait for the options of the others."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _BuiltWhenNamed()  # type: ignore[assignment]  # it is only read


class _BuiltWhenNamed(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return _build(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _build(name: str) -> Any:
    module, function = COMMANDS[name]
    alone = typer.Typer(**SETTINGS)
    alone.command(name)(getattr(import_module(f"clipindex.cli.commands.{module}"), function))
    return typer.main.get_command(alone)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    epilog="Exit codes: 0 done, 3 done but some files could not be read, others: an error that"
    " says what to do. The README lists them all.",
    **SETTINGS,
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


def main() -> NoReturn:
    """Entry point of the `clipindex` command."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a pool nobody uses
    gc.set_threshold(50_000)  # a start makes many objects and no garbage: 15 ms less
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
