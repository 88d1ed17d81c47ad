"""Reading the points back: every vector, payload and id by itself, and beside the catalogue."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.collection.contract import StoredContract
from clipindex.collection.place import Place
from clipindex.files.durable import may_write
from clipindex.files.identity import display_path, path_from_payload, point_id
from clipindex.stores.payload import Payload
from clipindex.stores.points import POINTS_AT_ONCE, Point, ReadablePoints
from clipindex.stores.validation import healed_payload, point_fault
from clipindex.upkeep.verify.findings import Finding, Kind, Sample, finding
from clipindex.upkeep.verify.remembered import Remembered, row_fault
from clipindex.upkeep.verify.resume import Position

Opening = Callable[[], AbstractContextManager[ReadablePoints]]

SURVEYED_AT_ONCE = 10_000  # points of one opening: 0.3 s
NO_POINT = "the catalogue remembers it, and its point is gone"


@contextmanager
def reader(place: Place, stored: StoredContract, purpose: str = "verify") -> Iterator[Opening]:
    """Opens the points again and again, so that whoever waits for the lock gets it in between. A
    collection that may only be read is opened once: each time would copy it, and none can write.
    """

    def opened() -> AbstractContextManager[ReadablePoints]:
        return place.open_for_reading(stored, purpose)

    if may_write(place.folder):
        yield opened
        return
    with opened() as points:
        yield lambda: nullcontext(points)


@dataclass(slots=True)
class Survey:
    """What there is to check."""

    positions: list[Position]  # of the sample's points, in order
    without_point: list[bytes]  # paths of rows
    miscounted: str  # how the engine disagrees with itself


def survey(opened: Opening, rows: Remembered, source: str, sample: Sample) -> Survey:
    """The ids of all points, and the rows that have none. Rows are read first: a point is there
    before its row. Many points take several openings, and a run may write in between."""
    expected = [(path, point_id(source, path)) for path in rows.indexed()]
    positions: list[Position] = []
    ids: set[uuid.UUID] = set()
    last: uuid.UUID | None = None
    miscounted = ""
    while True:
        with opened() as points:
            before = points.count()
            page = list(islice(points.scroll(start=last), SURVEYED_AT_ONCE))
            if len(page) < SURVEYED_AT_ONCE and last is None and before != len(page):
                after = points.count()
                if after == before:
                    miscounted = f"the engine counts {after:,} points and lists {len(page):,}"
        new = [(path_in(payload), point) for point, payload in page if point not in ids]
        ids.update(point for _, point in new)
        positions += (position for position in new if sample.takes(position[1]))
        if not new or len(page) < SURVEYED_AT_ONCE:
            break
        last = page[-1][0]
    return Survey(
        positions=sorted(positions),
        without_point=[p for p, point in expected if point not in ids and sample.takes(point)],
        miscounted=miscounted,
    )


def read(points: ReadablePoints, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
    """Points with vectors and payloads, healed."""
    found: dict[uuid.UUID, Point] = {}
    for start in range(0, len(ids), POINTS_AT_ONCE):
        batch = points.retrieve(ids[start : start + POINTS_AT_ONCE])
        found |= {name: _healed(point) for name, point in batch.items()}
    return found


def _healed(point: Point) -> Point:
    """As `validation.healed`, without a copy of the many points that need none."""
    payload = healed_payload(point.payload)
    return point if payload is point.payload else Point(point.id, point.vector, payload)


def check(point: Point, dimension: int, rows: Remembered) -> Finding | None:
    """What is wrong with a point by itself; its row is compared apart."""
    fault = point_fault(point, dimension)
    if fault is None:
        return None
    path, owner = path_in(point.payload), rows.path_of(point.id)
    if owner is not None and owner != path:
        fault += f" (its payload says {display_path(path) or 'nothing'})"
        path = owner
    return finding(Kind.POINT, display_path(path), point.id, fault)


def check_row(point: Point, row: Row | None) -> Finding | None:
    """What is wrong with the row of a valid point."""
    fault = row_fault(row, point.payload)
    path = display_path(path_from_payload(point.payload))
    return finding(Kind.CATALOGUE, path, point.id, fault) if fault else None


def check_pointless(
    points: ReadablePoints, paths: Sequence[bytes], rows: Remembered, source: str
) -> list[Finding]:
    """The paths whose row has no point, looked at once more: a run may have moved a file."""
    ids = {point_id(source, path): path for path in paths}
    existing = read(points, list(ids))
    missing = ((point, path) for point, path in ids.items() if point not in existing)
    return [
        finding(Kind.CATALOGUE, display_path(path), point, NO_POINT)
        for point, path in missing
        if (row := rows.get(path)) is not None and row.state == INDEXED
    ]


def path_in(payload: Payload) -> bytes:
    """The path that a payload says, which may be damaged; empty where it says none."""
    try:
        return path_from_payload(payload)
    except (KeyError, ValueError):
        return b""
