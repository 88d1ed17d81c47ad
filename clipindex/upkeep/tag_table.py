"""Tags from a table: put on the pictures that its rows name, or taken off them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clipindex.collection.lock import QUERY
from clipindex.collection.opening import open_for_change
from clipindex.collection.place import Place
from clipindex.errors import UsageError
from clipindex.files.identity import display_path
from clipindex.stores.filter import Filter
from clipindex.stores.labels import Kind
from clipindex.stores.payload import META, TAG, TAG_KEY, Payload
from clipindex.stores.points import ReadablePoints
from clipindex.upkeep.metadata import read_file
from clipindex.upkeep.metadata_table import Row, Table, read_table
from clipindex.upkeep.tagging import rewrite

KEY, VALUE = META + "key", META + "value"  # as fields of a table, the columns of its long form


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReport:
    """What became of a table's rows."""

    file: str
    rows: int
    pictures: int  # that rows name
    changed: int  # pictures whose tags are others now; of a preview, would be
    unmatched: tuple[Row, ...]  # rows that name no picture


def tag_from(place: Place, file: Path, *, remove: bool = False, dry_run: bool = False) -> TagReport:
    """Put a table's tags on the pictures that its rows name, or with `remove` take off those that
    have just these values; with `dry_run` only count.

    A row has a picture as metadata has it, and a key and a value in columns of these names;
    otherwise each other column is a key. Raises UsageError for a file that is no such table.
    """
    path = os.fsencode(os.path.abspath(os.path.expanduser(file)))
    table = _as_tags(read_table(read_file(path), display_path(path), all_text=True), path)

    def change(payload: Payload) -> Payload:
        fields = table.fields_of(str(payload.get("path", "")))
        if not remove:
            return {**payload, **fields}
        return {n: v for n, v in payload.items() if n not in fields or v != fields[n]}

    if dry_run:
        located = place.locate()
        with located.place.open_for_reading(located.require(), QUERY) as points:
            named, changed = _named(points, place.source, table, change)
    else:
        with open_for_change(place, "untag" if remove else "tag") as collection:
            named, changed = _named(collection.points, collection.source, table, change)
            for field in table.kinds:
                collection.points.index_field(field)
            for _ in rewrite(collection.points, changed, change):
                pass
    return TagReport(
        file=display_path(path),
        rows=len(table.rows),
        pictures=named,
        changed=len(changed),
        unmatched=tuple(table.unmatched()),
    )


def _as_tags(table: Table, path: bytes) -> Table:
    is_long = {KEY, VALUE} <= table.kinds.keys()
    rows = tuple(_long(table, path) if is_long else _wide(table))
    return Table(rows, {field: Kind.TEXT for row in rows for field in row.fields})


def _wide(table: Table) -> Iterator[Row]:
    for row in table.rows:
        yield Row(
            row.number,
            row.key,
            {TAG + name.removeprefix(META): _text(value) for name, value in row.fields.items()},
        )


def _long(table: Table, path: bytes) -> Iterator[Row]:
    for row in table.rows:
        key = str(row.fields.get(KEY, ""))
        if not TAG_KEY.fullmatch(key):
            raise UsageError(
                f"row {row.number} has the key {key!r}, which no tag can have",
                path=display_path(path),
                hint="a key has letters, digits and '_'",
            )
        fields: Payload = {TAG + key: _text(row.fields[VALUE])} if VALUE in row.fields else {}
        yield Row(row.number, row.key, fields)


def _text(value: object) -> str:
    """A tag has one value: those of a list in JSON become one."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _named(
    points: ReadablePoints, source: str, table: Table, change: Callable[[Payload], Payload]
) -> tuple[int, list[uuid.UUID]]:
    """How many pictures of a source the rows name, and those whose tags would be others."""
    named, changed = 0, []
    for name, payload in points.scroll(Filter().also(("source", source))):
        if table.fields_of(str(payload.get("path", ""))):
            named += 1
            if change(payload) != payload:
                changed.append(name)
    return named, changed
