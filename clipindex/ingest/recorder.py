"""The last stations: outcomes become points, in verified batches, and rows in the catalogue.

One writer gives every label, so that counts do not depend on which worker was faster. The
order of each batch is the promise of the whole program: upsert, flush, read back and compare,
delete what moved away, and only then the catalogue and the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.collection.opening import Collection
from clipindex.errors import FileFault
from clipindex.files.access import exists
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path, is_below, point_id
from clipindex.ingest.events import Event, FileDone, Status
from clipindex.ingest.survey import Scope
from clipindex.ingest.workers import ContentClaims, Outcome, settled
from clipindex.pictures.decode import decoders
from clipindex.pictures.exif import PictureFacts
from clipindex.stores.payload import Tags, facts_from_payload, make_payload, tags_of
from clipindex.stores.points import Point, Vector
from clipindex.stores.verified import BatchVerified, write_verified

NOTES_AT_ONCE = 250  # quarantine and skip notes that are written together


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A file on its way into the store."""

    record: FileRecord
    sha256: bytes
    facts: PictureFacts
    status: Status
    point: Point
    moved_from: bytes | None


class Recorder:
    """Takes outcomes, gives events. `tally` counts statuses; `embedded` and `written` points."""

    def __init__(
        self,
        collection: Collection,
        claims: ContentClaims,
        embed_again: Callable[[FileRecord], Outcome],
        batch_size: int,
        scope: Scope,
        whole_roots: Sequence[bytes],
        vanished: Set[bytes],
    ) -> None:
        self._collection = collection
        self._claims = claims
        self._embed_again = embed_again
        self._batch_size = batch_size
        self._scope = scope
        self._whole_roots = whole_roots
        self._vanished = vanished
        self._batch: dict[bytes, _Entry] = {}  # by path
        self._by_content: dict[bytes, _Entry] = {}  # of the batch
        self._waiting: dict[bytes, list[Outcome]] = {}  # copies whose content is being embedded
        self._replaced: set[bytes] = set()  # digests that this run wrote over
        self._moved: set[bytes] = set()  # old paths; each serves once
        self._notes: list[Row] = []
        self.tally: Counter[Status] = Counter()
        self.settled: set[bytes] = set()  # paths that have their status
        self.newly_quarantined = self.unreadable = self.embedded = self.written = 0

    @property
    def moved(self) -> int:
        """How many old paths were recognised under a new one."""
        return len(self._moved)

    def take(self, outcome: Outcome) -> Iterator[Event]:
        """One outcome; writes the batch when it is full."""
        if outcome.fault is not None:
            yield self._set_aside(outcome, outcome.fault)
            self._claims.release(outcome.sha256 or b"")
        elif outcome.embedding is not None and outcome.facts is not None:
            self.embedded += 1
            known = outcome.sha256 in self._replaced
            self._add(outcome, outcome.facts, outcome.embedding, known=known)
        else:
            yield from self._take_known(outcome)
            return
        for waiting in self._waiting.pop(outcome.sha256 or b"", ()):
            yield from self._take_known(waiting)
        if len(self._batch) >= self._batch_size:
            yield from self.write()

    def finish(self) -> Iterator[Event]:
        """Write what is left."""
        yield from self.write()
        self._write_notes()

    def write(self) -> Iterator[Event]:
        """The batch: durable, read back, compared; then reported."""
        entries = list(self._batch.values())
        if not entries:
            return
        points = [entry.point for entry in entries]
        write_verified(self._collection.points, points)
        self._replace_moved(entries)
        self._collection.catalogue.write(map(_row, entries), _moved_paths(entries))
        self._batch.clear()
        self._by_content.clear()
        self.written += len(points)
        for entry in entries:
            self._claims.release(entry.sha256)
            self.tally[entry.status] += 1
            self.settled.add(entry.record.path)
            yield _done(entry.record, entry.status, entry.point)
        yield BatchVerified(len(points), tuple(str(point.id) for point in points))

    def _replace_moved(self, entries: Sequence[_Entry]) -> None:
        """Delete the points of paths that moved away: the one deletion ingest makes by itself."""
        old = _moved_paths(entries)
        if old:
            source, store = self._collection.source, self._collection.points
            store.delete([point_id(source, path) for path in old])
            store.flush()

    def _take_known(self, outcome: Outcome) -> Iterator[Event]:
        """A file whose content was seen before: its embedding, or its quarantine, is shared."""
        assert outcome.sha256 is not None  # only hashed content is ever known
        if entry := self._by_content.get(outcome.sha256):
            self._add(outcome, entry.facts, entry.point.vector, known=True)
        elif self._claims.held(outcome.sha256):
            self._waiting.setdefault(outcome.sha256, []).append(outcome)
        else:
            yield from self._take_from_catalogue(outcome, outcome.sha256)
        if len(self._batch) >= self._batch_size:
            yield from self.write()

    def _take_from_catalogue(self, outcome: Outcome, sha256: bytes) -> Iterator[Event]:
        rows = settled(self._collection.catalogue.with_content(sha256))
        source = self._collection.source
        ids = [point_id(source, row.path) for row in rows if row.state == INDEXED]
        for point in self._collection.points.retrieve(ids[:10]).values():
            if point.payload.get("sha256") == sha256.hex():
                self._add(outcome, facts_from_payload(point.payload), point.vector, known=True)
                return
        refused = [row for row in rows if row.state == QUARANTINED]
        if refused:
            yield self._set_aside(outcome, FileFault(refused[0].reason or "damaged"))
        else:  # its only copy was changed by this very run
            yield from self.take(self._embed_again(outcome.record))

    def _add(self, outcome: Outcome, facts: PictureFacts, vector: Vector, *, known: bool) -> None:
        assert outcome.sha256 is not None  # it has an embedding, so it was read
        record, sha256, source = outcome.record, outcome.sha256, self._collection.source
        before = self._collection.catalogue.get(record.path)
        moved_from = None
        if before is not None and before.state == INDEXED:
            status = Status.UNCHANGED if before.sha256 == sha256 else Status.CHANGED
            if before.sha256 is not None and status is Status.CHANGED:
                self._replaced.add(before.sha256)
        elif known:
            moved_from = self._find_moved(sha256)
            status = Status.DUPLICATE if moved_from is None else Status.MOVED
        else:
            status = Status.NEW
        id = point_id(source, record.path)
        own, given = self._tags_at(moved_from or record.path), self._scope.tags_for(record.path)
        tags = {**own, **given} if self._scope.retag else {**given, **own}
        point = Point(id, vector, make_payload(source, record, sha256, facts, tags))
        entry = _Entry(record, sha256, facts, status, point, moved_from)
        self._batch[record.path] = self._by_content[sha256] = entry

    def _tags_at(self, path: bytes) -> Tags:
        """The tags that the point of a path has: they outlive an edit and a rename."""
        id = point_id(self._collection.source, path)
        found = self._collection.points.retrieve([id]).get(id)
        return {} if found is None else tags_of(found.payload)

    def _find_moved(self, sha256: bytes) -> bytes | None:
        """An old path of this content that is surely gone: below a root walked to its end."""
        for row in self._collection.catalogue.with_content(sha256):
            if (
                row.state == INDEXED
                and row.path not in self._moved
                and row.path in self._vanished
                and any(is_below(row.path, root) for root in self._whole_roots)
                and not exists(row.path)
            ):
                self._moved.add(row.path)
                return row.path
        return None

    def _set_aside(self, outcome: Outcome, fault: FileFault) -> FileDone:
        """Note a file that cannot be indexed. Its old point, if it has one, stays."""
        record = outcome.record
        state = SKIPPED if fault.skipped else QUARANTINED
        note = Row(
            record.path,
            record.size,
            record.mtime_ns,
            record.ctime_ns,
            outcome.sha256,
            state,
            fault.reason,
            decoders(),
            fault.transient,
        )
        before = self._collection.catalogue.get(record.path)
        gone = fault.skipped and fault.transient
        indexed = before is not None and before.state == INDEXED
        if indexed and fault.transient:
            gone = True  # it keeps its row: most likely it is still what it was
        elif indexed and before is not None and before.sha256 is not None:
            self._replaced.add(before.sha256)
        if before != note and not gone:
            self._notes.append(note)
        if outcome.sha256 is not None or len(self._notes) >= NOTES_AT_ONCE:
            self._write_notes()  # at once for hashed content: its copies look here
        if state == QUARANTINED:
            known = before is not None and before.state == state and before.agrees_with(record)
            self.newly_quarantined += not known
            self.unreadable += fault.transient
        status = Status(state)
        self.tally[status] += 1
        self.settled.add(record.path)
        return FileDone(display_path(record.path), status, record.size, reason=fault.reason)

    def _write_notes(self) -> None:
        self._collection.catalogue.write(self._notes)
        self._notes.clear()


def _row(entry: _Entry) -> Row:
    record = entry.record
    return Row(record.path, record.size, record.mtime_ns, record.ctime_ns, entry.sha256, INDEXED)


def _moved_paths(entries: Sequence[_Entry]) -> list[bytes]:
    return [entry.moved_from for entry in entries if entry.moved_from is not None]


def _done(record: FileRecord, status: Status, point: Point) -> FileDone:
    return FileDone(display_path(record.path), status, record.size, str(point.id))
