"""The command line, put together. `commands` holds a module for each command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from clipindex._version import __version__
from clipindex.cli import streams
from clipindex.cli.exits import Ending
from clipindex.cli.values import names_a_thing
from clipindex.errors import ExitCode, UsageError

COMMANDS = {  # command -> panel of the help; its module and function in `commands` have its name
    "ingest": "Index",
    "reindex": "Index",
    "query": "Search",
    "embed": "Search",
    "serve": "Search",
    "mcp": "Search",
    "duplicates": "Search",
    "standing": "Search",
    "classify": "Search",
    "status": "Search",
    "tag": "Tags",
    "untag": "Tags",
    "tags": "Tags",
    "metadata": "Tags",
    "relocate": "Upkeep",
    "forget": "Upkeep",
    "prune": "Upkeep",
    "quarantine": "Upkeep",
    "verify": "Upkeep",
    "doctor": "Upkeep",
    "models": "Upkeep",
    "schedule": "Upkeep",
    "compact": "Upkeep",
    "switch-model": "Upkeep",
    "backup": "Copies",
    "restore": "Copies",
    "export": "Copies",
    "import": "Copies",
    "alias": "Qdrant server",
    "unalias": "Qdrant server",
    "demo": "Try it",
}
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Command(TyperCommand):
    """Shows our help. Takes no option twice of which it would use only the last, and no empty path:
    that of an unset variable, which would be the current folder."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, in_order = self.make_parser(ctx).parse_args(args=list(args))
        seen = set()
        for parameter in map(_untyped, in_order):  # arguments lack some of these attributes
            single = parameter.param_type_name == "option" and not (
                parameter.multiple or parameter.is_flag or parameter.count
            )
            if single and parameter.name in seen:
                name = max(parameter.opts, key=len)
                raise UsageError(
                    f"{name} is given twice", hint="it takes one value, and one would be ignored"
                )
            seen.add(parameter.name)
            _refuse_empty(parameter, values.get(parameter.name))
        return super().parse_args(ctx, args)


def _refuse_empty(parameter: Any, value: Any) -> None:
    metavar = parameter.metavar or ""
    if "" in (value if isinstance(value, list | tuple) else [value]) and names_a_thing(metavar):
        is_option = parameter.param_type_name == "option"
        name = max(parameter.opts, key=len) if is_option else metavar.strip("[].")
        raise UsageError(
            f"{name} is empty", hint="give it a value, or leave it out; a folder may be '.'"
        )


def _write_help(context: Any, formatter: Any) -> None:
    from clipindex.cli.help import help_text  # most starts show none

    formatter.write(help_text(context))


def _untyped(parameter: object) -> Any:
    return parameter


class Commands(TyperGroup):
    """Builds a command when it is named: a query does not wait for the options of the others."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _BuiltWhenNamed()  # type: ignore[assignment]  # it is only read

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(ctx, formatter)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; returns its exit code, or exits with it where it stands alone."""
        del prog_name, complete_var  # always the command's own name; completion is our own
        arguments = list(sys.argv[1:] if args is None else args)
        if arguments in (["--install-completion"], ["--show-completion"]):
            arguments.append("auto")  # of the user's own shell
        if os.name == "nt" and args is None and windows_expand_args:
            arguments = _globbed(arguments)
        ending = Ending(arguments)

        def run() -> object:
            with self.make_context("clipindex", arguments, obj=ending, **extra) as context:
                return self.invoke(context)

        code = ending.run(run)
        if standalone_mode:
            sys.exit(code)
        return code


class _BuiltWhenNamed(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return _build(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _build(name: str) -> Any:
    panel = COMMANDS[name]
    python_name = name.replace("-", "_") + ("_" if name == "import" else "")
    module = import_module(f"clipindex.cli.commands.{python_name}")
    alone = typer.Typer(**SETTINGS)
    alone.command(name, cls=Command, rich_help_panel=panel)(getattr(module, python_name))
    return typer.main.get_command(alone)


def _globbed(arguments: list[str]) -> list[str]:
    """Patterns as the names that match them, which a Windows shell leaves to the program."""
    from glob import glob

    return [name for argument in arguments for name in (sorted(glob(argument)) or [argument])]


app = typer.Typer(
    cls=Commands,
    epilog="Exit codes: 0 done; 3 done, but some files could not be read; others: an error that"
    " says what to do. `clipindex COMMAND --help` explains a command.",
    **SETTINGS,
)


@app.callback(invoke_without_command=True)
def clipindex(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(
            metavar="[SHELL]",
            help="Complete commands, options, collections, models and tags with Tab, in bash, zsh "
            "or fish: writes the script, and has your shell (or SHELL) read it.",
            show_default=False,
        ),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(metavar="[SHELL]", help="Print that script instead.", show_default=False),
    ] = None,
) -> int | None:
    """Turn folders of photographs into an index that you search with words or pictures.

    Index a folder, again and again (what is unchanged costs nothing), and ask:

        clipindex ingest ~/Pictures
        clipindex query "a dog on a beach"
        clipindex query cat.jpg
    """
    if version:
        typer.echo(f"clipindex {__version__}")
    elif install_completion or show_completion:
        from clipindex.cli.completion.shells import SCRIPTS, install, shell_named

        if show_completion:
            typer.echo(SCRIPTS[shell_named(show_completion)], nl=False)
        else:
            shell = shell_named(install_completion or "")
            names = " and ".join(map(str, install(shell)))
            typer.echo(f"completion for {shell}: {names}. Open a new terminal to use it.")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return ExitCode.USAGE
    return None


def main() -> NoReturn:
    """Entry point of the `clipindex` command."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: an unused thread pool
    gc.set_threshold(50_000)  # a start makes many objects and no garbage: 15 ms less
    try:
        streams.prepare()
        if shell := os.environ.get("_CLIPINDEX_COMPLETE"):
            from clipindex.cli.completion.shells import write_answer

            write_answer(_BuiltWhenNamed(), shell)
            streams.flush()
            os._exit(0)
        code = app(standalone_mode=False)
    except KeyboardInterrupt:  # while the program still loads
        code = ExitCode.INTERRUPTED
    streams.flush()
    # Everything of ours is closed. Python's own way out would take onnxruntime apart, which
    # costs time, and after an interrupt pulls the ground from under a worker still inside it.
    os._exit(int(code))
