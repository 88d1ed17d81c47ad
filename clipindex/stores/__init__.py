"""Places that hold collections. Two promises every store keeps: what it acknowledged is
durable (or applied, on a server), and what it returns is what was put in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from clipindex.payload import Payload

Vector = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [dimension], length 1


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A file in a collection: id, unit vector, payload."""

    id: uuid.UUID
    vector: Vector
    payload: Payload


@dataclass(frozen=True, slots=True)
class ScoredContent:
    """A content found by a search: the hexadecimal SHA-256 that its copies share, and their
    cosine to the query as the engine computed it."""

    sha256: str
    score: float


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


def is_unit(vector: Vector) -> bool:
    """Whether a vector is finite and of length 1 (within 1e-3): the engine checks nothing."""
    norm = float(np.linalg.norm(vector))
    return bool(np.isfinite(norm)) and abs(norm - 1) < 1e-3


class Store(Protocol):
    """One open collection. Errors of the engine arrive as StoreError and its kin."""

    location: str

    def upsert(self, points: Sequence[Point]) -> None:
        """Put points in, replacing those with the same ids; refuses vectors that are not unit."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable."""
        ...

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The points that are there among `ids`, with vectors and payloads."""
        ...

    def same(self, mine: Point, theirs: Point) -> bool:
        """Whether a point read back is the point that was written."""
        ...

    def loading(self, points: int) -> AbstractContextManager[None]:
        """Held around a run that writes about so many points, to have them in sooner."""
        ...

    def search(self, vector: Vector, *, limit: int, only: Filter = Filter()) -> list[ScoredContent]:
        """The nearest different contents by cosine, best first; copies count as one."""
        ...

    def scroll(self, only: Filter = Filter()) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of every point that the filter lets through."""
        ...

    def index_field(self, name: str) -> None:
        """Make exact matches on a payload field fast; asking again does not matter."""
        ...

    def count(self) -> int:
        """How many points there are."""
        ...

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Take points out; unknown ids do not matter."""
        ...

    def close(self) -> None:
        """Release the collection."""
        ...
