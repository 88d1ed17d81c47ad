"""Verified writes: upsert, flush, read back, compare. Every point is written through here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipindex.errors import VerificationFailed
from clipindex.stores.points import Point, Points


@dataclass(frozen=True, slots=True)
class BatchVerified:
    """A batch whose points are durable and were read back equal: vector and payload."""

    points: int
    ids: tuple[str, ...]


def write_verified(store: Points, points: Sequence[Point]) -> None:
    """Upsert, make durable, read back and compare: the only way a point is ever written."""
    store.upsert(points)
    store.flush()
    verify(store, points)


def verify(store: Points, points: Sequence[Point]) -> None:
    """Read points back and compare vector and payload, as exactly as the store keeps them.

    Raises VerificationFailed when one is missing or differs.
    """
    found = store.retrieve([point.id for point in points])
    for point in points:
        stored = found.get(point.id)
        if stored is None or not store.same(point, stored):
            what = "is missing" if stored is None else "differs"
            raise VerificationFailed(
                f"a point read back from the store {what}: {point.payload.get('path')}",
                path=store.location,
                hint="run the same command again; if it happens twice, suspect the disk",
            )
