"""Points and catalogue agree: checked when a run begins, and put right where they do not.

A collection can lose points while nobody looks: a server's shard dies, an older snapshot or
backup is restored. Each run therefore ends with a note of how many points its source has, and of
the points that were written last; the next run begins by comparing both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.files.access import exists
from clipindex.files.identity import path_from_payload, point_id
from clipindex.stores.described import version_read
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload, mtime_of, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.validation import healed_payload, payload_fault

if TYPE_CHECKING:
    from clipindex.collection.opening import Collection


@dataclass(frozen=True, slots=True)
class Loss:
    """How many of the `remembered` pictures have no point any more, although their file is still
    there. A picture whose file was deleted or moved, by whatever run, is no loss."""

    pictures: int
    remembered: int


NO_LOSS = Loss(0, 0)


@dataclass(frozen=True, slots=True)
class PointCount:
    """How many points a collection has, about, how many of them are of the run's own source, and
    how many of these there should be at least."""

    total: int
    own: int
    expected: int


def begin_run(collection: Collection) -> tuple[int, Loss]:
    """Note that a run begins, and make the catalogue agree with the points where they may differ:
    the run before did not finish, or points are gone. Returns the run's number and the loss."""
    number, finished_before = collection.catalogue.begin_run(_now(), collection.purpose)
    if finished_before and _are_all_there(collection):
        return number, NO_LOSS
    return number, reconcile(collection)


def end_run(
    collection: Collection, number: int, count: PointCount, summary: dict[str, object] | None = None
) -> None:
    """Note that a run ended with so many points. `summary` is None for a change that is not an
    ingest, such as tags."""
    collection.catalogue.finish_run(number, _now(), summary, points=count.own)


def count_points(collection: Collection, expected: int = 0) -> PointCount:
    """Count the points. The source's own are counted apart, and exactly, only where there are not
    as many points in all as the catalogue accounts for, or as are `expected`: there are others'
    points, or old ones of files gone bad, or points are gone."""
    total = collection.points.estimate()
    remembered = collection.catalogue.counts().get(INDEXED, 0)
    expected = max(expected, remembered)
    own = total if total == expected else collection.points.count(_of_source(collection))
    return PointCount(total, own, expected)


def _are_all_there(collection: Collection) -> bool:
    """Whether the source has as many points as when the last run ended, and those written last.

    The number alone would not do: what other runs of the same source add meanwhile hides a loss,
    and a renamed picture's old point, back from a snapshot, makes up for the new one.
    """
    catalogue, source = collection.catalogue, collection.source
    count = count_points(collection, catalogue.noted_points() or 0)
    if count.own < count.expected:
        return False
    newest = {point_id(source, row.path): row for row in catalogue.newest()}
    stored = collection.points.retrieve(list(newest)) if newest else {}
    return all(
        name in stored and stored[name].payload.get("sha256") == (row.sha256 or b"").hex()
        for name, row in newest.items()
    )


def reconcile(collection: Collection) -> Loss:
    """Make the catalogue agree with the points: after an interruption, or when one is new or was
    lost. The rows of files without a point are deleted, so that the files are read again.

    Flushes first: the run before may have been killed between a write and its flush. What is
    believed here must survive a power cut.
    """
    catalogue = collection.catalogue
    collection.points.flush()
    unfinished = _finish_moves(collection)
    remembered = {row.path: row for row in catalogue.rows()}
    learned: list[Row] = []
    with_point: set[bytes] = set()
    for _, payload in collection.points.scroll(_of_source(collection)):
        if payload_fault(healed_payload(payload)) is not None:
            continue  # its file is read again, and its point written anew
        row = row_from_payload(payload)
        with_point.add(row.path)
        known = remembered.get(row.path)
        if known is None and row.path in unfinished:
            continue  # its file is read again, and the move done once more
        if known is None or (known.state == INDEXED and known.sha256 != row.sha256):
            learned.append(row)
    indexed = [path for path, row in remembered.items() if row.state == INDEXED]
    gone = [path for path in indexed if path not in with_point]
    catalogue.write(learned, gone)
    catalogue.forget_moves()
    return Loss(sum(map(exists, gone)), len(indexed))


def _of_source(collection: Collection) -> Filter:
    return Filter(equals=(("source", collection.source),))


def _finish_moves(collection: Collection) -> set[bytes]:
    """Finish the moves that were interrupted after their new point was written. Returns the new
    paths of the others."""
    unfinished: set[bytes] = set()
    catalogue, points, source = collection.catalogue, collection.points, collection.source
    begun = iter(catalogue.begun_moves().items())
    while moves := list(islice(begun, POINTS_AT_ONCE // 2)):
        stored = points.retrieve([point_id(source, path) for pair in moves for path in pair])
        rows: dict[bytes, Row] = {}
        for old, new in moves:
            before, after = stored.get(point_id(source, old)), stored.get(point_id(source, new))
            if (
                after is not None
                and payload_fault(healed_payload(after.payload)) is None
                and (before is None or _took_over(points, before, after))
            ):
                rows[old] = row_from_payload(after.payload)
            else:
                unfinished.add(new)
        points.delete([point_id(source, old) for old in rows])
        points.flush()
        catalogue.write(rows.values(), rows)
    return unfinished


def _took_over(points: Points, before: Point, after: Point) -> bool:
    """Whether the point at the new path holds all that the old one does: vector and tags."""
    tags = tags_of(before.payload).keys() <= tags_of(after.payload).keys()
    return tags and points.same(replace(after, vector=before.vector), after)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def row_from_payload(payload: Payload) -> Row:
    """The catalogue's row of an indexed file; the change time is learned at the next stat."""
    return Row(
        path=path_from_payload(payload),
        size=int(str(payload["bytes"])),
        mtime_ns=mtime_of(payload),
        ctime_ns=None,
        sha256=bytes.fromhex(str(payload["sha256"])),
        state=INDEXED,
        described=version_read(payload),
    )
