"""`status`, as people and programs see it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clipindex.cli.output import Output
from clipindex.cli.switch_view import switch_words
from clipindex.cli.words import done_words, megabytes, printable, totals_of
from clipindex.stores.shard_size import WORTHWHILE

if TYPE_CHECKING:
    from clipindex.collection.root_options import RootOptions
    from clipindex.collection.status import CollectionStatus

Row = tuple[str, str]
Run = Mapping[str, Any]
REFUSED = "could not begin"
NOT_ENDED = "not finished (interrupted or killed)"


def show_status(status: CollectionStatus, output: Output) -> None:
    """What a collection holds."""
    if output.json:
        output.record({"type": "status", **asdict(status)})
        return
    health = status.health
    rows = [
        ("collection", f"{status.collection} in {status.store}"),
        *([("aliases", ", ".join(status.aliases))] if status.aliases else []),
        *([("server", str(health))] if health is not None and not health.is_good else []),
        ("model", f"{status.model}, revision {status.revision} ({status.bundle})"),
        ("preprocessing", f"{status.preprocessing}, {status.precision}"),
        *(("" if n else "switch", words) for n, words in enumerate(_switch(status))),
        *([("search", f"approximate, ef {status.ef}")] if status.ef is not None else []),
        ("pictures", f"{status.indexed:,}"),
        ("in quarantine", f"{status.quarantined:,}{_accepted(status)}"),
        ("skipped", f"{status.skipped:,}"),
        *([("on the disk", _size(status))] if status.disk_bytes else []),
        *([("not found", _missing(status))] if status.vanished else []),
        *(("" if n else "roots", _root(root)) for n, root in enumerate(status.root_options)),
        *_runs(status),
    ]
    show_rows([(name, printable(str(value))) for name, value in rows], output)


def _switch(status: CollectionStatus) -> list[str]:
    return [] if status.switch is None else switch_words(status.switch, status.model)


def _root(root: RootOptions) -> str:
    return f"{root.path} ({root})" if str(root) else root.path


def _runs(status: CollectionStatus) -> Iterator[Row]:
    """The run under way, else the last one; and the last one that did all its work."""
    if status.running is not None:
        yield "running", _named(status.running, f"since {status.running['started']}")
        yield from _done(status.running)
    elif status.last_run is not None:
        yield "last run", _named(status.last_run, _ending(status.last_run))
        yield from _done(status.last_run)
    if status.last_success is not None and status.last_success != status.last_run:
        yield "last success", _named(status.last_success, _ending(status.last_success))
        yield from _done(status.last_success)


def _named(run: Run, words: str) -> str:
    """`reindex, process 4711, since ...`, with the machine where it is another one; a run of an
    earlier version noted no command."""
    if run["command"] is None:
        return words
    elsewhere = "" if run["host"] == socket.gethostname() else f" on {run['host']}"
    return f"{run['command']}, process {run['pid']}{elsewhere}, {words}"


def _ending(run: Run) -> str:
    """When it began and ended, and how."""
    ended = run["ended"] or run["finished"]
    if ended is None:
        return f"{run['started']}, {NOT_ENDED}"
    times = f"at {ended}, {REFUSED}" if run["refused"] else f"{run['started']} to {ended}"
    code = "" if run["exit_code"] is None else f", exit code {run['exit_code']}"
    return times + code + (f": {run['reason']}" if run["reason"] else "")


def _done(run: Run) -> Iterator[Row]:
    """What it did so far, or in all; and what embedded the pictures."""
    summary = run["summary"]
    words = totals_of(summary) if summary else done_words(run["counts"])
    if words:
        yield "", words
    if summary and summary["provider"]:
        yield "", f"embedded on {summary['provider']}"


def _size(status: CollectionStatus) -> str:
    free = status.reclaimable_bytes or 0
    waste = f", of which `clipindex compact` would free about {megabytes(free)}"
    return megabytes(status.disk_bytes or 0) + (waste if free >= WORTHWHILE else "")


def _accepted(status: CollectionStatus) -> str:
    return f" ({status.accepted:,} accepted)" if status.accepted else ""


def _missing(status: CollectionStatus) -> str:
    return f"{status.vanished:,} of the pictures (`clipindex prune --dry-run` lists them)"


def show_rows(rows: Sequence[tuple[str, str]], output: Output) -> None:
    """Names and values; no line is folded where there is no terminal."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            output.result(f"{name:<{width}} {value}")
        return
    from clipindex.cli.console import Terminal, plain_table

    table = plain_table()
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    Terminal().print(table)
