"""Verified writes: upsert, flush, read back, compare. All points are written through here."""

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


def write_verified(points: Points, batch: Sequence[Point]) -> None:
    """Upsert a batch, make it durable, read it back and compare.

    Raises VerificationFailed when a point is missing or differs.
    """
    with points.turn():
        points.upsert(batch)
        points.flush()
        verify(points, batch)


def verify(points: Points, batch: Sequence[Point]) -> None:
    """Read a batch back and compare vectors and payloads, as exactly as the engine keeps them.

    Raises VerificationFailed when a point is missing or differs.
    """
    wrong = batch
    for read in points.readings():
        stored = read([point.id for point in wrong])
        wrong = [
            point
            for point in wrong
            if point.id not in stored or not points.same(point, stored[point.id])
        ]
        if not wrong:
            return
    fault = "differs" if wrong[0].id in stored else "is missing"
    raise VerificationFailed(
        f"a point read back from the store {fault}: {wrong[0].payload.get('path')}",
        path=points.location,
        hint=f"run the same command again; if it happens twice, {points.doubt}",
    )
