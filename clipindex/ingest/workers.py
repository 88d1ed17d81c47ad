"""The middle stations: worker threads that each read, hash, decode and embed files.

All share one model. Pillow, hashlib and onnxruntime release Python's interpreter lock while they
work, so threads are enough.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence, Set
from concurrent.futures import Future

from clipindex.collection.catalogue import Catalogue
from clipindex.files.file_system import FileRecord
from clipindex.ingest.cores import usable_cores
from clipindex.ingest.describing import Describer
from clipindex.ingest.events import ActorLost, EmbeddingOn, NodesSeen, SlowFile
from clipindex.ingest.outcomes import Embedded, Faulty, Known, Outcome, WrittenElsewhere
from clipindex.ingest.stations import Prepared, Stations, readers
from clipindex.model.encoder import Encoder
from clipindex.pictures.decode import decoders
from clipindex.pictures.preprocessing import Preprocessing

LARGE_FILE = 128 << 20  # bytes; such files are read one at a time, to bound the memory
LOOK_AHEAD = 64  # outcomes that may wait for the recorder: workers pause when the store is slow

Step = Outcome | WrittenElsewhere | EmbeddingOn | SlowFile | ActorLost | NodesSeen  # of a run


def is_settled(catalogue: Catalogue, sha256: bytes) -> bool:
    """Whether a content needs no decoding: it is indexed, or these decoders refused it."""
    return bool(catalogue.indexed_copies(sha256, 1)) or (
        catalogue.refusal(sha256, decoders()) is not None
    )


class ContentClaims:
    """Who embeds which content: the first to hash it; everyone later takes that embedding."""

    def __init__(self, catalogue: Catalogue, again: Set[bytes] = frozenset()) -> None:
        """`again`: digests of contents to embed although they are indexed."""
        self._catalogue = catalogue
        self._again = set(again)
        self._claimed: set[bytes] = set()
        self._lock = threading.Lock()

    def take(self, sha256: bytes) -> bool:
        """True for the one caller that is to embed this content."""
        with self._lock:
            if sha256 in self._claimed:
                return False
            if sha256 not in self._again and is_settled(self._catalogue, sha256):
                return False
            self._again.discard(sha256)
            self._claimed.add(sha256)
            return True

    def held(self, sha256: bytes) -> bool:
        """Whether a worker has this content in hand, or its result is not in the catalogue yet."""
        with self._lock:
            return sha256 in self._claimed

    def release(self, sha256: bytes | None) -> None:
        """Called once the catalogue knows the content; None: it was never read to its end."""
        with self._lock:
            self._claimed.discard(sha256 or b"")


class Workers:
    """Threads that turn records into outcomes, in any order."""

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        claims: ContentClaims,
        count: int | None,
        describer: Describer,
        in_full: Set[bytes] = frozenset(),
    ) -> None:
        """`in_full`: digests of contents that no preview may stand for."""
        self.in_full = in_full
        self._encoder = encoder
        self._stations = Stations(encoder, preprocessing, describer, in_full)
        self.claims = claims
        self._count = count or usable_cores()
        self._large = threading.Lock()
        self._processors = threading.Semaphore(self._count)
        self._stop = threading.Event()
        self._ready: Future[None] | None = None
        self._asking = threading.Lock()
        self._outcomes: queue.Queue[Outcome | BaseException | None] = queue.Queue(LOOK_AHEAD)

    @property
    def provider_in_use(self) -> str:
        """What runs the vision tower; empty before it is loaded."""
        return self._encoder.provider_in_use

    def run(
        self, records: Collection[FileRecord], deadline: float | None = None
    ) -> Generator[Step, None, None]:
        """Yield the outcomes of all records, the provider once it is known, and slow files.

        Ends at `deadline` (a time.monotonic() value), whatever is still in hand. Raises the
        first error that is not the fault of a single file. Closing the iterator, as an interrupt
        does, stops the workers after the file in hand.
        """
        shared = iter(records)
        turn = threading.Lock()
        count = max(1, min(readers(records, self._count), len(records)))
        threads = [
            threading.Thread(target=self._work, args=(shared, turn), daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            running = count
            is_provider_reported = False
            while running and (deadline is None or time.monotonic() < deadline):
                try:
                    outcome = self._outcomes.get(timeout=1.0)
                except queue.Empty:
                    if slow := self._stations.in_hand.slowest():
                        yield slow
                    continue
                if self._encoder.provider_in_use and not is_provider_reported:
                    is_provider_reported = True
                    yield EmbeddingOn(self._encoder.provider_in_use)
                if outcome is None:
                    running -= 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    yield outcome
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=0.5)  # a decoder in C cannot be stopped; the thread is a daemon

    def embed_again(self, record: FileRecord) -> Embedded | Faulty:
        """Embed one file whose content was known, but is no longer in any point."""
        prepared = self._prepare(record, claim=False)
        if isinstance(prepared, Prepared):
            return self._embed([prepared])[0]
        assert isinstance(prepared, Faulty)  # Known is the answer to a claim
        return prepared

    def _work(self, shared: Iterator[FileRecord], turn: threading.Lock) -> None:
        batch: list[Prepared] = []
        try:
            while not self._stop.is_set():
                with turn:
                    record = next(shared, None)
                if record is None:
                    break
                prepared = self._prepare(record, claim=True)
                if not isinstance(prepared, Prepared):
                    self._put(prepared)
                    continue
                batch.append(prepared)
                self._model_ready()
                if len(batch) >= self._encoder.batch:
                    self._put(*self._embed(batch))
                    batch.clear()
            if batch and not self._stop.is_set():
                self._put(*self._embed(batch))
            self._put(None)
        except BaseException as error:  # handed to the thread that can end the run
            self._put(error)

    def _prepare(self, record: FileRecord, *, claim: bool) -> Prepared | Known | Faulty:
        """Read, hash and decode one file; with `claim`, unless its content is known already."""
        if record.size >= LARGE_FILE:
            with self._large:
                return self._read_and_decode(record, claim=claim)
        return self._read_and_decode(record, claim=claim)

    def _read_and_decode(self, record: FileRecord, *, claim: bool) -> Prepared | Known | Faulty:
        read = self._stations.read(record)
        if isinstance(read, Faulty):
            return read
        if claim and not self.claims.take(read.sha256):
            return Known(read.record, read.sha256, read.said)
        with self._processors:
            return self._stations.decode(read)

    def _embed(self, batch: Sequence[Prepared]) -> list[Embedded | Faulty]:
        self._model_ready().result()
        with self._processors:
            return self._stations.embed(batch)

    def _model_ready(self) -> Future[None]:
        """Done once the model's files are verified and it is loaded. Started with the first
        picture, in a thread of its own, so that more pictures are decoded meanwhile."""
        with self._asking:
            if self._ready is None:
                ready: Future[None] = Future()
                threading.Thread(target=self._make_ready, args=(ready,), daemon=True).start()
                self._ready = ready  # only now: starting may fail, and others would wait for ever
            return self._ready

    def _make_ready(self, ready: Future[None]) -> None:
        try:
            self._encoder.bundle.verify()
            self._encoder.load(self._count)
            ready.set_result(None)
        except BaseException as error:  # raised in the workers, which wait for it
            ready.set_exception(error)

    def _put(self, *outcomes: Outcome | BaseException | None) -> None:
        for outcome in outcomes:
            while not self._stop.is_set():
                try:
                    self._outcomes.put(outcome, timeout=0.1)
                    break
                except queue.Full:
                    continue
