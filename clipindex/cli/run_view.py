"""A run as it goes on: a bar on a terminal, lines where there is none, JSON lines, a log file.

The door to tqdm.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from clipindex.cli.log_lines import embedding_line, file_line, log_line, planned_line, started_line
from clipindex.cli.results import (
    Output,
    json_line,
    print_message,
    printable,
    show_summary,
    write_stderr,
)
from clipindex.errors import UsageError
from clipindex.files.identity import display_path
from clipindex.ingest.events import (
    EmbeddingOn,
    Event,
    FileDone,
    FolderFault,
    RunFinished,
    RunPlanned,
    RunStarted,
    Scanning,
    SlowFile,
    Status,
    Untouched,
)
from clipindex.stores.verified import BatchVerified

SECONDS_BETWEEN_LINES = 30.0  # without a terminal: a cron mail wants few lines
STEPS = 1000  # of the bar


class IngestView(Protocol):
    """Shows the events of one run as they come."""

    def show(self, event: Event) -> None:
        """Draw, print or leave out one event."""
        ...

    def close(self) -> None:
        """Leave the terminal in order, whatever ended the run."""
        ...


def ingest_view(output: Output) -> IngestView:
    """JSON lines or a view for people; beside it a log file where one is asked for."""
    view: IngestView = JsonView(output) if output.json else PeopleView(output)
    return view if output.log_file is None else Logged(view, output.log_file)


@contextmanager
def points_bar(output: Output) -> Iterator[Callable[[int, int], None]]:
    """Gives what takes how many points are through, of how many: a bar where somebody looks on,
    nothing elsewhere."""
    unseen = output.json or output.quiet or not sys.stderr.isatty()
    with tqdm(unit=" points", disable=unseen, dynamic_ncols=True, leave=False) as bar:

        def moved(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == total:  # tqdm draws ten times a second, a small one is done before that
                bar.refresh()

        yield moved


class JsonView:
    """One object a line on standard output."""

    def __init__(self, output: Output) -> None:
        self._verbose = output.verbose

    def show(self, event: Event) -> None:
        if isinstance(event, Untouched) and self._verbose:
            for file in event.files():
                self._file(file)
            for path in event.left_out:
                print_message(f"left out: {display_path(path)}")
        elif isinstance(event, FileDone):
            if event.status is not Status.UNCHANGED or self._verbose:
                self._file(event)
        elif isinstance(event, BatchVerified):
            batch = {"points": event.points, "ids": event.ids, "verified": True}
            json_line({"type": "batch", **batch})
        elif isinstance(event, FolderFault):
            print_message(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, RunFinished):
            summary = asdict(event.summary)
            del summary["unreadable"]
            json_line({"type": "summary", **summary})

    def close(self) -> None:
        sys.stdout.flush()

    def _file(self, file: FileDone) -> None:
        line = {"path": file.path, "status": file.status.value, "id": file.id}
        json_line({"type": "file", **line, "reason": file.reason})


class ProgressEstimate:
    """How far a run is, by files and bytes alike: many small files and few large ones both
    mislead when only one of the two is counted."""

    def __init__(self, plan: RunPlanned) -> None:
        self.files, self._bytes = plan.to_read, plan.bytes_to_read
        self.done, self._bytes_done = 0, 0
        self._started = time.monotonic()

    def add(self, file: FileDone) -> None:
        self.done += 1
        self._bytes_done += file.bytes

    @property
    def fraction(self) -> float:
        """Between 0 and 1."""
        by_files = self.done / max(self.files, 1)
        by_bytes = self._bytes_done / self._bytes if self._bytes else by_files
        return min(1.0, (by_files + by_bytes) / 2)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._started, 0.001)
        return f"{self.done:,}/{self.files:,} files, {self.done / seconds:.1f}/s"

    def left(self) -> str:
        """The time left, in words."""
        if not self.fraction:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) * (1 - self.fraction) / self.fraction
        if seconds < 90:
            return f"about {seconds:.0f} s left"
        minutes = seconds / 60
        return (
            f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"
        )


class PeopleView:
    """A bar on a terminal, a line now and then without one; at the end a summary."""

    def __init__(self, output: Output) -> None:
        self._voice = output
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm[object] | None = None
        self._pace: ProgressEstimate | None = None
        self._last_line = time.monotonic()

    def show(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self.close()
            if not self._voice.quiet:
                show_summary(event.summary)
        elif isinstance(event, FolderFault):
            self._say(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, FileDone):
            self._file(event)
        elif not self._voice.quiet:
            self._progress(event)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _progress(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._say(started_line(event))
        elif isinstance(event, Scanning) and self._terminal:
            write_stderr(f"\rlooking: {event.found:,} files")
        elif isinstance(event, RunPlanned):
            self._plan(event)
        elif isinstance(event, EmbeddingOn):
            self._say(embedding_line(event))
        elif isinstance(event, SlowFile):
            self._slow_file(event)
        elif isinstance(event, Untouched) and self._voice.verbose:
            for file in event.files():
                self._say(file_line(file))
            for path in event.left_out:
                self._say(f"left out: {display_path(path)}")

    def _plan(self, plan: RunPlanned) -> None:
        if self._terminal:
            write_stderr("\r\x1b[K")  # over the count of the walk
        self._say(planned_line(plan))
        if plan.vanished:
            self._say(f"{plan.vanished:,} remembered pictures are not there; their points stay")
        self._pace = ProgressEstimate(plan)
        if self._terminal and plan.to_read:
            form = "{percentage:3.0f}% {bar} {desc} {elapsed}<{remaining}{postfix}"
            self._bar = tqdm(total=STEPS, bar_format=form, dynamic_ncols=True, leave=False)

    def _file(self, file: FileDone) -> None:
        if file.status is Status.QUARANTINED or self._voice.verbose:
            self._say(file_line(file))
        if self._pace is None:
            return
        self._pace.add(file)
        if self._bar is not None:
            self._bar.set_description_str(str(self._pace), refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update(round(self._pace.fraction * STEPS) - self._bar.n)
        else:
            self._line(self._pace)

    def _line(self, pace: ProgressEstimate) -> None:
        now = time.monotonic()
        if not self._voice.quiet and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            print_message(f"{pace} ({pace.fraction:.0%}), {pace.left()}")

    def _slow_file(self, event: SlowFile) -> None:
        if self._bar is not None:
            name = printable(event.path.rpartition("/")[2])
            self._bar.set_postfix_str(f"at {name[:30]} for {event.seconds:.0f} s")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            print_message(text)


class Logged:
    """Another view, and a file to which every line is appended with its time."""

    def __init__(self, view: IngestView, path: Path) -> None:
        self._view = view
        try:
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise UsageError(
                f"the log file cannot be written: {error.strerror}", path=str(path)
            ) from error

    def show(self, event: Event) -> None:
        if (line := log_line(event)) is not None:
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            self._file.write(f"{now} {printable(line)}\n")
            self._file.flush()
        self._view.show(event)

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._file.close)
            self._view.close()
