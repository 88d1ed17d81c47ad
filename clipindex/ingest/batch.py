"""A batch of pictures: looked up, written, verified, and only then noted in the catalogue.

The order of `BatchWriter.write` is the promise of the whole program: upsert, flush, read back and
compare, delete the points that moved away, write the rows. What is reported comes after.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.collection.opening import Collection
from clipindex.files.identity import path_from_payload, point_id
from clipindex.ingest.describing import index_described
from clipindex.ingest.events import Status
from clipindex.ingest.labels import Label
from clipindex.ingest.outcomes import Embedded, Known, Written
from clipindex.ingest.scope import Scope
from clipindex.pictures.preprocessing import Way
from clipindex.stores.described import VERSION, described, kept_fields
from clipindex.stores.payload import (
    DECODED,
    Payload,
    facts_from_payload,
    make_payload,
    tags_of,
)
from clipindex.stores.points import Point, Points
from clipindex.stores.validation import healed, point_fault
from clipindex.stores.verified import BatchVerified, write_verified
from clipindex.upkeep.metadata import Joiner

# Points asked for the vector of a known content. The first nearly always has it; the others are
# for a point that another machine replaced. With them a batch of 25 is still one request of 250.
COPIES_ASKED = 4

# What a standing question is asked of; a moved picture took its tags along.
TO_BE_ASKED = (Status.NEW, Status.CHANGED, Status.DUPLICATE)

Stored = Mapping[uuid.UUID, Point]


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of the batch and its label; `copies` are points that may have its content."""

    outcome: Embedded | Known
    label: Label
    copies: tuple[uuid.UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A picture with its embedding, ready to be written."""

    picture: Embedded
    label: Label


class PointWriter:
    """Makes points of pictures, writes and verifies them. It knows no catalogue: whoever has none
    writes through here as well."""

    def __init__(
        self,
        points: Points,
        source: str,
        dimension: int,
        scope: Scope,
        joiner: Joiner,
        in_full: Set[bytes],
    ) -> None:
        """`in_full`: digests of contents whose vectors are not to be those of their previews."""
        self._in_full = in_full
        self._joiner = joiner
        self._points = points
        self._source = source
        self._dimension = dimension
        self._scope = scope

    def entry(
        self, outcome: Embedded | Known, label: Label, copies: Sequence[uuid.UUID] = ()
    ) -> Entry:
        """An entry. `copies` are some of the points with its content."""
        own = [outcome.record.path]
        if label.moved_from is not None:
            own.append(label.moved_from)
        return Entry(outcome, label, (*map(self.point_id, own), *copies))

    def point_id(self, path: bytes) -> uuid.UUID:
        """The id of a file's point."""
        return point_id(self._source, path)

    def look_up(self, entries: Sequence[Entry]) -> Stored:
        """The points that the entries replace, move away from, or share their content with.

        One request for the whole batch, also for new paths: on a server the catalogue of this
        machine does not know what another one has indexed, and tags outlive any rewrite.
        """
        ids = dict.fromkeys(copy for entry in entries for copy in entry.copies)
        return self._points.retrieve(list(ids))

    def embedding_of(self, entry: Entry, stored: Stored) -> Embedded | None:
        """A known content with the vector and facts of one of its points; None without any that
        is sound, so that the picture is embedded again."""
        outcome = entry.outcome
        for copy in entry.copies:
            point = stored.get(copy)
            if (
                point is not None
                and point.payload.get("sha256") == outcome.sha256.hex()
                and not self._is_stale(point, outcome.sha256)
                and point_fault(healed(point), self._dimension) is None
            ):
                return Embedded(
                    record=outcome.record,
                    sha256=outcome.sha256,
                    facts=facts_from_payload(point.payload),
                    vector=point.vector,
                    said=outcome.said,
                )
        return None

    def _is_stale(self, point: Point, sha256: bytes) -> bool:
        return sha256 in self._in_full and point.payload.get(DECODED) == Way.PREVIEW

    def write_points(self, batch: Sequence[Ready], stored: Stored) -> list[Point]:
        """Make the points durable and verify them; returns those that were written. A point that
        is stored as it should be is not: the file's change time alone was new.

        Raises VerificationFailed, StoreError or DiskFull.
        """
        points = [
            point
            for ready in batch
            if not self._is_stored(point := self._point(ready, stored), stored)
        ]
        for point in points:
            index_described(self._points, point.payload)
        if points:
            write_verified(self._points, points)
        return points

    def _is_stored(self, point: Point, stored: Stored) -> bool:
        """Whether a point was read as it would be written, but for the time of indexing."""
        before = stored.get(point.id)
        if before is None:
            return False
        payload = {**point.payload, "indexed_at": before.payload.get("indexed_at")}
        return self._points.same(Point(point.id, point.vector, payload), before)

    def _point(self, ready: Ready, stored: Stored) -> Point:
        """The point of a picture. It keeps the tags and metadata of the point at its path, and
        takes those of the point that it moves away from which it lacks. What file and sidecars
        say is as they say it now."""
        picture, label = ready.picture, ready.label
        own_id = self.point_id(picture.record.path)
        before = [own_id]
        if label.moved_from is not None:
            before.insert(0, self.point_id(label.moved_from))
        kept: dict[str, str] = {}
        joined: Payload = {}
        for point in filter(None, map(stored.get, before)):
            kept.update(tags_of(point.payload))
            joined.update(kept_fields(point.payload))
        given = self._scope.tags_for(picture.record.path)
        tags = {**kept, **given} if self._scope.retag else {**given, **kept}
        payload = make_payload(self._source, picture.record, picture.sha256, picture.facts, tags)
        said = picture.said
        payload = described({**payload, **joined}, file=said.file, sidecar=said.sidecar)
        return Point(own_id, picture.vector, self._joiner.payload(payload))


class BatchWriter(PointWriter):
    """Writes batches to a collection's points and catalogue."""

    def __init__(
        self, collection: Collection, scope: Scope, joiner: Joiner, in_full: Set[bytes]
    ) -> None:
        dimension = collection.contract.dimension
        super().__init__(collection.points, collection.source, dimension, scope, joiner, in_full)
        self._catalogue = collection.catalogue

    def write(self, batch: Sequence[Ready], stored: Stored) -> BatchVerified:
        """Make the points durable and verify them, delete those that moved away, write the rows.

        Raises VerificationFailed, StoreError or DiskFull; then no row was written.
        """
        moves = {
            ready.label.moved_from: ready.picture.record.path
            for ready in batch
            if ready.label.moved_from is not None
        }
        self._catalogue.begin_moves(moves)
        points = self.write_points(batch, stored)
        if moves:  # the one deletion that an ingest makes by itself
            self._points.delete(list(map(self.point_id, moves)))
            self._points.flush()
        paths = {path_from_payload(point.payload) for point in points}
        pictures = [
            (Written.of(ready.picture, is_written=ready.picture.record.path in paths), ready.label)
            for ready in batch
        ]
        return self.note(pictures, moves)

    def note(
        self, pictures: Sequence[tuple[Written, Label]], moved: Iterable[bytes] = ()
    ) -> BatchVerified:
        """Write the rows of pictures whose points are verified, and delete those of old paths."""
        newest = [picture.record.path for picture, _ in pictures if picture.is_written]
        rows = [_row(picture) for picture, _ in pictures]
        new = [picture.record.path for picture, label in pictures if label.status in TO_BE_ASKED]
        done = {"done": len(rows), "written": len(newest)}
        self._catalogue.write(rows, moved, newest, new=new, done=done)
        return BatchVerified(len(newest), tuple(str(self.point_id(path)) for path in newest))


def _row(picture: Written) -> Row:
    record = picture.record
    return Row(
        path=record.path,
        size=record.size,
        mtime_ns=record.mtime_ns,
        ctime_ns=record.ctime_ns,
        sha256=picture.sha256,
        state=INDEXED,
        described=VERSION,
        sidecars=picture.stamp,
    )
