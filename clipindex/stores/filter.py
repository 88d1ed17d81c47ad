"""Which points a query or a scroll selects, for either engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

Conditions = dict[str, list[dict[str, Any]]]  # a filter in the spelling of Qdrant's REST API


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A field with a number, or a date as ISO 8601 text, between two bounds."""

    field: str
    gte: float | str | None = None
    lte: float | str | None = None
    gt: float | str | None = None
    lt: float | str | None = None

    def bounds(self) -> dict[str, float | str]:
        """The bounds that are given, by Qdrant's names for them."""
        named = {"gte": self.gte, "lte": self.lte, "gt": self.gt, "lt": self.lt}
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, slots=True)
class Near:
    """A field with a place, within a distance of another one: degrees, metres."""

    field: str
    latitude: float
    longitude: float
    metres: float


Value = str | bool | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on payload fields, all of which must hold; a list field matches when one of its
    values does."""

    equals: tuple[tuple[str, Value], ...] = ()
    differs: tuple[tuple[str, Value], ...] = ()  # a missing field differs from every value
    among: tuple[tuple[str, tuple[str, ...]], ...] = ()  # any value of several
    outside: tuple[tuple[str, tuple[str, ...]], ...] = ()  # no value of several
    ranges: tuple[Range, ...] = ()
    beyond: tuple[Range, ...] = ()  # a missing field is beyond every range
    near: tuple[Near, ...] = ()
    absent: tuple[str, ...] = ()  # fields that a point must not have

    def also(self, *equals: tuple[str, Value]) -> Filter:
        """This filter with further fields that must match."""
        return replace(self, equals=(*self.equals, *equals))

    def also_all(self, other: Filter) -> Filter:
        """This filter with all conditions of another one."""
        return Filter(
            equals=self.equals + other.equals,
            differs=self.differs + other.differs,
            among=self.among + other.among,
            outside=self.outside + other.outside,
            ranges=self.ranges + other.ranges,
            beyond=self.beyond + other.beyond,
            near=self.near + other.near,
            absent=self.absent + other.absent,
        )

    def also_among(self, field: str, values: Iterable[str]) -> Filter:
        """This filter with a further field that must have one of several values."""
        return replace(self, among=(*self.among, (field, tuple(values))))

    def also_outside(self, field: str, values: Iterable[str]) -> Filter:
        """This filter with a further field that must have none of several values."""
        return replace(self, outside=(*self.outside, (field, tuple(values))))

    def also_absent(self, field: str) -> Filter:
        """This filter with a field that a point must not have, in place of conditions on it."""
        others = self.on(lambda other: other != field)
        return replace(others, absent=(*others.absent, field))

    @property
    def is_plain(self) -> bool:
        """Whether it has only the conditions that every version of clipindex knows."""
        return not (self.ranges or self.beyond or self.near or self.absent) and not any(
            isinstance(value, bool) for _, value in (*self.equals, *self.differs)
        )

    def wanted(self) -> set[str]:
        """The fields that a point must have."""
        fields = {field for field, _ in (*self.equals, *self.among)}
        fields.update(inner.field for inner in self.ranges)
        return fields.union(place.field for place in self.near)

    def fields(self) -> set[str]:
        """Every field that the filter names."""
        unwanted = {field for field, _ in (*self.differs, *self.outside)}
        unwanted.update(outer.field for outer in self.beyond)
        return self.wanted() | unwanted | {*self.absent}

    def without(self, fields: set[str]) -> Filter:
        """This filter where no point has these fields: conditions against them always hold."""
        return self.on(lambda field: field not in fields)

    def on(self, is_meant: Callable[[str], bool]) -> Filter:
        """The conditions on some of the fields."""
        return Filter(
            equals=tuple(pair for pair in self.equals if is_meant(pair[0])),
            differs=tuple(pair for pair in self.differs if is_meant(pair[0])),
            among=tuple(pair for pair in self.among if is_meant(pair[0])),
            outside=tuple(pair for pair in self.outside if is_meant(pair[0])),
            ranges=tuple(each for each in self.ranges if is_meant(each.field)),
            beyond=tuple(each for each in self.beyond if is_meant(each.field)),
            near=tuple(each for each in self.near if is_meant(each.field)),
            absent=tuple(field for field in self.absent if is_meant(field)),
        )

    def size(self) -> int:
        """How many conditions it has."""
        kinds = (self.equals, self.differs, self.among, self.outside)
        return sum(map(len, (*kinds, self.ranges, self.beyond, self.near, self.absent)))

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
        must = [_match(field, "value", value) for field, value in self.equals]
        must += [_match(field, "any", list(values)) for field, values in self.among]
        must += [{"key": each.field, "range": each.bounds()} for each in self.ranges]
        must += [_radius(each) for each in self.near]
        must += [{"is_empty": {"key": field}} for field in self.absent]
        must_not = [_match(field, "value", value) for field, value in self.differs]
        must_not += [_match(field, "any", list(values)) for field, values in self.outside]
        must_not += [{"key": each.field, "range": each.bounds()} for each in self.beyond]
        return {"must": must, "must_not": must_not}


def _match(field: str, kind: str, value: object) -> dict[str, Any]:
    return {"key": field, "match": {kind: value}}


def _radius(near: Near) -> dict[str, Any]:
    center = {"lat": near.latitude, "lon": near.longitude}
    return {"key": near.field, "geo_radius": {"center": center, "radius": near.metres}}


def _cut(values: tuple[str, ...], most: int) -> list[tuple[str, ...]]:
    """`values` in pieces; one empty piece where there are none, because it matches nothing."""
    return [values[start : start + most] for start in range(0, max(1, len(values)), most)]
