"""What people and programs see: events and results as bar, lines, tables or JSON lines.

Results go to standard output, everything else to standard error. The only module that prints;
the door to rich and tqdm.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from clipindex.errors import ClipIndexError
from clipindex.events import (
    BatchVerified,
    Event,
    FileDone,
    FolderFault,
    RunFinished,
    RunPlanned,
    RunStarted,
    Scanning,
    Status,
    Summary,
    Untouched,
)
from clipindex.index import CollectionStatus, Preview
from clipindex.search import Hit

SECONDS_BETWEEN_LINES = 30.0  # without a terminal: a cron mail wants few lines
FAULTS = (Status.QUARANTINED, Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class Voice:
    """How much is said, and in which language."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def show_error(error: ClipIndexError, voice: Voice) -> None:
    """What happened, to which file, what to do next."""
    if voice.json:
        _json_line(
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
    if error.hint:
        say(f"  {error.hint}")


# --- ingest ----------------------------------------------------------------------------------


class IngestView(Protocol):
    """Shows the events of one run as they come."""

    def show(self, event: Event) -> None:
        """Draw, print or leave out one event."""
        ...

    def close(self) -> None:
        """Leave the terminal in order, whatever ended the run."""
        ...


def ingest_view(voice: Voice) -> IngestView:
    """JSON lines, a bar on a terminal, or plain lines where there is none."""
    if voice.json:
        return JsonView(voice)
    return PeopleView(voice)


class JsonView:
    """One object a line on standard output."""

    def __init__(self, voice: Voice) -> None:
        self._verbose = voice.verbose

    def show(self, event: Event) -> None:
        if isinstance(event, Untouched) and self._verbose:
            for file in event.files():
                self._file(file)
        elif isinstance(event, FileDone):
            if event.status is not Status.UNCHANGED or self._verbose:
                self._file(event)
        elif isinstance(event, BatchVerified):
            batch = {"points": event.points, "ids": event.ids, "verified": True}
            _json_line({"type": "batch", **batch})
        elif isinstance(event, FolderFault):
            say(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, RunFinished):
            summary = asdict(event.summary)
            del summary["unreadable"]
            _json_line({"type": "summary", **summary})

    def close(self) -> None:
        sys.stdout.flush()

    def _file(self, file: FileDone) -> None:
        line = {"path": file.path, "status": file.status.value, "id": file.id}
        _json_line({"type": "file", **line, "reason": file.reason})


class PeopleView:
    """A bar on a terminal, a line now and then without one; at the end a summary."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._bar: tqdm[object] | None = None
        self._terminal = sys.stderr.isatty()
        self._planned: RunPlanned | None = None
        self._done = 0
        self._last_line = time.monotonic()

    def show(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self.close()
            if not self._voice.quiet:
                _show_summary(event.summary)
        elif isinstance(event, FolderFault):
            self._say(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, FileDone):
            self._file(event)
        elif self._voice.quiet:
            return
        elif isinstance(event, RunStarted):
            self._say(
                f"model {event.model} on {event.provider}, preprocessing {event.preprocessing}, "
                f"into {event.store} ({event.collection})"
            )
        elif isinstance(event, Scanning) and self._terminal:
            print(f"\rlooking: {event.found:,} files", end="", file=sys.stderr, flush=True)
        elif isinstance(event, RunPlanned):
            self._plan(event)
        elif isinstance(event, Untouched) and self._voice.verbose:
            for file in event.files():
                self._say(_file_line(file))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _plan(self, plan: RunPlanned) -> None:
        self._planned = plan
        clear = "\r" if self._terminal else ""
        megabytes = plan.bytes_to_read / 1e6
        self._say(
            f"{clear}{plan.found:,} files found, {plan.unchanged:,} unchanged, "
            f"{plan.to_read:,} to read ({megabytes:,.1f} MB)"
        )
        if plan.vanished:
            self._say(f"{plan.vanished:,} remembered pictures are not there; their points stay")
        if self._terminal and plan.to_read:
            self._bar = tqdm(total=plan.to_read, unit="file", dynamic_ncols=True, leave=False)

    def _file(self, file: FileDone) -> None:
        self._done += 1
        if file.status is Status.QUARANTINED or self._voice.verbose:
            self._say(_file_line(file))
        if self._bar is not None:
            self._bar.update()
        elif not self._voice.quiet and not self._terminal:
            now = time.monotonic()
            if now - self._last_line >= SECONDS_BETWEEN_LINES and self._planned is not None:
                self._last_line = now
                say(f"{self._done:,} of {self._planned.to_read:,} files done")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            lead = "\r" if text.startswith("\r") else ""
            print(lead + printable(text.removeprefix("\r")), file=sys.stderr, flush=True)


def _file_line(file: FileDone) -> str:
    return f"{file.status.value}: {file.path}" + (f": {file.reason}" if file.reason else "")


def _show_summary(summary: Summary) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if summary.found == 0:
        console.print("no pictures found: there are no files in that folder")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    meaning = {
        "new": "new",
        "changed": "changed, embedded anew",
        "duplicate": "copies of pictures already known",
        "moved": "moved or renamed",
        "unchanged": "unchanged",
        "quarantined": f"in quarantine, {summary.newly_quarantined:,} of them new",
        "skipped": "skipped: no pictures, or gone",
        "deferred": "deferred by --limit",
    }
    for name, words in meaning.items():
        if count := getattr(summary, name):
            table.add_row(f"{count:,}", words)
    table.add_row(f"{summary.found:,}", "files found" + _left_out(summary))
    console.print(table)
    console.print(
        f"{summary.points:,} pictures are in '{summary.collection}'; {summary.written:,} written "
        f"and verified, {summary.embedded:,} embedded, in {summary.seconds:.1f} s"
    )


def _left_out(summary: Summary) -> str:
    return f" ({summary.left_out:,} names left out)" if summary.left_out else ""


def show_preview(preview: Preview, voice: Voice) -> None:
    """What a run would do."""
    if voice.json:
        _json_line({"type": "preview", **asdict(preview)})
        return
    megabytes = preview.bytes_to_read / 1e6
    Console(highlight=False).print(
        f"{preview.found:,} files found: {preview.to_read:,} to read ({megabytes:,.1f} MB), "
        f"{preview.unchanged:,} unchanged, {preview.deferred:,} deferred, "
        f"{preview.quarantined:,} in quarantine, {preview.skipped:,} known to be no pictures; "
        f"{preview.vanished:,} remembered ones are not there. Nothing was opened or written."
    )
    for fault in preview.faults:
        say(f"could not be read: {fault}")


# --- query and status ------------------------------------------------------------------------


def show_hits(hits: list[Hit], voice: Voice) -> None:
    """A table on a terminal; score, tab, path where there is none; or JSON lines."""
    if voice.json:
        for hit in hits:
            line = asdict(hit)
            del line["sha256"]
            _json_line(line)
    elif not sys.stdout.isatty():
        for hit in hits:
            print(f"{hit.score:.4f}\t{printable(hit.path)}")
    elif not hits:
        say("nothing found")
    else:
        _show_table(hits)


def _show_table(hits: Iterable[Hit]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    for hit in hits:
        copies = f" [dim](+{len(hit.paths) - 1})[/dim]" if len(hit.paths) > 1 else ""
        name = printable(hit.path).replace("[", r"\[")
        table.add_row(str(hit.rank), f"{hit.score:.4f}", name + copies)
    Console(highlight=False).print(table)


def show_status(status: CollectionStatus, voice: Voice) -> None:
    """What a collection holds."""
    if voice.json:
        _json_line({"type": "status", **asdict(status)})
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("collection", f"{status.collection} in {status.store}")
    table.add_row("model", f"{status.model}, revision {status.revision} ({status.bundle})")
    table.add_row("preprocessing", f"{status.preprocessing}, {status.precision}")
    table.add_row("pictures", f"{status.indexed:,}")
    table.add_row("in quarantine", f"{status.quarantined:,}")
    table.add_row("skipped", f"{status.skipped:,}")
    for number, root in enumerate(status.roots):
        table.add_row("" if number else "roots", printable(root))
    if status.last_run is not None:
        ended = status.last_run["finished"] or "not finished (running, or interrupted)"
        table.add_row("last run", f"{status.last_run['started']} to {ended}")
    Console(highlight=False).print(table)


def _json_line(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
