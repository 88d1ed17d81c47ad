"""Labels of pictures as people and programs see them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from clipindex.cli.output import Output
from clipindex.errors import UsageError
from clipindex.files.user_folders import expand_user
from clipindex.search.classifying import Label, parse_labels
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.classify import Classified

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


def show_labels(
    results: Iterable[Classified | BatchVerified],
    labels: Sequence[Label],
    output: Output,
    *,
    tag: str | None,
    dry_run: bool,
    always: bool,
) -> None:
    """A line each, or on a terminal how many pictures each label has."""
    counts: Counter[str | None] = Counter()
    tagged = unjudged = 0
    in_lines = not sys.stdout.isatty() or output.verbose
    for result in results:
        if isinstance(result, BatchVerified):
            if output.json:
                output.record({"type": "batch", **asdict(result), "verified": True})
            continue
        counts[result.label] += 1
        tagged += result.tagged
        unjudged += result.fits is None
        output.done = f"{counts.total():,} pictures, {tagged:,} tagged"
        if output.json:
            output.record({"type": "label", **asdict(result)})
        elif in_lines:
            output.fields(result.label or NONE, f"{result.score:.4f}", result.path)
    by_label = {label.name: counts[label.name] for label in labels if counts[label.name]}
    if unjudged == counts.total() > counts[None] and not (output.json or always):
        output.note("nothing tells whether a label stands out; each picture gets the nearest")
    if output.json:
        total = {"pictures": counts.total(), "labels": by_label, "none": counts[None]}
        output.record({"type": "classified", **total, "tagged": tagged})
        return
    if not in_lines:
        width = max((len(f"{count:,}") for count in counts.values()), default=1)
        for name, count in sorted(by_label.items(), key=lambda item: -item[1]):
            output.result(f"{count:>{width},}  {name}")
        if counts[None]:
            output.result(f"{counts[None]:>{width},}  {NONE}")
    if tag is not None and not output.quiet:
        what = "would be tagged" if dry_run else "tagged"
        number = counts.total() - counts[None] if dry_run else tagged
        output.say(f"{number:,} {what} {tag}=LABEL")
