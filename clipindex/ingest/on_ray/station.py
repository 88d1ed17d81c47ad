"""What an actor does: one tower, and the stations from reading to verified points.

It keeps no catalogue. What the collection knows it asks of the server, by digest, once a slice;
labels are the driver's.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from uuid import UUID

from clipindex.errors import ClipIndexWarning
from clipindex.files.addresses import knowing
from clipindex.files.file_system import FileRecord
from clipindex.ingest.batch import COPIES_ASKED, PointWriter, Ready
from clipindex.ingest.describing import Describer
from clipindex.ingest.events import SlowFile, Status
from clipindex.ingest.labels import Label
from clipindex.ingest.on_ray.agreement import Job, named_by, opened_on
from clipindex.ingest.on_ray.slices import Slice
from clipindex.ingest.outcomes import Embedded, Faulty, Known, Written
from clipindex.ingest.stations import READERS, InHand, Prepared, Read, Stations, readers
from clipindex.model.encoder import Encoder
from clipindex.stores.filter import Filter
from clipindex.stores.points import POINTS_AT_ONCE, Points

UNMOVED = Label(Status.NEW)  # the driver gives the true one; here it says that no point is deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """An actor is ready: on which node, and what runs its tower."""

    node: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a slice. Points of `written` are verified; `known` files may have moved."""

    node: str
    written: tuple[Written, ...]
    known: tuple[Known, ...]
    faulty: tuple[Faulty, ...]
    broken: tuple[bytes, ...] = ()  # sidecars that are no XMP
    notes: tuple[str, ...] = ()  # warnings, such as of a server that does not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What an actor says while it works: the file that is slow to read or decode, if one is."""

    node: str
    slow: SlowFile | None
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Held:
    """What an actor holds once it has joined."""

    job: Job
    encoder: Encoder
    points: Points
    writer: PointWriter
    processors: ThreadPoolExecutor
    readers: ThreadPoolExecutor  # of objects in stores; its threads start when they are needed

    def reading(self, records: Sequence[FileRecord]) -> ThreadPoolExecutor:
        """The threads that read these files."""
        threads = self.job.threads
        return self.readers if readers(records, threads) > threads else self.processors


