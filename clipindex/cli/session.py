"""What every command is handed: the place it works on, and the channel it speaks through.

`@command` adds the shared options to a function and opens the session, so that the function has
only what is its own:

    @command()
    def status(session: Session) -> None:
        \"\"\"Show what a collection holds.\"\"\"
        show_status(session.index().status(), session.output)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from clipindex._version import __version__
from clipindex.cli import memory, values
from clipindex.cli.exits import Ending
from clipindex.cli.output import LogFile, Output
from clipindex.cli.shared_options import Shared, Waiting
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.collection.place import Place
    from clipindex.index import Index
    from clipindex.ingest.events import Event
    from clipindex.stores.address import Server

SOURCES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")  # of an option's value, nearest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One command under way."""

    output: Output
    context: typer.Context
    store: Path | None = None
    server: Server | None = None
    collection: str = DEFAULT_COLLECTION
    source: str | None = None
    wait: float | None = None  # seconds; None: the default
    timeout: int | None = None  # of a server's answers, in seconds
    typed: frozenset[str] = field(default_factory=frozenset)  # options on the command line itself
    more: Mapping[str, Any] = field(default_factory=dict)  # values of the groups it asked for

    def index(self, **settings: Any) -> Index:
        """The collection that the options name; `settings` are `Index`'s others."""
        from clipindex.index import Index

        return Index(
            self.store,
            collection=self.collection,
            source=self.source,
            server=self.server,
            wait=self.wait,
            **settings,
        )

    def place(self) -> Place:
        """The same without the vision model and what belongs to it: a query starts sooner."""
        from clipindex.collection.places import place_at

        return place_at(self.store, self.server, self.collection, self.source)

    def metrics(self, file: Path | None) -> Callable[[Event], object]:
        """Have the metrics of this run written at its end, if a file is named; returns what
        takes the run's events. Raises UsageError when the file cannot be written."""
        if file is None:
            return lambda _: None
        from clipindex.cli.metrics import RunMetrics  # its library takes 40 ms to load

        metrics = RunMetrics(file, self.place())
        self.output.at_end(lambda code: metrics.write(code, self.output))
        return metrics.take

    def refuse_typed(self, options: Collection[str], why: str) -> None:
        """Raises UsageError for options that were typed although they would be ignored."""
        if ignored := sorted(self.typed & set(options)):
            names = ", ".join("--" + name.replace("_", "-") for name in ignored)
            raise UsageError(f"{names}: {why}")


Function = Callable[..., int | None]


def command(
    *,
    writes: bool = False,
    without: Collection[str] = (),
    rivals: Sequence[tuple[str, str]] = (),
    groups: Sequence[type] = (),
) -> Callable[[Function], Callable[..., int | None]]:
    """Add the shared options to a command whose first parameter is its session.

    One that `writes` to the collection also takes `--wait`. `without` names shared options that
    it has no use for. Of two `rivals` (`--json` against `--paths`) the nearer one holds: the
    command line before the environment before the file. The options of `groups` (a class such as
    `PictureOptions`) are added as well; their values are in `Session.more`.
    """

    def with_session(function: Function) -> Callable[..., int | None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        standard = (Shared, Waiting) if writes else (Shared,)
        shared = [option for option in _options(standard) if option.name not in without]
        further = _options(groups)

        def run(context: typer.Context, **given: Any) -> int | None:
            if (ending := context.find_object(Ending)) is not None:
                ending.context = context
            memory.check()
            for pair in (("store", "url"), ("quiet", "verbose"), *rivals):
                _nearest(context, given, *pair)
            common = {parameter.name: given.pop(parameter.name) for parameter in shared}
            more = {parameter.name: given.pop(parameter.name) for parameter in further}
            return function(_open(context, common, more), **given)

        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        parameters = [context] + [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in (*own, *further, *shared)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        return run

    return with_session


def _options(groups: Sequence[type]) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(group, name),
            annotation=annotation,
        )
        for group in groups
        for name, annotation in get_type_hints(group, include_extras=True).items()
    ]


def _open(context: typer.Context, common: dict[str, Any], more: dict[str, Any]) -> Session:
    log_file = common.get("log_file")
    output = Output(
        json=common["json"],
        quiet=common["quiet"],
        verbose=common["verbose"],
        log=LogFile(log_file) if log_file is not None else None,
    )
    if (ending := context.find_object(Ending)) is not None:
        ending.output = output
    output.log(f"started: {context.command_path}, version {__version__}, process {os.getpid()}")
    return Session(
        output=output,
        context=context,
        store=common.get("store"),
        server=values.server(common.get("url"), common.get("timeout")),
        collection=common.get("collection", DEFAULT_COLLECTION),
        source=common.get("source"),
        wait=values.seconds(common.get("wait")),
        timeout=common.get("timeout"),
        more=more,
        typed=frozenset(name for name in context.params if _distance(context, name) == 0),
    )


def _nearest(context: typer.Context, given: dict[str, Any], one: str, other: str) -> None:
    """Of two options that exclude each other the nearer one holds. Raises UsageError for a tie."""
    if not given.get(one) or not given.get(other):
        return
    distances = _distance(context, one), _distance(context, other)
    if distances[0] == distances[1]:
        names = " and ".join("--" + name.replace("_", "-") for name in (one, other))
        raise UsageError(f"{names} exclude each other", hint="give one of them")
    farther = one if distances[0] > distances[1] else other
    given[farther] = context.params[farther] = None


def _distance(context: typer.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    return SOURCES.index(source.name) if source and source.name in SOURCES else len(SOURCES)
