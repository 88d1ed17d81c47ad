"""Which points a query or a scroll wants, for either engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

Conditions = dict[str, list[dict[str, Any]]]  # of a filter, as Qdrant's REST API spells them


@dataclass(frozen=True, slots=True)
class Filter:
    """Exact matches on payload fields; a list field matches when it holds the value."""

    equals: tuple[tuple[str, str], ...] = ()
    differs: tuple[tuple[str, str], ...] = ()  # none of these: a field that is absent differs
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

    def conditions(self) -> Conditions | None:
        """This filter as Qdrant spells it, None where it lets everything through: the one
        translation from which each engine's own classes are made."""
        if self == Filter():
            return None
        must = [{"key": field, "match": {"value": value}} for field, value in self.equals]
        must_not = [{"key": field, "match": {"value": value}} for field, value in self.differs]
        several = [{"key": field, "match": {"any": list(each)}} for field, each in self.among]
        none_of = [{"key": field, "match": {"any": list(each)}} for field, each in self.outside]
        return {"must": [*must, *several], "must_not": [*must_not, *none_of]}
