"""Copying a collection: into a folder of plain files and back, or from store to store.

Every transfer can be repeated: what exists already, and is equal, is not written again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from clipindex.collection.agreement import reconcile
from clipindex.collection.contract import StoredContract
from clipindex.collection.opening import Collection, open_for_import
from clipindex.collection.place import Located, Place
from clipindex.collection.questions import Standing
from clipindex.collection.status import open_catalogue, remembered_roots
from clipindex.collection.verdicts import Verdicts
from clipindex.errors import UsageError, VerificationFailed
from clipindex.files.identity import path_from_payload, point_id
from clipindex.stores.labels import is_label, label_index
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points, ReadablePoints
from clipindex.stores.validation import healed, point_fault
from clipindex.stores.verified import write_verified
from clipindex.upkeep.export_files import prepare_folder, write_manifest, write_pair
from clipindex.upkeep.export_reading import (
    POINTS_PER_FILE,
    Accepted,
    FilePair,
    Manifest,
    read_manifest,
    read_points,
)

Progress = Callable[[int, int], object]  # called with the points done, and with their total


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A collection on its way into another: contract, source, remembered roots, points."""

    contract: StoredContract
    source: str
    roots: dict[bytes, dict[str, Any]]
    accepted: Sequence[Accepted]
    verdicts: Verdicts
    standing: Standing
    count: int
    is_complete: bool  # `count` is exact; a collection that is read may be written meanwhile
    batches: Iterable[Sequence[Point]]


def no_progress(_done: int, _total: int) -> None:
    """Default progress callback: does nothing."""


def export(place: Place, folder: Path, progress: Progress = no_progress) -> int:
    """Write a collection into a folder; returns the number of its points.

    Raises UsageError where the folder contains another collection's export, VerificationFailed
    for a damaged point: no checksum ever vouches for one.
    """
    located = place.locate()
    place = located.place
    stored = located.require()
    prepare_folder(folder, (place.name, place.collection))
    with place.open_for_reading(stored, "export") as points:
        return write_export(points, place, stored, folder, progress)


def write_export(
    points: ReadablePoints, place: Place, stored: StoredContract, folder: Path, progress: Progress
) -> int:
    """Write a collection that is open into a folder that is prepared; returns the number of its
    points."""
    files: list[FilePair] = []
    written = 0
    total = points.count()
    for batch in _all_points(points, stored, POINTS_PER_FILE):
        files.append(write_pair(folder, len(files), batch))
        written += len(batch)
        progress(written, max(written, total))
    located = Located(place, stored)
    manifest = Manifest(
        origin=(place.name, place.collection),
        contract=stored,
        source=place.source,
        roots=remembered_roots(located),
        accepted=_accepted(located),
        verdicts=_verdicts(located),
        standing=_standing(located),
        points=written,
        files=tuple(files),
    )
    write_manifest(folder, manifest)
    return written


def import_(folder: Path, place: Place, progress: Progress = no_progress) -> int:
    """Bring an export into a collection; returns how many points were written.

    Everything is read and checked once before the first point is written. Raises StoreError where
    the export is incomplete or invalid, VerificationFailed where a file is damaged,
    ContractMismatch where the collection was created with another model.
    """
    manifest = read_manifest(folder)
    for _ in read_points(folder, manifest):
        pass
    transfer = Transfer(
        contract=manifest.contract,
        source=manifest.source,
        roots=manifest.roots,
        accepted=manifest.accepted,
        verdicts=manifest.verdicts,
        standing=manifest.standing,
        count=manifest.points,
        is_complete=True,
        batches=read_points(folder, manifest),
    )
    return _receive(transfer, place, progress)


def copy(origin: Place, target: Place, progress: Progress = no_progress) -> int:
    """Bring one collection into another directly; returns how many points were written.

    Raises UsageError where both are the same, VerificationFailed for a damaged point.
    """
    located = origin.locate()
    origin = located.place
    target = target.locate(for_writing=True).place
    if origin.folder.resolve() == target.folder.resolve():  # whatever links lead to them
        raise UsageError("a collection cannot be copied onto itself", path=origin.name)
    stored = located.require()
    roots = remembered_roots(located)
    with origin.open_for_reading(stored, "export") as points:
        transfer = Transfer(
            contract=stored,
            source=origin.source,
            roots=roots,
            accepted=_accepted(located),
            verdicts=_verdicts(located),
            standing=_standing(located),
            count=points.count(),
            is_complete=False,
            batches=_all_points(points, stored, POINTS_AT_ONCE),
        )
        return _receive(transfer, target, progress)


