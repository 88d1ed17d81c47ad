"""A run while it goes on: a bar on a terminal, lines where there is none, JSON lines, a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Protocol

from clipindex.cli.bar import Bar
from clipindex.cli.event_lines import (
    embedding_line,
    file_line,
    log_line,
    missing_line,
    note_line,
    planned_line,
    started_line,
    vanished_line,
)
from clipindex.cli.output import Output
from clipindex.cli.progress import DoneSoFar, ProgressEstimate
from clipindex.cli.results import show_summary, show_unmatched
from clipindex.cli.words import printable
from clipindex.errors import ClipIndexError, ExitCode
from clipindex.files.identity import display_path
from clipindex.ingest.events import (
    EmbeddingOn,
    Event,
    FileDone,
    FileVanished,
    FolderFault,
    PointsMissing,
    RunFinished,
    RunPlanned,
    RunStarted,
    Scanning,
    SlowFile,
    Status,
    Summary,
    Untouched,
)
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.standing.asking import StandingHit

SECONDS_BETWEEN_LINES = 30.0  # without a terminal: a cron mail wants few lines
STEPS = 1000  # of the bar
Then = Callable[[Summary], tuple[Summary, ClipIndexError | None]]
VANISHED_SHOWN = 3  # paths of pictures that vanished; the log has all


def show_run(
    events: Generator[Event, None, None],
    output: Output,
    take: Callable[[Event], object] = lambda _: None,
    then: Then | None = None,
) -> int:
    """Show a run's events as they come; returns its exit code. `take` is called with
    each event as well.

    `then` goes on when the run is done and its collection is closed. It returns the summary to
    show in place of the run's own, and the error that is raised after that.
    """
    view: RunView = JsonView(output) if output.json else PeopleView(output)
    done = DoneSoFar()
    output.done = done

    def show(event: Event) -> None:
        done.add(event)
        if (line := log_line(event)) is not None:
            output.log(line)
        view.show(event)
        take(event)

    summary, error = None, None
    with closing(view), closing(events):
        for event in events:
            if isinstance(event, RunFinished):
                summary = event.summary
            else:
                show(event)
        if summary is None:
            return int(ExitCode.DONE)
        if then is not None:
            view.close()  # it may ask a question
            summary, error = then(summary)
        show(RunFinished(summary))
    if error is not None:
        raise error
    return summary.exit_code


@contextmanager
def points_bar(output: Output, unit: str = "points") -> Iterator[Callable[[int, int], None]]:
    """Yields a callback(done, total) that draws a progress bar on a terminal."""
    hidden = output.json or output.quiet or not sys.stderr.isatty()
    with Bar(unit=f" {unit}", disable=hidden, dynamic_ncols=True, leave=False) as bar:
        if not hidden:
            output.write_lines_with(lambda line: bar.write(line, file=sys.stderr))

        def moved(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == total:  # tqdm draws ten times a second, a small one is done before that
                bar.refresh()

        try:
            yield moved
        finally:
            output.write_lines_with(None)


class RunView(Protocol):
    """Shows the events of one run as they come."""

    def show(self, event: Event) -> None:
        """Draw, print or leave out one event."""
        ...

    def close(self) -> None:
        """Leave the terminal in order, whatever ended the run."""
        ...


class JsonView:
    """One object a line on standard output."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, event: Event) -> None:
        if isinstance(event, Untouched) and self._output.verbose:
            for file in event.files():
                self._file(file)
            for path in event.left_out:
                self._output.say(f"excluded: {display_path(path)}")
        elif isinstance(event, FileDone):
            if event.status is not Status.UNCHANGED or self._output.verbose:
                self._file(event)
        elif isinstance(event, FileVanished):
            line = {"path": event.path, "id": event.id, "since": event.since}
            self._output.record({"type": "vanished", **line})
        elif isinstance(event, BatchVerified):
            batch = {"points": event.points, "ids": event.ids, "verified": True}
            self._output.record({"type": "batch", **batch})
        elif isinstance(event, StandingHit):
            self._output.record({"type": "standing", **asdict(event)})
        elif isinstance(event, RunFinished):
            summary = asdict(event.summary)
            del summary["unreadable"]  # a count for the exit code; no promised field
            self._output.record({"type": "summary", **summary})
        else:
            self._remark(event)

    def close(self) -> None:
        """Each line was flushed as it was written."""

    def _remark(self, event: Event) -> None:
        """What has no object of its own goes to standard error."""
        if isinstance(event, FolderFault):
            self._output.problem(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, PointsMissing):
            self._output.problem(missing_line(event))
        elif isinstance(event, RunPlanned):
            show_unmatched(event.unmatched_globs, self._output)
        elif (note := note_line(event)) is not None:
            self._output.say(f"note: {note}")

    def _file(self, file: FileDone) -> None:
        line = {"path": file.path, "status": file.status.value, "id": file.id}
        self._output.record({"type": "file", **line, "reason": file.reason})


