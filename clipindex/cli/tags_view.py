"""Tags and metadata as people and programs see them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from clipindex.cli.output import Output

if TYPE_CHECKING:
    from clipindex.search.tag_list import KeyValue

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
            output.result(f"{tag.key}\t{said(tag.value)}\t{tag.count}")


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


def said(value: object) -> str:
    """A value as it is written: 50, true, ann."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
