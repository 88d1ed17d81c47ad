"""Labels of pictures as people and programs see them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clipindex.cli.output import Output
from clipindex.errors import ExitCode, UsageError
from clipindex.files.user_folders import expand_user
from clipindex.search.classifying import Label, parse_labels
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.classify import Classified, Unclassified

NONE = "none of these"


def read_labels(file: Path) -> list[Label]:
    """The labels in a file, `-`: standard input. Raises UsageError."""
    from clipindex.cli import streams

    path = expand_user(file)
    try:
        data = streams.read_input() if str(file) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(
            f"the labels cannot be read: {reason}", path=str(path), hint="one label a line"
        ) from error
    return parse_labels(text)


@dataclass(slots=True)
class LabelView:
    """A line each, or on a terminal how many pictures each label has."""

    output: Output
    in_lines: bool
    counts: Counter[str | None] = field(default_factory=Counter)
    tagged: int = 0
    unjudged: int = 0
    unread: int = 0

    def show(self, result: Classified | Unclassified | BatchVerified) -> None:
        """One result as it comes."""
        output = self.output
        if isinstance(result, BatchVerified):
            if output.json:
                output.record({"type": "batch", **asdict(result), "verified": True})
        elif isinstance(result, Unclassified):
            self.unread += 1
            output.problem(f"{result.path}: {result.reason}")
            if output.json:
                output.record({"type": "unclassified", **asdict(result)})
        else:
            self.counts[result.label] += 1
            self.tagged += result.tagged
            self.unjudged += result.fits is None
            output.done = f"{self.counts.total():,} pictures, {self.tagged:,} tagged"
            if output.json:
                output.record({"type": "label", **asdict(result)})
            elif self.in_lines:
                output.fields(result.label or NONE, f"{result.score:.4f}", result.path)

    def end(self, labels: Sequence[Label]) -> None:
        """How many pictures each label has, the most frequent first."""
        counts, output = self.counts, self.output
        by_label = {label.name: counts[label.name] for label in labels if counts[label.name]}
        if output.json:
            total = {"pictures": counts.total(), "labels": by_label, "none": counts[None]}
            output.record({"type": "classified", **total, "tagged": self.tagged})
        elif not self.in_lines:
            rows = sorted(by_label.items(), key=lambda row: -row[1])
            rows += [(NONE, counts[None])] if counts[None] else []
            width = max((len(f"{count:,}") for _, count in rows), default=1)
            for name, count in rows:
                output.result(f"{count:>{width},}  {name}")


def show_labels(
    results: Iterable[Classified | Unclassified | BatchVerified],
    labels: Sequence[Label],
    output: Output,
    *,
    tag: str | None,
    dry_run: bool,
    always: bool,
) -> int:
    """Show the results as they come, then the counts; returns the exit code."""
    view = LabelView(output, in_lines=not sys.stdout.isatty() or output.verbose)
    for result in results:
        view.show(result)
    total, none = view.counts.total(), view.counts[None]
    if view.unjudged == total > none and not (output.json or always):
        output.note("nothing tells whether a label stands out; each picture gets the nearest")
    view.end(labels)
    if tag is not None and not (output.quiet or output.json):
        what = "would be tagged" if dry_run else "tagged"
        output.say(f"{total - none if dry_run else view.tagged:,} {what} {tag}=LABEL")
    return ExitCode.ATTENTION if view.unread else ExitCode.DONE
