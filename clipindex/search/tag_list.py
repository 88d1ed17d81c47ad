"""Which tags and metadata the pictures of a collection have, and how many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from clipindex.collection.kept import read_live
from clipindex.collection.lock import QUERY
from clipindex.collection.place import Place
from clipindex.errors import UsageError
from clipindex.stores.filter import Value
from clipindex.stores.payload import META, TAG
from clipindex.stores.points import ReadablePoints


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A value of a key, and how many files have it."""

    key: str
    value: Value
    count: int
    is_metadata: bool  # joined from a file, not put on by `tag`


def tags_in(place: Place, keys: Sequence[str] = ()) -> list[KeyValue]:
    """Every key and value, of each key the most frequent values first; `keys`: only of these.

    Raises UsageError for a key that no picture has.
    """
    return read_live(place, QUERY, None, lambda points: key_values(points, keys))


def key_values(points: ReadablePoints, keys: Sequence[str] = ()) -> list[KeyValue]:
    """`tags_in` of open points."""
    fields = sorted(points.labels(), key=lambda field: (field.split("_", 1)[1], field))
    known = [field.removeprefix(TAG).removeprefix(META) for field in fields]
    for key in keys:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            raise UsageError(
                f"no picture has a tag or metadata called '{key}'",
                hint=f"did you mean '{close[0]}'?" if close else "`clipindex tags` lists them",
            )
    return [
        KeyValue(key=key, value=value, count=count, is_metadata=field.startswith(META))
        for field, key in zip(fields, known, strict=True)
        if not keys or key in keys
        for value, count in sorted(
            points.values(field).items(), key=lambda pair: (-pair[1], str(pair[0]))
        )
    ]
