"""Duplicates as people and programs see them: groups, paths alone, JSON lines; and verdicts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Self

from clipindex.cli.output import Output
from clipindex.cli.results import show_fields, show_path, show_paths
from clipindex.cli.run_view import points_bar
from clipindex.cli.sheet.cards import sheet_of_groups
from clipindex.cli.sheet.writing import write_sheet
from clipindex.cli.words import count_of, megabytes, printable_path
from clipindex.errors import ExitCode
from clipindex.upkeep.duplicates.findings import (
    DuplicateFile,
    DuplicateGroup,
    DuplicatesEvent,
    DuplicatesFinished,
    DuplicatesProgress,
    DuplicatesSummary,
    NotCompared,
    Role,
    Step,
    Unread,
)
from clipindex.upkeep.duplicates.verdicts import Verdict

UNREAD = {
    Unread.AWAY: "away (deleted, or its disk is not mounted)",
    Unread.ELSEWHERE: "on another machine",
    Unread.CHANGED: "edited since it was indexed (run `clipindex reindex`)",
    Unread.UNREADABLE: "unreadable",
}


def show_duplicates(
    events: Generator[DuplicatesEvent, None, None],
    output: Output,
    *,
    paths: bool,
    zero: bool,
    html: Path | None = None,
) -> int:
    """Show the groups, or with `paths` the files that could go; returns the exit code. With
    `html` they are written as a contact sheet instead."""
    code, number = int(ExitCode.DONE), 0
    for_sheet: list[DuplicateGroup] = []
    with closing(events), _Bars(output) as bars:
        for event in events:
            match event:
                case DuplicatesProgress():
                    bars.move(event)
                case NotCompared():
                    _show_unread(event, output)
                case DuplicateGroup() if html is not None:
                    for_sheet.append(event)
                case DuplicateGroup() if paths:
                    bars.close()
                    show_paths((file for file in event.files if file.spare), zero=zero)
                case DuplicateGroup():
                    bars.close()
                    number += 1
                    _show_group(number, event, output)
                case DuplicatesFinished():
                    bars.close()
                    code = int(event.summary.exit_code)
                    _show_summary(event.summary, output, code)
                    if html is not None:
                        sheet = sheet_of_groups(for_sheet, _totals(event.summary))
                        write_sheet(sheet, html, output)
    return code


class _Bars:
    """A progress bar for the step under way."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar = ExitStack()
        self._step: Step | None = None
        self._moved: Callable[[int, int], None]

    def move(self, progress: DuplicatesProgress) -> None:
        """Move the bar; a new step has a new one."""
        if progress.step is not self._step:
            self.close()
            self._step = progress.step
            self._moved = self._bar.enter_context(points_bar(self._output, progress.step.value))
        self._output.done = f"{progress.done:,} of {progress.total:,} {progress.step.value}"
        self._moved(progress.done, progress.total)

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _show_unread(picture: NotCompared, output: Output) -> None:
    line = f"not compared: {picture.path}: {picture.reason}"
    output.log(line)
    if output.json:
        output.record({"type": "unread", **asdict(picture)})
    elif picture.why is Unread.UNREADABLE:
        output.problem(line)
    elif output.verbose:
        output.say(line)


def _show_group(number: int, group: DuplicateGroup, output: Output) -> None:
    """On a terminal a block; in a pipe a line for each file, its fields parted by tabs."""
    if output.json:
        files = [_record(file) for file in group.files]
        output.record({"type": "group", "group": number, "exact": group.exact, "files": files})
    elif sys.stdout.isatty():
        if number > 1:
            output.result("")
        for file in group.files:
            show_path(f"{_facts(file)}  ", file.exact_path)
    else:
        for file in group.files:
            size = f"{file.width}x{file.height}"
            fields = (str(number), _role(file), size, str(file.bytes), f"{file.score:.4f}")
            show_fields((*fields, printable_path(file.exact_path)))


def _record(file: DuplicateFile) -> dict[str, object]:
    line = asdict(file)
    del line["exact_path"]
    return line


def _facts(file: DuplicateFile) -> str:
    size = f"{file.width}x{file.height}"
    return f"{_role(file):>8}  {size:>11}  {file.bytes / 1e3:>9,.0f} kB"


def _role(file: DuplicateFile) -> str:
    return "keep" if file.keep and file.role is not Role.COPY else file.role.value


def _show_summary(summary: DuplicatesSummary, output: Output, code: int) -> None:
    output.done = _totals(summary)
    output.log(f"{_totals(summary)}; exit code {code}")
    if output.json:
        output.record({"type": "duplicates", **asdict(summary), "exit_code": code})
        return
    output.say(f"{_totals(summary)}, in {summary.seconds:.1f} s")
    if summary.not_compared:
        counts = {why: getattr(summary, why.value) for why in Unread}
        said = ", ".join(f"{count:,} {UNREAD[why]}" for why, count in counts.items() if count)
        output.note(
            f"{count_of(summary.not_compared, 'picture')} that may have duplicates could not be "
            f"compared: {said}; --verbose lists them"
        )
    if summary.damaged_points:
        points = count_of(summary.damaged_points, "damaged point")
        output.note(f"{points} left out: run `clipindex verify`")
    if summary.verdicts:
        kept = count_of(summary.verdicts, "pair")
        output.note(f"{kept} kept apart, because you marked the pictures as different")


def _totals(summary: DuplicatesSummary) -> str:
    """`2 groups with 3 duplicates (1.2 MB) among 26 files`."""
    among = f"among {count_of(summary.files, 'file')}"
    if not summary.groups:
        return f"no duplicates {among}"
    size = megabytes(summary.spare_bytes)
    return (
        f"{count_of(summary.groups, 'group')} with {count_of(summary.duplicates, 'duplicate')} "
        f"{among}; {summary.spare:,} could go ({size})"
    )


def show_verdicts(verdicts: Sequence[Verdict], output: Output) -> None:
    """One line each: verdict, when, and the files, or the contents that no file has now."""
    if output.json:
        for verdict in verdicts:
            output.record({"type": "verdict", **asdict(verdict)})
        return
    if not verdicts:
        output.say("no verdicts")
    for verdict in verdicts:
        show_fields((verdict.verdict, verdict.made, *_names(verdict)))


def _names(verdict: Verdict) -> Iterable[str]:
    for digest, path in zip(verdict.sha256, verdict.paths, strict=True):
        yield path if path is not None else f"(not indexed now: {digest[:16]})"