class PeopleView:
    """A bar on a terminal, a line now and then without one; at the end a summary."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._terminal = sys.stderr.isatty()
        self._bar: Bar | None = None
        self._estimate: ProgressEstimate | None = None
        self._last_line = time.monotonic()
        self._vanished: list[str] = []  # in this very run

    def show(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._finished(event.summary)
        elif isinstance(event, FileVanished):
            if event.is_new:
                self._vanished.append(event.path)
        elif isinstance(event, FolderFault):
            self._output.problem(f"could not be read: {event.path}: {event.reason}")
        elif isinstance(event, PointsMissing):
            self._output.problem(missing_line(event))
        elif isinstance(event, FileDone):
            self._file(event)
        elif not self._output.quiet:
            self._progress(event)

    def close(self) -> None:
        self._output.write_lines_with(None)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _progress(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._output.say(started_line(event))
        elif isinstance(event, Scanning) and self._terminal:
            _draw(f"\rlooking: {event.found:,} files")
        elif isinstance(event, RunPlanned):
            self._plan(event)
        elif isinstance(event, EmbeddingOn):
            self._output.say(embedding_line(event))
        elif isinstance(event, SlowFile):
            self._slow_file(event)
        elif isinstance(event, Untouched):
            self._untouched(event)
        elif (note := note_line(event)) is not None:
            self._output.say(f"note: {note}")

    def _finished(self, summary: Summary) -> None:
        """What vanished is said with --quiet too, in the run that misses it first."""
        self.close()
        if self._vanished and summary.vanished:
            first, count = self._vanished[:VANISHED_SHOWN], len(self._vanished)
            self._output.problem(vanished_line(first, count, summary.deferred))
            if not summary.pruned and summary.exit_code != ExitCode.REFUSED:
                self._output.say("  what was indexed stays; `clipindex prune` removes it")
        if not self._output.quiet:
            show_summary(summary, self._output)

    def _untouched(self, untouched: Untouched) -> None:
        if self._output.verbose:
            for file in untouched.files():
                self._output.say(file_line(file))
            for path in untouched.left_out:
                self._output.say(f"excluded: {display_path(path)}")

    def _plan(self, plan: RunPlanned) -> None:
        if self._terminal:
            _draw("\r\x1b[K")  # over the count of the walk
        show_unmatched(plan.unmatched_globs, self._output)
        self._output.say(planned_line(plan))
        self._estimate = ProgressEstimate(plan)
        if self._terminal and plan.to_read:
            form = "{percentage:3.0f}% {bar} {desc} {elapsed}<{remaining}{postfix}"
            bar = Bar(total=STEPS, bar_format=form, dynamic_ncols=True, leave=False)
            self._bar = bar
            self._output.write_lines_with(lambda line: bar.write(line, file=sys.stderr))

    def _file(self, file: FileDone) -> None:
        reported = file.status is Status.QUARANTINED and not file.accepted
        if reported or self._output.verbose:
            self._output.problem(file_line(file))
        if self._estimate is None:
            return
        self._estimate.add(file)
        if self._bar is not None:
            self._bar.set_description_str(str(self._estimate), refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update(round(self._estimate.fraction * STEPS) - self._bar.n)
        else:
            self._line(self._estimate)

    def _line(self, estimate: ProgressEstimate) -> None:
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._output.say(f"{estimate} ({estimate.fraction:.0%}), {estimate.left()}")

    def _slow_file(self, event: SlowFile) -> None:
        if self._bar is not None:
            name = printable(event.path.rpartition("/")[2])
            self._bar.set_postfix_str(f"at {name[:30]} for {event.seconds:.0f} s")


def _draw(text: str) -> None:
    """Steer the terminal itself: written as it is."""
    print(text, end="", file=sys.stderr, flush=True)
