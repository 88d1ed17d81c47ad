"""Places that hold collections. Two promises every store keeps: what it acknowledged is
durable (or applied, on a server), and what it returns is what was put in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clipindex.errors import VerificationFailed
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload

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
    """Whether a vector is finite and of length 1 (within 1e-3): the engine checks nothing."""
    norm = float(np.linalg.norm(vector))
    return bool(np.isfinite(norm)) and abs(norm - 1) < 1e-3


def check_unit_vectors(points: Sequence[Point], dimension: int) -> None:
    """Raises VerificationFailed for the first vector that is not `dimension` finite numbers of
    length 1: the embedded engine would store it without a word."""
    for point in points:
        if point.vector.shape != (dimension,) or not is_unit(point.vector):
            raise VerificationFailed(
                f"the vector of {point.payload.get('path')} is not a unit vector of "
                f"{dimension} numbers; nothing of its batch was written"
            )


class Points(Protocol):
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

    def bulk_load(self, points: int) -> AbstractContextManager[None]:
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
