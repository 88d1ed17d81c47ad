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
    from clipindex.events import Summary
    from clipindex.preview import Preview
    from clipindex.search import Hit
    from clipindex.status import CollectionStatus


@dataclass(frozen=True, slots=True)
class Voice:
    """How much is said, and in which language."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def say(text: str) -> None:
    """A line for people, on standard error."""
    tell(printable(text) + "\n")


def tell(text: str) -> None:
    """To standard error, as it is. When nobody listens any more, the work goes on."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def show_error(error: ClipIndexError, voice: Voice) -> None:
    """What happened, to which file, what to do next."""
    if voice.json:
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
    say(f"clipindex: {error.message}{where}")
    if voice.log_file is not None:
        _log_error(voice.log_file, f"failed: {error.message}{where}")
    if error.hint:
        say(f"  {error.hint}")


def show_summary(summary: Summary) -> None:
    """How a run went: counts of what there was, and what the collection holds now."""
    from clipindex.terminal import Terminal, plain_table

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
    return f" ({counted(summary.left_out, 'name')} left out)" if summary.left_out else ""


def show_preview(preview: Preview, voice: Voice) -> None:
    """What a run would do."""
    if voice.json:
        json_line({"type": "preview", **asdict(preview)})
        return
    from clipindex.terminal import Terminal

    megabytes = preview.bytes_to_read / 1e6
    console = Terminal(highlight=False, soft_wrap=True)
    opened = "written" if preview.by_content is not None else "opened or written"
    console.print(
        f"{preview.found:,} files found: {preview.to_read:,} to read ({megabytes:,.1f} MB), "
        f"{preview.unchanged:,} unchanged, {preview.deferred:,} deferred, "
        f"{preview.quarantined:,} in quarantine, {preview.skipped:,} known to be no pictures; "
        f"{preview.vanished:,} remembered ones are not there. Nothing was {opened}."
    )
    if preview.by_content is not None:
        kinds = ", ".join(f"{count:,} {name}" for name, count in preview.by_content.items())
        console.print(f"By content: {kinds or 'nothing to read'}.")
    for fault in preview.faults:
        say(f"could not be read: {fault}")


# --- query and status ------------------------------------------------------------------------


def show_hits(hits: list[Hit], voice: Voice) -> None:
    """A table on a terminal; score, tab, path where there is none; or JSON lines."""
    if voice.json:
        for hit in hits:
            line = asdict(hit)
            del line["sha256"], line["exact_path"]
            json_line(line)
    elif not hits:
        if not voice.quiet:
            say("nothing found")
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


def show_count(verb: str, count: int, voice: Voice) -> None:
    """How many pictures a command changed."""
    if voice.json:
        json_line({"type": verb, "count": count})
    elif not voice.quiet:
        print(f"{count:,} {verb}")


def show_alias(alias: str, collection: str | None, before: str | None, voice: Voice) -> None:
    """What an alias stands for now, and what it stood for."""
    if voice.json:
        json_line({"type": "alias", "alias": alias, "collection": collection, "before": before})
    elif not voice.quiet:
        now = f"stands for '{collection}'" if collection is not None else "stands for nothing"
        was = f" (until now for '{before}')" if before not in (None, collection) else ""
        print(f"'{alias}' {now}{was}")


def _show_table(hits: Iterable[Hit]) -> None:
    from clipindex.terminal import Terminal, headed_table

    table = headed_table()
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    for hit in hits:
        copies = f" [dim](+{len(hit.paths) - 1})[/dim]" if len(hit.paths) > 1 else ""
        name = printable(hit.path).replace("[", r"\[")
        table.add_row(str(hit.rank), f"{hit.score:.4f}", name + copies)
    Terminal(highlight=False).print(table)


def show_status(status: CollectionStatus, voice: Voice) -> None:
    """What a collection holds."""
    if voice.json:
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
    from clipindex.terminal import Terminal, plain_table

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
