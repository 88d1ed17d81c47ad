"""Tags and metadata as people and programs see them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from clipindex.cli.output import Output
from clipindex.cli.words import count_of

if TYPE_CHECKING:
    from clipindex.search.tag_list import KeyValue
    from clipindex.upkeep.metadata import MetadataReport
    from clipindex.upkeep.metadata_table import Row

ROWS_SHOWN = 10  # that match nothing
VALUES_SHOWN = 10  # of a key, on a terminal


def show_tags(tags: Sequence[KeyValue], output: Output, *, everything: bool) -> None:
    """JSON lines, lines of fields parted by tabs, or on a terminal a paragraph for each key."""
    if output.json:
        for tag in tags:
            output.record(
                {
                    "type": "tag",
                    "key": tag.key,
                    "value": tag.value,
                    "count": tag.count,
                    "metadata": tag.is_metadata,
                }
            )
    elif not tags:
        output.say("no picture has a tag: `clipindex tag KEY=VALUE PATH` puts one on")
    elif sys.stdout.isatty():
        for key, group in groupby(tags, lambda tag: (tag.key, tag.is_metadata)):
            _show_key(*key, list(group), output, everything)
    else:
        for tag in tags:
            output.fields(tag.key, said(tag.value), str(tag.count))


def _show_key(
    key: str, is_metadata: bool, values: Sequence[KeyValue], output: Output, everything: bool
) -> None:
    output.result(f"{key} (metadata)" if is_metadata else key)
    shown = values if everything else values[:VALUES_SHOWN]
    width = max(len(f"{value.count:,}") for value in shown)
    for value in shown:
        output.result(f"  {value.count:>{width},}  {said(value.value)}")
    if rest := len(values) - len(shown):
        output.result(f"  {'':>{width}}  {rest:,} more values: clipindex tags {key}")


def show_metadata(report: MetadataReport, output: Output) -> None:
    """What was joined, and the rows that match nothing."""
    if output.json:
        for row in report.unmatched:
            output.record({"type": "unmatched", "row": row.number, "key": row.key})
        line = asdict(report)
        line["unmatched"] = len(report.unmatched)
        output.record({"type": "metadata", **line})
        return
    show_unmatched_rows(report.unmatched, output)
    if not output.quiet:
        kinds = ", ".join(f"{key} ({kind})" for key, kind in report.fields.items())
        output.result(f"{report.matched:,} of {count_of(report.rows, 'row')} joined: {kinds}")
        output.result(
            f"{count_of(report.pictures, 'picture')} with metadata, {report.changed:,} changed"
        )


def show_unmatched_rows(rows: Sequence[Row], output: Output) -> None:
    """Rows of a table that name no picture."""
    for row in rows[: None if output.verbose else ROWS_SHOWN]:
        output.say(f"row {row.number} matches no picture: {row.key}")
    if not output.verbose and (rest := len(rows) - ROWS_SHOWN) > 0:
        output.say(f"{rest:,} more rows match no picture; --verbose lists them")


def said(value: object) -> str:
    """A value as it is written: 50, true, ann."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