class SliceWorker:
    """Works on slices, on the node called `node`. Two calls may run at once: while one slice is
    written, the next is read."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._joining = threading.Lock()
        self._held: _Held | None = None
        self._notes: list[str] = []
        self._in_hand = InHand()

    def join(self, job: Job) -> Joined:
        """Load the tower and open the collection, unless that is done; see `opened_on` for what
        is compared. Raises ContractMismatch, ModelError, StoreError, ProviderUnavailable."""
        with self._joining:
            if self._held is None:
                self._collect_warnings()
                encoder, points = opened_on(job, self._node)
                dimension = job.contract.dimension
                self._held = _Held(
                    job=job,
                    encoder=encoder,
                    points=points,
                    writer=PointWriter(
                        points, job.source, dimension, job.scope, job.joiner, job.in_full
                    ),
                    processors=ThreadPoolExecutor(job.threads),
                    readers=ThreadPoolExecutor(max(job.threads, READERS)),
                )
        return Joined(node=self._node, provider=self._held.encoder.provider_in_use)

    def _collect_warnings(self) -> None:
        """Warnings of this process are the driver's to show."""

        def note(message: Warning | str, *_: object, **__: object) -> None:
            if isinstance(message, ClipIndexWarning):
                self._notes.append(str(message))

        warnings.simplefilter("always", ClipIndexWarning)
        warnings.showwarning = note

    def look(self) -> Looked:
        """How the work gets on. It may be asked while two slices are worked on: an answer also
        says that this process does not stand still."""
        slow = self._in_hand.slowest()
        return Looked(
            node=self._node,
            slow=slow and replace(slow, node=self._node),
            notes=self._taken_notes(),
        )

    def _taken_notes(self) -> tuple[str, ...]:
        notes, self._notes = self._notes, []
        return tuple(notes)

    def work(self, slice_: Slice) -> Done:
        """Read, embed, write and verify the files of a slice. Only after `join`. Raises StoreError,
        DiskFull or VerificationFailed, and UsageError without a library for the files' store."""
        assert self._held is not None  # whoever hands out slices asked it to join
        with named_by(self._node):
            return self._work(self._held, slice_)

    def _work(self, held: _Held, slice_: Slice) -> Done:
        describer = Describer(slice_.sidecars)
        stations = Stations(
            held.encoder, held.job.preprocessing, describer, held.job.in_full, self._in_hand
        )
        faulty: list[Faulty] = []
        reads: list[Read] = []
        with knowing(slice_.given):
            for read in held.reading(slice_.records).map(stations.read, slice_.records):
                faulty.append(read) if isinstance(read, Faulty) else reads.append(read)
        copies = copies_of(held.points, held.job.source, {read.sha256.hex() for read in reads})
        known = [
            read
            for read in reads
            if read.record.path in slice_.may_have_moved and read.sha256.hex() in copies
        ]
        own = [read for read in reads if read not in known]
        written = self._write(held, stations, own, copies, faulty)
        return Done(
            node=self._node,
            written=written,
            known=tuple(Known(read.record, read.sha256, read.said) for read in known),
            faulty=tuple(faulty),
            broken=tuple(describer.broken),
            notes=self._taken_notes(),
        )

    def _write(
        self,
        held: _Held,
        stations: Stations,
        reads: Sequence[Read],
        copies: dict[str, list[UUID]],
        faulty: list[Faulty],
    ) -> tuple[Written, ...]:
        """Write pictures; adds those that cannot be decoded to `faulty`."""
        writer = held.writer
        entries = [
            writer.entry(
                Known(read.record, read.sha256), UNMOVED, copies.get(read.sha256.hex(), ())
            )
            for read in reads
        ]
        stored = writer.look_up(entries) if entries else {}
        made: dict[bytes, Embedded | Faulty] = {}
        for entry in entries:
            if (copied := writer.embedding_of(entry, stored)) is not None:
                made.setdefault(copied.sha256, copied)
        lacking = {read.sha256: read for read in reads if read.sha256 not in made}
        made.update(_embedded(held, stations, lacking.values()))
        ready: list[Ready] = []
        for read in reads:
            picture = made[read.sha256]
            if isinstance(picture, Faulty):
                faulty.append(Faulty(read.record, picture.fault, read.sha256))
            else:
                ready.append(Ready(replace(picture, record=read.record, said=read.said), UNMOVED))
        ids = {point.id for point in writer.write_points(ready, stored)}
        return tuple(
            Written.of(r.picture, is_written=writer.point_id(r.picture.record.path) in ids)
            for r in ready
        )


def _embedded(
    held: _Held, stations: Stations, reads: Iterable[Read]
) -> dict[bytes, Embedded | Faulty]:
    """Different contents, decoded and embedded: by digest."""
    made: dict[bytes, Embedded | Faulty] = {}
    pictures: list[Prepared] = []
    for read, prepared in zip(reads, held.processors.map(stations.decode, reads), strict=True):
        if isinstance(prepared, Faulty):
            made[read.sha256] = prepared
        else:
            pictures.append(prepared)
    at_once = held.encoder.batch
    batches = [pictures[start : start + at_once] for start in range(0, len(pictures), at_once)]
    for batch, outcomes in zip(batches, held.processors.map(stations.embed, batches), strict=True):
        for picture, outcome in zip(batch, outcomes, strict=True):
            made[picture.sha256] = outcome
    return made


def copies_of(points: Points, source: str, digests: Iterable[str]) -> dict[str, list[UUID]]:
    """Some points of each content that a source has, by hexadecimal SHA-256. One request, unless
    there are so many copies of some that they fill it."""
    copies: dict[str, list[UUID]] = {}
    left = set(digests)
    while left:
        only = Filter(equals=(("source", source),)).also_among("sha256", sorted(left))
        page = list(islice(points.scroll(only), POINTS_AT_ONCE))
        for name, payload in page:
            names = copies.setdefault(str(payload["sha256"]), [])
            if len(names) < COPIES_ASKED:
                names.append(name)
        left -= copies.keys()
        if len(page) < POINTS_AT_ONCE:
            break
    return copies
