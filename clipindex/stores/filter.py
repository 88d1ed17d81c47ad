"""Which points a query or a scroll selects, for either engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

Conditions = dict[str, list[dict[str, Any]]]  # a filter in the spelling of Qdrant's REST API


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Exact matches on payload fields; a list field matches when it contains the value."""

    equals: tuple[tuple[str, str], ...] = ()
    differs: tuple[tuple[str, str], ...] = ()  # a missing field differs from every value
    among: tuple[tuple[str, tuple[str, ...]], ...] = ()  # any value of several
    outside: tuple[tuple[str, tuple[str, ...]], ...] = ()  # no value of several

    def also(self, *equals: tuple[str, str]) -> Filter:
        """This filter with further fields that must match."""
        return replace(self, equals=(*self.equals, *equals))

    def also_among(self, field: str, values: Iterable[str]) -> Filter:
        """This filter with a further field that must have one of several values."""
        return replace(self, among=(*self.among, (field, tuple(values))))

    def also_outside(self, field: str, values: Iterable[str]) -> Filter:
        """This filter with a further field that must have none of several values."""
        return replace(self, outside=(*self.outside, (field, tuple(values))))

    def fields(self) -> set[str]:
        """Every field that the filter names."""
        conditions = (*self.equals, *self.differs, *self.among, *self.outside)
        return {field for field, _ in conditions}

    def parts(self, most: int) -> list[Filter]:
        """Filters that together match what this one does, none with more than `most` values in
        a condition. A point with several of the values may match more than one of them."""
        outside = tuple(
            (field, part) for field, values in self.outside for part in _cut(values, most)
        )
        parts = [replace(self, outside=outside, among=())]
        for field, values in self.among:
            parts = [part.also_among(field, some) for part in parts for some in _cut(values, most)]
        return parts

    def conditions(self) -> Conditions | None:
        """This filter as Qdrant's REST API spells it, None for the empty filter. Both engines
        build their own filter classes from it."""
        if self == Filter():
            return None
        must = [{"key": field, "match": {"value": value}} for field, value in self.equals]
        must += [{"key": field, "match": {"any": list(values)}} for field, values in self.among]
        must_not = [{"key": field, "match": {"value": value}} for field, value in self.differs]
        must_not += [
            {"key": field, "match": {"any": list(values)}} for field, values in self.outside
        ]
        return {"must": must, "must_not": must_not}


def _cut(values: tuple[str, ...], most: int) -> list[tuple[str, ...]]:
    """`values` in pieces; one empty piece where there are none, because it matches nothing."""
    return [values[start : start + most] for start in range(0, max(1, len(values)), most)]
