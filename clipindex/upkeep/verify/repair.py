"""Repairing what a verification found wrong, so that the next `reindex` embeds the files again.

No picture is opened. A wrong point keeps its tags, and loses the digest by which it is found, and
its row: its file then counts as one that was never indexed. Files are never touched, so decayed
ones stay as they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clipindex.collection.agreement import row_from_payload
from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.files.identity import point_id
from clipindex.stores.points import POINTS_AT_ONCE, Point, Vector, is_unit
from clipindex.stores.validation import payload_fault, point_fault
from clipindex.stores.verified import write_verified
from clipindex.upkeep.verify.findings import WRONG, Finding, Kind
from clipindex.upkeep.verify.points import path_in, read

DIGEST = "sha256"  # without it a point is not valid, and no search finds it

Kinds = Mapping[uuid.UUID, Kind]


@dataclass(slots=True)
class _Changes:
    """What is to be done, worked out before anything is written."""

    points: dict[uuid.UUID, Point] = field(default_factory=dict)  # to be written
    deletions: set[uuid.UUID] = field(default_factory=set)
    learned: list[Point] = field(default_factory=list)  # sound points that lack their row
    forgotten: set[bytes] = field(default_factory=set)  # paths of rows to delete
    repaired: int = 0


def repair(place: Place, findings: Iterable[Finding]) -> int:
    """Prepare wrong points and rows for the next `reindex`; returns how many.

    Everything is read once more, under the lock: a run may have repaired it meanwhile.
    """
    kinds = {uuid.UUID(f.id): f.kind for f in findings if f.kind in WRONG and f.id}
    if not kinds:
        return 0
    with open_for_change(place, "verify") as collection:
        changes = _changes(collection, kinds)
        writes = list(changes.points.values())
        for start in range(0, len(writes), POINTS_AT_ONCE):
            write_verified(collection.points, writes[start : start + POINTS_AT_ONCE])
        if stray := list(changes.deletions - changes.points.keys()):
            collection.points.delete(stray)
            collection.points.flush()
        learned = [row_from_payload(point.payload) for point in changes.learned]
        collection.catalogue.write(learned, changes.forgotten)
    return changes.repaired


def _changes(collection: Collection, kinds: Kinds) -> _Changes:
    source, dimension = collection.source, collection.contract.dimension
    stored = read(collection.points, list(kinds))
    own_ids = {name: _own_id(point) for name, point in stored.items()}
    others = read(collection.points, [own for own in own_ids.values() if own not in stored])
    sound = {name for name, point in others.items() if point_fault(point, dimension) is None}
    owners = {point_id(source, row.path): row.path for row in collection.catalogue.rows()}
    changes = _Changes()
    for name, kind in kinds.items():
        owner, point = owners.get(name), stored.get(name)
        if point is not None and point_fault(point, dimension) is None:
            if kind is Kind.POINT:
                continue  # repaired meanwhile
            if kind is Kind.CATALOGUE:
                changes.learned.append(point)
            else:
                changes.points[name] = _void(point, name)
        elif point is not None and payload_fault(point.payload) is None:
            own = own_ids[name]
            if own != name:
                changes.deletions.add(name)
            if own not in sound:
                changes.points[own] = _void(point, own)
                changes.forgotten.add(path_in(point.payload))
        if (owner is not None and kind is not Kind.CATALOGUE) or point is None:
            changes.forgotten.update([owner] if owner is not None else [])
        # A lost point's row may be gone already: opening the collection compares their numbers.
        changes.repaired += owner is not None or point is not None or kind is Kind.CATALOGUE
    return changes


def _own_id(point: Point) -> uuid.UUID:
    """The id that a point's payload says it has."""
    return point_id(str(point.payload.get("source")), path_in(point.payload))


def _void(point: Point, name: uuid.UUID) -> Point:
    """The point under its right id, with all that its payload says, and not found any more."""
    payload = {field: value for field, value in point.payload.items() if field != DIGEST}
    return Point(name, point.vector if is_unit(point.vector) else _any_unit(point.vector), payload)


def _any_unit(vector: Vector) -> Vector:
    unit = np.zeros(len(vector), np.float32)
    unit[0] = 1.0
    return unit
