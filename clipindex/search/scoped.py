"""A part of a collection, as whoever may see no more of it sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from clipindex.search.filters import Condition, PictureFilter, filter_of
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind, values_by_reading
from clipindex.stores.payload import Payload
from clipindex.stores.points import Point, ReadablePoints, ScoredContent, Vector
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod

Scope = tuple[Condition, ...]  # several values of one key: any of them


def scoped(points: ReadablePoints, scope: Scope) -> ReadablePoints:
    """The points that meet the conditions: for a reader of these the others do not exist, neither
    in results nor in counts, names or messages."""
    if not scope:
        return points
    return ScopedPoints(points, filter_of(points, PictureFilter(where=scope))[0])


class ScopedPoints:
    """The points that match a filter. Which values a field has is read from the payloads of all of
    them."""

    def __init__(self, points: ReadablePoints, scope: Filter) -> None:
        self.location = points.location
        self._points = points
        self._scope = scope

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """As `ReadablePoints.retrieve`."""
        stored = self._points.retrieve(ids)
        digests = {str(point.payload.get("sha256")) for point in stored.values()}
        visible = {name for name, _ in self.scroll(Filter().also_among("sha256", sorted(digests)))}
        return {name: point for name, point in stored.items() if name in visible}

    def search_method(self, accuracy: Accuracy, only: Filter = Filter()) -> SearchMethod:
        """As `ReadablePoints.search_method`."""
        return self._points.search_method(accuracy, only.also_all(self._scope))

    def search(
        self,
        vector: Vector,
        *,
        limit: int,
        only: Filter = Filter(),
        method: SearchMethod = EXACT,
    ) -> list[ScoredContent]:
        """As `ReadablePoints.search`."""
        only = only.also_all(self._scope)
        return self._points.search(vector, limit=limit, only=only, method=method)

    def scroll(
        self, only: Filter = Filter(), start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """As `ReadablePoints.scroll`."""
        return self._points.scroll(only.also_all(self._scope), start)

    def count(self, only: Filter = Filter()) -> int:
        """As `ReadablePoints.count`."""
        return self._points.count(only.also_all(self._scope))

    def labels(self) -> dict[str, Kind]:
        """As `ReadablePoints.labels`."""
        every, wanted = self.count(), self._scope.wanted()
        return {
            field: kind
            for field, kind in self._points.labels().items()
            if every and (field in wanted or self.count(Filter(absent=(field,))) < every)
        }

    def values(self, field: str) -> dict[Value, int]:
        """As `ReadablePoints.values`."""
        return values_by_reading(self.scroll(), field)

    def estimate(self) -> int:
        """The exact number."""
        return self.count()
