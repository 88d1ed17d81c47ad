"""What there is to filter by: the tags, cameras, formats, folders and dates of a collection."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from heapq import nlargest

from clipindex.collection.kept import Kept, read_live
from clipindex.collection.lock import QUERY
from clipindex.collection.place import Place
from clipindex.search.scoped import Scope, scoped
from clipindex.search.tag_list import KeyValue, key_values
from clipindex.stores.filter import Filter, Range, Value
from clipindex.stores.lookup_sql import folders_above
from clipindex.stores.payload import META, TAG
from clipindex.stores.points import ReadablePoints

MOST = 50  # values of one thing, the most frequent ones
FIRST, LAST = date(1800, 1, 1).toordinal(), date(2200, 1, 1).toordinal()  # what `taken` may be

Counts = list[tuple[Value, int]]  # a value and how many pictures have it, the most frequent first


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What the pictures of a collection have, each list bounded."""

    points: int
    keys: dict[str, Counts] = field(default_factory=dict)  # of tags and metadata
    cameras: Counts = field(default_factory=list)
    formats: Counts = field(default_factory=list)
    folders: Counts = field(default_factory=list)
    taken: tuple[str, str] | None = None  # the first and the last day; None: no picture has a date


def facets_of(place: Place, scope: Scope, kept: Kept | None) -> Facets:
    """The facets of a collection, or of the part of it within the scope."""
    return read_live(place, QUERY, kept, lambda points: _facets(scoped(points, scope)))


def metadata_keys(place: Place, kept: Kept | None) -> frozenset[str]:
    """Keys of metadata that are not keys of tags as well, which would come first."""
    fields = read_live(place, QUERY, kept, lambda points: frozenset(points.labels()))
    keys = {field.removeprefix(META) for field in fields if field.startswith(META)}
    return frozenset(key for key in keys if TAG + key not in fields)


def _facets(points: ReadablePoints) -> Facets:
    keys: dict[str, list[KeyValue]] = {}
    for pair in key_values(points):
        keys.setdefault(pair.key, []).append(pair)
    return Facets(
        points=points.count(),
        keys={
            key: _most({pair.value: pair.count for pair in pairs}) for key, pairs in keys.items()
        },
        cameras=_most(points.values("camera")),
        formats=_most(points.values("format")),
        folders=_top_folders(points.values("folders")),
        taken=_days(points),
    )


def _most(counts: Mapping[Value, int]) -> Counts:
    return nlargest(MOST, counts.items(), key=lambda pair: (pair[1], str(pair[0])))


def _top_folders(counts: Mapping[Value, int]) -> Counts:
    """The folders in the one that is above all pictures: what is higher tells none apart."""
    if not counts:
        return []
    every = max(counts.values())
    base = max((str(folder) for folder, count in counts.items() if count == every), key=len)
    inside = {
        folder: count
        for folder, count in counts.items()
        if folder != base and folders_above(str(folder))[:1] == [base]
    }
    return _most(inside or {base: every})


def _days(points: ReadablePoints) -> tuple[str, str] | None:
    """The first and the last day on which a picture was taken, by asking how many there are before
    a day: no engine has to list all dates."""

    def before(day: int) -> int:
        return points.count(Filter(ranges=(Range(field="taken", lt=_iso(day)),)))

    dated = before(LAST)
    if not dated:
        return None
    days = range(FIRST, LAST)
    first = bisect_left(days, 1, key=lambda day: min(1, before(day + 1)))
    last = bisect_left(days, dated, key=lambda day: before(day + 1))
    return _iso(days[first]), _iso(days[last])


def _iso(day: int) -> str:
    return date.fromordinal(day).isoformat()
