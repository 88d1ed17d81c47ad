"""The points of one open collection, on either engine.

Every engine keeps two promises: what it acknowledged is durable (on a server: applied), and what
it returns is what was written.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from clipindex.errors import VerificationFailed
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind
from clipindex.stores.payload import Payload
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod

POINTS_AT_ONCE = 250  # of one request: an engine's write-ahead record stays small

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


def is_unit(vector: Vector) -> bool:
    """Whether a vector is finite and of length 1, within 1e-3."""
    norm = float(np.linalg.norm(vector))
    return bool(np.isfinite(norm)) and abs(norm - 1) < 1e-3


def check_unit_vectors(batch: Sequence[Point], dimension: int) -> None:
    """Raises VerificationFailed for the first vector that is not `dimension` finite numbers of
    length 1: the embedded engine would store it silently."""
    for point in batch:
        if point.vector.shape != (dimension,) or not is_unit(point.vector):
            raise VerificationFailed(
                f"the vector of {point.payload.get('path')} is not a unit vector of "
                f"{dimension} numbers; nothing of its batch was written"
            )


Reading = Callable[[Sequence[uuid.UUID]], dict[uuid.UUID, Point]]  # as `Points.retrieve`


class ReadablePoints(Protocol):
    """The points of one collection, for reading. Errors of the engine are raised as StoreError
    and its kin."""

    location: str

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The existing points among `ids`, with vectors and payloads."""
        ...

    def search_method(self, accuracy: Accuracy, only: Filter = Filter()) -> SearchMethod:
        """How this collection is searched with a filter. Warns where an exact search is wanted
        and forbidden."""
        ...

    def search(
        self,
        vector: Vector,
        *,
        limit: int,
        only: Filter = Filter(),
        method: SearchMethod = EXACT,
    ) -> list[ScoredContent]:
        """The nearest different contents by cosine, best first; copies count as one. `method` is
        what `search_method` returned."""
        ...

    def scroll(
        self, only: Filter = Filter(), start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of all points that match the filter, by id, beginning at `start`."""
        ...

    def count(self, only: Filter = Filter()) -> int:
        """The exact number of points that match the filter; on a server it may cost a request
        for every page of them."""
        ...

    def labels(self) -> dict[str, Kind]:
        """The payload fields that people made (`tag_KEY`, `meta_KEY`), and what they contain."""
        ...

    def values(self, field: str) -> dict[Value, int]:
        """The values of a field, with how many points have each; of a list, each of its values
        counts."""
        ...

    def estimate(self) -> int:
        """About how many points there are, at little cost: what was written or deleted a moment
        ago may not be counted yet. Exact in an embedded store."""
        ...


class Points(ReadablePoints, Protocol):
    """The points of one open collection, for reading and writing."""

    doubt: str  # what to suspect when a point read back differs twice

    def turn(self) -> AbstractContextManager[object]:
        """Held by one thread of this process at a time: by the writer for a whole batch, from
        its first point to its verification, and by whoever reads meanwhile."""
        ...

    def upsert(self, batch: Sequence[Point]) -> None:
        """Write points, replacing those with the same ids. Raises VerificationFailed for a
        vector that is not a unit vector; nothing is written then."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable."""
        ...

    def readings(self) -> Iterator[Reading]:
        """Ways to read points back, from the usual one to the last resort; a pause lies between
        them. On a server a replica may be behind for a moment."""
        ...

    def same(self, written: Point, stored: Point) -> bool:
        """Whether a point read back equals the point that was written, as exactly as this
        engine keeps it."""
        ...

    def bulk_load(self, count: int) -> AbstractContextManager[None]:
        """Context of a run that writes about `count` points, so that the engine can load them
        faster."""
        ...

    def index_field(self, name: str, kind: str = "keyword") -> None:
        """Create an index on a payload field; does nothing where one exists. `kind` as Qdrant
        names it; an embedded store makes those of keywords alone."""
        ...

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points; unknown ids are ignored."""
        ...

    def close(self) -> None:
        """Release the collection."""
        ...


@runtime_checkable
class PagedPoints(Points, Protocol):
    """Points of an engine in this process. A page does not depend on the one before: other
    processes can be handed one at a time."""

    def scroll_page(
        self, only: Filter, after: uuid.UUID | None
    ) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
        """One page of a scroll, and where the next one begins; None: there is no next one."""
        ...
