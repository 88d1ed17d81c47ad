"""Keeping the collection beside the live one in step: the same points, but for their vectors.

A point's id and payload do not depend on the model. So a point is brought along with the vector
that the other collection has of the same content already; only new content must be embedded.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

from clipindex.collection.place import Beside
from clipindex.errors import ClipIndexError, ClipIndexWarning
from clipindex.stores.filter import Filter
from clipindex.stores.labels import is_label, label_index
from clipindex.stores.payload import with_vector_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points, ReadablePoints
from clipindex.stores.validation import healed, point_fault
from clipindex.stores.verified import write_verified


class Touched:
    """Points that note which of them were written or deleted."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self.ids: dict[uuid.UUID, None] = {}

    def upsert(self, batch: Sequence[Point]) -> None:
        """As `Points.upsert`."""
        self.ids.update((point.id, None) for point in batch)
        self._points.upsert(batch)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """As `Points.delete`."""
        self.ids.update((name, None) for name in ids)
        self._points.delete(ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._points, name)


@dataclass(slots=True)
class Page:
    """What became of some points of the live collection in the one beside it."""

    written: int = 0
    gone: list[uuid.UUID] = field(default_factory=list)  # not in the live one
    lacking: list[Point] = field(default_factory=list)  # as in the live one: to be embedded


def bring_along(
    live: ReadablePoints, beside: Points, dimension: int, ids: Sequence[uuid.UUID]
) -> Page:
    """Give points the payloads that they have in the live collection, and vectors where the one
    beside has their content. Nothing is deleted. Raises VerificationFailed."""
    page = Page()
    wanted, stored = live.retrieve(ids), beside.retrieve(ids)
    page.gone = [name for name in ids if name not in wanted and name in stored]
    changed: list[Point] = []
    unknown: list[Point] = []
    for name, point in wanted.items():
        before = stored.get(name)
        if before is None or not _is_of(before, point, dimension):
            unknown.append(point)
        elif not beside.same(with_vector := _with_vector(point, before), before):
            changed.append(with_vector)
    vectors = _vectors_of(beside, unknown, dimension) if unknown else {}
    for point in unknown:
        donor = vectors.get(str(point.payload.get("sha256")))
        if donor is None:
            page.lacking.append(point)
        else:
            changed.append(_with_vector(point, donor))
    write(beside, changed)
    page.written = len(changed)
    return page


def write(beside: Points, batch: Sequence[Point]) -> None:
    """Write points, verified, with an index for each tag and metadata field. Raises
    VerificationFailed."""
    fields = {name: value for point in batch for name, value in point.payload.items()}
    for name in filter(is_label, fields):
        beside.index_field(name, label_index(name, fields[name]))
    for start in range(0, len(batch), POINTS_AT_ONCE):
        write_verified(beside, batch[start : start + POINTS_AT_ONCE])


def remove(beside: Points, ids: Sequence[uuid.UUID]) -> None:
    """Delete points, durably."""
    if ids:
        beside.delete(ids)
        beside.flush()


@contextmanager
def followed(points: Points, beside: Beside | None) -> Iterator[Points]:
    """The points of a live collection for a change that embeds nothing. At its end the old one
    beside it, which is kept for a while, gets the same change; should that fail, it is said, and
    the next `reindex` makes up for it."""
    if beside is None or beside.is_new:  # the new one gets it before it is live
        yield points
        return
    touched = Touched(points)
    yield cast("Points", touched)
    if not touched.ids:
        return
    try:
        opened = beside.place.open(beside.stored, create=False)
        with closing(opened.points):
            _follow(points, opened.points, beside.stored.contract.dimension, touched.ids)
    except ClipIndexError as error:
        warnings.warn(
            f"the old collection of {beside.stored.contract.model} did not get this change: "
            f"{error.message}; the next reindex makes up for it",
            ClipIndexWarning,
            stacklevel=2,
        )


def _follow(live: Points, beside: Points, dimension: int, ids: Iterable[uuid.UUID]) -> None:
    """New points before old ones are deleted: a relocated picture keeps its vector."""
    remaining, gone = iter(ids), []
    while batch := list(islice(remaining, POINTS_AT_ONCE)):
        gone += bring_along(live, beside, dimension, batch).gone
    for start in range(0, len(gone), POINTS_AT_ONCE):
        remove(beside, gone[start : start + POINTS_AT_ONCE])


def _with_vector(point: Point, donor: Point) -> Point:
    payload = with_vector_of(point.payload, donor.payload)
    return replace(point, vector=donor.vector, payload=payload)


def _is_of(stored: Point, point: Point, dimension: int) -> bool:
    """Whether a stored point is sound and of the same bytes."""
    same = stored.payload.get("sha256") == point.payload.get("sha256")
    return same and point_fault(healed(stored), dimension) is None


def _vectors_of(beside: Points, points: Sequence[Point], dimension: int) -> dict[str, Point]:
    """Sound points of the same contents, by digest."""
    digests = {str(point.payload.get("sha256")) for point in points}
    found: dict[str, uuid.UUID] = {}
    for name, payload in beside.scroll(Filter().also_among("sha256", sorted(digests))):
        found.setdefault(str(payload["sha256"]), name)
    donors = beside.retrieve(list(found.values())) if found else {}
    return {
        str(point.payload["sha256"]): point
        for point in donors.values()
        if point_fault(healed(point), dimension) is None
    }