def _receive(transfer: Transfer, place: Place, progress: Progress) -> int:
    """Compare every point, write those that are missing or differ, verified; then the rows."""
    written = 0
    received = 0
    indexed: set[str] = set()
    with open_for_import(place, transfer.contract) as collection:
        points = collection.points
        with points.bulk_load(transfer.count):
            for arrived in transfer.batches:
                batch = [_adopt(point, transfer.source, place.source) for point in arrived]
                _index_tags(points, batch, indexed)
                missing = _missing(points, batch)
                if missing:
                    write_verified(points, missing)
                written += len(missing)
                received += len(batch)
                progress(received, max(received, transfer.count))
        _check_counts(points, transfer.count if transfer.is_complete else received, received)
        _remember(collection, transfer)
    return written


def _index_tags(points: Points, batch: Sequence[Point], indexed: set[str]) -> None:
    """Index the tags and metadata of a batch; `indexed` collects those that were indexed."""
    fields = {name: value for point in batch for name, value in point.payload.items()}
    for name in fields.keys() - indexed:
        if is_label(name):
            points.index_field(name, label_index(name, fields[name]))
            indexed.add(name)


def _missing(points: Points, batch: Sequence[Point]) -> list[Point]:
    """The points of a batch that the collection lacks or has otherwise."""
    existing = points.retrieve([point.id for point in batch])
    return [
        point
        for point in batch
        if point.id not in existing or not points.same(point, existing[point.id])
    ]


def _check_counts(points: Points, expected: int, received: int) -> None:
    count = points.count()
    if received != expected or count < received:
        raise VerificationFailed(
            f"{expected} points were expected, {received} arrived, {count} are in the collection",
            path=points.location,
            hint="run the same command again, with no other run writing meanwhile",
        )


def _accepted(located: Located) -> tuple[Accepted, ...]:
    """The files in quarantine that a person has accepted."""
    with open_catalogue(located) as catalogue:
        marks = {} if catalogue is None else catalogue.refusals()
    return tuple((path, mark.size, mark.mtime_ns) for path, mark in marks.items() if mark.accepted)


def _verdicts(located: Located) -> Verdicts:
    """What people decided about duplicates."""
    with open_catalogue(located) as catalogue:
        return Verdicts() if catalogue is None else catalogue.verdicts()


def _standing(located: Located) -> Standing:
    """The standing questions with what they found."""
    with open_catalogue(located) as catalogue:
        return () if catalogue is None else catalogue.standing()


def _remember(collection: Collection, transfer: Transfer) -> None:
    reconcile(collection)
    for path, options in transfer.roots.items():
        collection.catalogue.remember_root(path, options)
    if transfer.accepted:
        collection.catalogue.accept(transfer.accepted)
    collection.catalogue.add_verdicts(transfer.verdicts)
    collection.catalogue.add_standing(transfer.standing)


def _adopt(point: Point, origin_source: str, target_source: str) -> Point:
    """A point of the origin's own source becomes one of the target's own source, so that the
    next ingest there knows its file. Points of other sources stay as they are."""
    if origin_source == target_source or point.payload.get("source") != origin_source:
        return point
    name = point_id(target_source, path_from_payload(point.payload))
    return Point(name, point.vector, {**point.payload, "source": target_source})


def _all_points(points: ReadablePoints, stored: StoredContract, size: int) -> Iterator[list[Point]]:
    """All points, `size` at a time, checked; also while a run writes.

    A moved picture has a new point before it loses the old one. So that no picture is missed, a
    second look takes what is new since the first, and a further one follows each look in which
    points were gone before they could be read.
    """
    seen: set[uuid.UUID] = set()
    for look in count():
        gone = 0
        unseen = (name for name, _ in points.scroll() if name not in seen)
        while names := list(islice(unseen, size)):
            seen.update(names)
            batch = _sound_points(points, names, stored)
            gone += len(names) - len(batch)
            if batch:
                yield batch
        if look > 0 and not gone:
            return


def _sound_points(
    points: ReadablePoints, names: Sequence[uuid.UUID], stored: StoredContract
) -> list[Point]:
    """Those points that still exist. Raises VerificationFailed for one that is damaged."""
    read: dict[uuid.UUID, Point] = {}
    for start in range(0, len(names), POINTS_AT_ONCE):
        read |= points.retrieve(names[start : start + POINTS_AT_ONCE])
    batch = [healed(read[name]) for name in names if name in read]
    for point in batch:
        fault = point_fault(point, stored.contract.dimension)
        if fault is not None:
            raise VerificationFailed(
                f"a point of the collection is damaged: {fault}",
                path=str(point.payload.get("path", point.id)),
                hint="touch the picture and ingest it again, which makes its point anew; delete "
                "what another program wrote into the collection",
            )
    return batch
