"""What people and programs see: results as tables or JSON lines, and errors.

Results go to standard output, everything else to standard error. `progress` shows a run while
it goes on, and nothing else prints.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipindex.errors import ClipIndexError

if TYPE_CHECKING:
    from clipindex.collection.status import CollectionStatus
    from clipindex.ingest.dry_run import DryRun
    from clipindex.ingest.events import Summary
    from clipindex.search.query import Hit


@dataclass(frozen=True, slots=True)
class Output:
    """How much is said, and in which language."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count_of(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def print_message(text: str) -> None:
    """A line for people, on standard error."""
    write_stderr(printable(text) + "\n")


def write_stderr(text: str) -> None:
    """To standard error, as it is. When nobody listens any more, the work goes on."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def show_error(error: ClipIndexError, output: Output) -> None:
    """What happened, to which file, what to do next."""
    if output.json:
        json_line(
            {
                "type": "error",
                "code": int(error.exit_code),
                "kind": error.kind,
                "message": error.message,
                "path": error.path,
                "hint": error.hint,
            }
        )
    where = f" ({error.path})" if error.path and error.path not in error.message else ""
    print_message(f"clipindex: {error.message}{where}")
    if output.log_file is not None:
        _log_error(output.log_file, f"failed: {error.message}{where}")
    if error.hint:
        print_message(f"  {error.hint}")


def show_summary(summary: Summary) -> None:
    """How a run went: counts of what there was, and what the collection holds now."""
    from clipindex.cli.console import Terminal, plain_table

    console = Terminal(highlight=False, soft_wrap=True)
    if summary.found == 0:
        console.print("no pictures found: no files are there")
        return
    table = plain_table()
    table.add_column(justify="right")
    table.add_column()
    meaning = {
        "new": "new",
        "changed": "changed, embedded anew",
        "duplicate": "a copy of a picture already known",
        "moved": "moved or renamed",
        "unchanged": "unchanged",
        "quarantined": f"in quarantine, {summary.newly_quarantined:,} of them new",
        "skipped": "skipped: no pictures, or gone",
        "deferred": "deferred to the next run",
    }
    for name, words in meaning.items():
        if count := getattr(summary, name):
            table.add_row(f"{count:,}", words)
    table.add_row(f"{summary.found:,}", "found in all" + _left_out(summary))
    console.print(table)
    if summary.points == 0:
        console.print("no pictures found")
        return
    console.print(
        f"{summary.points:,} pictures are in '{summary.collection}'; {summary.written:,} written "
        f"and verified, {summary.embedded:,} embedded{_by(summary.provider)}, "
        f"in {summary.seconds:.1f} s"
    )


def _by(provider: str) -> str:
    return f" on {provider}" if provider else ""


def _left_out(summary: Summary) -> str:
    return f" ({count_of(summary.left_out, 'name')} left out)" if summary.left_out else ""


def show_dry_run(dry_run: DryRun, output: Output) -> None:
    """What a run would do."""
    if output.json:
        json_line({"type": "preview", **asdict(dry_run)})
        return
    from clipindex.cli.console import Terminal

    megabytes = dry_run.bytes_to_read / 1e6
    console = Terminal(highlight=False, soft_wrap=True)
    opened = "written" if dry_run.by_content is not None else "opened or written"
    console.print(
        f"{dry_run.found:,} files found: {dry_run.to_read:,} to read ({megabytes:,.1f} MB), "
        f"{dry_run.unchanged:,} unchanged, {dry_run.deferred:,} deferred, "
        f"{dry_run.quarantined:,} in quarantine, {dry_run.skipped:,} known to be no pictures; "
        f"{dry_run.vanished:,} remembered ones are not there. Nothing was {opened}."
    )
    if dry_run.by_content is not None:
        kinds = ", ".join(f"{count:,} {name}" for name, count in dry_run.by_content.items())
        console.print(f"By content: {kinds or 'nothing to read'}.")
    for fault in dry_run.faults:
        print_message(f"could not be read: {fault}")


# --- query and status ------------------------------------------------------------------------


def show_hits(hits: list[Hit], output: Output) -> None:
    """A table on a terminal; score, tab, path where there is none; or JSON lines."""
    if output.json:
        for hit in hits:
            line = asdict(hit)
            del line["sha256"], line["exact_path"]
            json_line(line)
    elif not hits:
        if not output.quiet:
            print_message("nothing found")
    elif not sys.stdout.isatty():
        for hit in hits:
            print(f"{hit.score:.4f}\t{printable(hit.path)}")
    else:
        _show_table(hits)


def show_paths(hits: Sequence[Hit], *, zero: bool) -> None:
    """Paths alone, exactly as the file system has them; with `zero` each ends with NUL."""
    end = b"\0" if zero else b"\n"
    for hit in hits:
        sys.stdout.buffer.write(hit.exact_path + end)
    sys.stdout.flush()


def show_count(verb: str, count: int, output: Output) -> None:
    """How many pictures a command changed."""
    if output.json:
        json_line({"type": verb, "count": count})
    elif not output.quiet:
        print(f"{count:,} {verb}")


def show_alias(alias: str, collection: str | None, before: str | None, output: Output) -> None:
    """What an alias stands for now, and what it stood for."""
    if output.json:
        json_line({"type": "alias", "alias": alias, "collection": collection, "before": before})
    elif not output.quiet:
        now = f"stands for '{collection}'" if collection is not None else "stands for nothing"
        was = f" (until now for '{before}')" if before not in (None, collection) else ""
        print(f"'{alias}' {now}{was}")


def _show_table(hits: Iterable[Hit]) -> None:
    from clipindex.cli.console import Terminal, headed_table

    table = headed_table()
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    for hit in hits:
        copies = f" [dim](+{len(hit.paths) - 1})[/dim]" if len(hit.paths) > 1 else ""
        name = printable(hit.path).replace("[", r"\[")
        table.add_row(str(hit.rank), f"{hit.score:.4f}", name + copies)
    Terminal(highlight=False).print(table)


def show_status(status: CollectionStatus, output: Output) -> None:
    """What a collection holds."""
    if output.json:
        json_line({"type": "status", **asdict(status)})
        return
    rows = [
        ("collection", f"{status.collection} in {status.store}"),
        *([("aliases", ", ".join(status.aliases))] if status.aliases else []),
        ("model", f"{status.model}, revision {status.revision} ({status.bundle})"),
        ("preprocessing", f"{status.preprocessing}, {status.precision}"),
        ("pictures", f"{status.indexed:,}"),
        ("in quarantine", f"{status.quarantined:,}"),
        ("skipped", f"{status.skipped:,}"),
        *(("" if n else "roots", printable(root)) for n, root in enumerate(status.roots)),
    ]
    if status.last_run is not None:
        ended = status.last_run["finished"] or "not finished (running, or interrupted)"
        rows.append(("last run", f"{status.last_run['started']} to {ended}"))
        summary = status.last_run["summary"]
        if isinstance(summary, dict) and summary["provider"]:
            rows.append(("", f"embedded on {summary['provider']}"))
    _show_rows(rows)


def _show_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values; no line is folded where there is no terminal."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}} {value}")
        return
    from clipindex.cli.console import Terminal, plain_table

    table = plain_table()
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value.replace("[", r"\["))
    Terminal(highlight=False).print(table)


def _log_error(path: Path, line: str) -> None:
    from datetime import datetime

    try:
        with open(path, "a", encoding="utf-8") as file:
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            file.write(f"{now} {printable(line)}\n")
    except OSError:  # the error itself has been shown
        return


def json_line(value: object) -> None:
    """One object a line on standard output. When nobody listens any more, the work goes on."""
    try:
        print(json.dumps(value, ensure_ascii=False), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
