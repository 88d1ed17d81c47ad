"""The last station: outcomes become batches of points, notes in the catalogue, and events.

A single thread gives every label, so that counts do not depend on which worker was faster.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.collection.opening import Collection
from clipindex.errors import FileFault
from clipindex.files.access import is_gone
from clipindex.files.identity import display_path
from clipindex.ingest.batch import COPIES_ASKED, BatchWriter, Entry, Ready, Stored
from clipindex.ingest.events import Event, FileDone, NodeState, Status
from clipindex.ingest.labels import Label, Labels, is_accepted
from clipindex.ingest.moves import Decided, Moves
from clipindex.ingest.outcomes import (
    Embedded,
    Faulty,
    Known,
    Outcome,
    Written,
    WrittenElsewhere,
)
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey
from clipindex.ingest.workers import Workers
from clipindex.pictures.decode import decoders
from clipindex.pictures.preprocessing import Way
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.metadata import Joiner

NOTES_AT_ONCE = 250  # quarantine and skip notes written in one transaction


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    statuses: Counter[Status] = field(default_factory=Counter)
    paths: set[bytes] = field(default_factory=set)  # that have their status, of a timed run
    newly_quarantined: int = 0
    unreadable: int = 0
    embedded: int = 0
    by_preview: int = 0  # of these
    written: int = 0
    accepted: int = 0
    moved_from: set[bytes] = field(default_factory=set)  # old paths
    nodes: dict[str, NodeState] = field(default_factory=dict)  # of a cluster
    reasons: list[tuple[Status, str]] = field(default_factory=list)  # of files refused or skipped


class Recorder:
    """Takes outcomes, yields events, keeps the `tally`."""

    def __init__(
        self,
        collection: Collection,
        workers: Workers,
        scope: Scope,
        survey: Survey,
        batch_size: int,
        joiner: Joiner,
        is_timed: bool = False,
    ) -> None:
        """`is_timed`: the run may end before every file has its status."""
        self._is_timed = is_timed
        self._again = set(workers.in_full)
        self._catalogue = collection.catalogue
        self._workers = workers
        self._writer = BatchWriter(collection, scope, joiner, workers.in_full)
        self._labels = Labels()
        self._moves = Moves(survey.absent, survey.plan.to_read, is_gone)
        self._batch_size = batch_size
        self._batch: list[Entry] = []
        self._contents: set[bytes] = set()  # digests of the batch
        self._waiting: dict[bytes, list[Known]] = {}  # copies whose content is being embedded
        self._notes: list[Row] = []
        self._refused = 0  # files since the notes were written
        self._refusals = collection.catalogue.refusals()
        self.tally = Tally()

    def take(self, outcome: Outcome) -> Iterator[Event]:
        """Record an outcome and the files that waited for it; write each full batch."""
        pending: deque[Outcome] = deque([outcome])
        while pending:
            current = pending.popleft()
            if (refused := self._accept(current)) is not None:
                yield refused
            if not isinstance(current, Known):
                pending.extend(self._waiting.pop(current.sha256 or b"", ()))
            if len(self._batch) >= self._batch_size:
                yield from self._write()
        yield from self._take_decided(self._moves.read(outcome.record.path))

    def take_written(self, batch: WrittenElsewhere) -> Iterator[Event]:
        """Record pictures whose points are verified already: label them, write their rows."""
        labelled: list[tuple[Written, Label]] = []
        contents: set[bytes] = set()
        for picture in batch.pictures:
            known = picture.sha256 in contents or self._is_embedded(picture.sha256)
            contents.add(picture.sha256)
            before = self._catalogue.get(picture.record.path)
            label = self._labels.label(picture.sha256, before=before, known=known)
            # Whoever wrote it may have died before it could say so: then it was found written.
            is_written = picture.is_written or label.status is not Status.UNCHANGED
            labelled.append((replace(picture, is_written=is_written), label))
            self.tally.embedded += not known
            self.tally.by_preview += picture.by_preview and not known
        yield from self._report(labelled, self._writer.note(labelled))
        for picture in batch.pictures:
            yield from self._take_decided(self._moves.read(picture.record.path))

    def _is_embedded(self, sha256: bytes) -> bool:
        """Whether a content was embedded before, and is not to be once more."""
        if sha256 in self._again:
            self._again.discard(sha256)
            return False
        return bool(self._catalogue.indexed_copies(sha256, 1))

    def finish(self) -> Iterator[Event]:
        """Write what is left."""
        yield from self._take_decided(self._moves.rest())
        yield from self._write()
        self.write_notes()

    def _accept(self, outcome: Outcome) -> FileDone | None:
        """Put an outcome where it belongs: a note, the batch, or among those that wait."""
        match outcome:
            case Faulty():
                refused = self._refuse(outcome)
                self._workers.claims.release(outcome.sha256)
                return refused
            case Embedded():
                self._count_embedded(outcome)
                self._add(outcome)
            case Known() if self._may_have_moved(outcome):
                self._moves.hold(outcome)
            case Known() if outcome.sha256 in self._contents:
                self._add(outcome)
            case Known() if self._workers.claims.held(outcome.sha256):
                self._waiting.setdefault(outcome.sha256, []).append(outcome)
            case Known():
                return self._accept_copy(outcome)
        return None

    def _may_have_moved(self, outcome: Known) -> bool:
        if not self._moves.concern(outcome.sha256):
            return False
        before = self._catalogue.get(outcome.record.path)
        return before is None or before.state != INDEXED

    def _take_decided(self, files: Iterable[Decided]) -> Iterator[Event]:
        for file in files:
            if (refused := self._accept_copy(file.outcome, file.moved_from)) is not None:
                yield refused
            if len(self._batch) >= self._batch_size:
                yield from self._write()

    def _accept_copy(self, outcome: Known, moved_from: bytes | None = None) -> FileDone | None:
        """A file whose content the catalogue knows: it shares the vector, or the quarantine."""
        copies = self._catalogue.indexed_copies(outcome.sha256, COPIES_ASKED)
        if copies:
            self._add(outcome, copies, moved_from)
            return None
        reason = self._catalogue.refusal(outcome.sha256, decoders())
        if reason is not None:
            return self._refuse(Faulty(outcome.record, FileFault(reason), outcome.sha256))
        # This very run replaced the only file with this content.
        return self._accept(self._workers.embed_again(outcome.record))

    def _add(
        self,
        outcome: Embedded | Known,
        copies: Sequence[bytes] = (),
        moved_from: bytes | None = None,
    ) -> None:
        label = self._label(outcome, moved_from)
        ids = list(map(self._writer.point_id, copies))
        self._batch.append(self._writer.entry(outcome, label, ids))
        self._contents.add(outcome.sha256)

    def _label(self, outcome: Embedded | Known, moved_from: bytes | None = None) -> Label:
        return self._labels.label(
            outcome.sha256,
            before=self._catalogue.get(outcome.record.path),
            known=isinstance(outcome, Known),
            moved_from=moved_from,
        )

    def _write(self) -> Iterator[Event]:
        """Write the batch, then report it."""
        entries = self._batch.copy()
        self._batch.clear()
        self._contents.clear()
        if not entries:
            return
        stored = self._writer.look_up(entries)
        batch: list[Ready] = []
        for resolved in self._resolve(entries, stored):
            if isinstance(resolved, Ready):
                batch.append(resolved)
            else:
                yield self._refuse(resolved)
        if not batch:
            return
        verified = self._writer.write(batch, stored)
        for ready in batch:
            self._workers.claims.release(ready.picture.sha256)
            if ready.label.moved_from is not None:
                self.tally.moved_from.add(ready.label.moved_from)
        yield from self._report([(ready.picture, ready.label) for ready in batch], verified)

    def _report(
        self, pictures: Sequence[tuple[Embedded | Written, Label]], verified: BatchVerified
    ) -> Iterator[Event]:
        """Count and report pictures whose points and rows are durable."""
        self.tally.written += verified.points
        for picture, label in pictures:
            record, status = picture.record, label.status
            self._count(record.path, status)
            point = str(self._writer.point_id(record.path))
            yield FileDone(
                path=display_path(record.path), status=status, bytes=record.size, id=point
            )
        if verified.points:
            yield verified

    def _resolve(self, entries: Sequence[Entry], stored: Stored) -> Iterator[Ready | Faulty]:
        """Give each entry its embedding: its own, that of the same content in the batch, that of
        a stored point, and where all of these fail (another machine replaced it) a new one."""
        by_content = {
            entry.outcome.sha256: entry.outcome
            for entry in entries
            if isinstance(entry.outcome, Embedded)
        }
        for entry in entries:
            outcome = entry.outcome
            picture = by_content.get(outcome.sha256) or self._writer.embedding_of(entry, stored)
            if picture is not None:
                by_content[outcome.sha256] = picture
                known = replace(picture, record=outcome.record, said=outcome.said)
                yield Ready(known, entry.label)
                continue
            again = self._workers.embed_again(outcome.record)
            if isinstance(again, Faulty):
                yield again
                continue
            self._count_embedded(again)
            by_content[again.sha256] = again
            same = again.sha256 == outcome.sha256  # else the file was edited a moment ago
            yield Ready(again, entry.label if same else self._label(again))

    def _refuse(self, outcome: Faulty) -> FileDone:
        """Note a file that cannot be indexed."""
        record, before = outcome.record, self._catalogue.get(outcome.record.path)
        self._refused += 1
        refusal = self._labels.refuse(outcome, before, decoders())
        if refusal.note is not None:
            self._notes.append(refusal.note)
        if self._is_first_refusal(outcome.sha256) or len(self._notes) >= NOTES_AT_ONCE:
            self.write_notes()  # at once for the first of a content: its copies look for the note
        accepted = refusal.status is Status.QUARANTINED and is_accepted(self._refusals, record)
        self.tally.newly_quarantined += refusal.is_new and not accepted
        self.tally.unreadable += refusal.is_unreadable and not accepted
        self.tally.accepted += accepted
        self.tally.reasons.append((refusal.status, outcome.fault.reason))
        self._count(record.path, refusal.status)
        return FileDone(
            path=display_path(record.path),
            status=refusal.status,
            bytes=record.size,
            reason=outcome.fault.reason,
            accepted=accepted,
        )

    def _is_first_refusal(self, sha256: bytes | None) -> bool:
        return sha256 is not None and self._catalogue.refusal(sha256, decoders()) is None

    def _count_embedded(self, picture: Embedded) -> None:
        self.tally.embedded += 1
        self.tally.by_preview += picture.facts.decoded is Way.PREVIEW

    def _count(self, path: bytes, status: Status) -> None:
        self.tally.statuses[status] += 1
        if self._is_timed:
            self.tally.paths.add(path)

    def write_notes(self) -> None:
        """Keep what is known of refused files. They depend on no batch: an interrupted run keeps
        them too, and the next one neither reads nor reports them again."""
        self._catalogue.write(self._notes, done={"done": self._refused})
        self._notes.clear()
        self._refused = 0
