"""The middle stations, side by side: each worker reads, hashes, decodes and embeds files.

All workers are alike and share one model. Python's lock is free while Pillow decodes, hashlib
hashes and onnxruntime computes, so threads are enough.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from clipindex.collection.catalogue import INDEXED, QUARANTINED, Catalogue, Row
from clipindex.errors import FileFault
from clipindex.files.identity import display_path
from clipindex.files.walk import FileRecord
from clipindex.ingest.events import EmbeddingOn, SlowFile
from clipindex.model.encoder import Encoder
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Pixels, decode, decoders
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.stores.points import Vector, is_unit

LARGE_FILE = 128 << 20  # held in memory one at a time, however many workers there are
SLOW_AFTER = 5.0  # seconds with one file, after which it is named
LOOK_AHEAD = 64  # outcomes that may wait for the writer: back-pressure when the store is slow


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one file: an embedding, a fault, or neither when its content is known."""

    record: FileRecord
    sha256: bytes | None = None
    facts: PictureFacts | None = None
    embedding: Vector | None = None
    fault: FileFault | None = None


class ContentClaims:
    """Who embeds which content: the first to hash it; everyone later takes that embedding."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._claimed: set[bytes] = set()
        self._lock = threading.Lock()

    def take(self, sha256: bytes) -> bool:
        """True for the one caller that is to embed this content."""
        with self._lock:
            if sha256 in self._claimed or settled(self._catalogue.with_content(sha256)):
                return False
            self._claimed.add(sha256)
            return True

    def held(self, sha256: bytes) -> bool:
        """Whether a worker is at it, or its result not yet written down."""
        with self._lock:
            return sha256 in self._claimed

    def release(self, sha256: bytes) -> None:
        """Called once the catalogue knows the content."""
        with self._lock:
            self._claimed.discard(sha256)


def settled(rows: Sequence[Row]) -> list[Row]:
    """Rows that answer for their content: indexed, or refused by these same decoders."""
    return [
        row
        for row in rows
        if row.state == INDEXED
        or (row.state == QUARANTINED and not row.transient and row.decoders == decoders())
    ]


class Workers:
    """Threads that turn records into outcomes, in no promised order."""

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        claims: ContentClaims,
        count: int | None,
    ) -> None:
        spec = encoder.bundle.manifest.image
        self._encoder = encoder
        self._geometry = Geometry(spec.size, spec.fit)
        self._preprocessing = preprocessing
        self._claims = claims
        self._count = count or usable_cores()
        self._large = threading.Lock()
        self._stop = threading.Event()
        self._ready: Future[None] | None = None
        self._asking = threading.Lock()
        self._in_hand: dict[int, tuple[bytes, float]] = {}  # thread -> path, since when
        self._outcomes: queue.Queue[Outcome | BaseException | None] = queue.Queue(LOOK_AHEAD)

    def run(
        self, records: Sequence[FileRecord], deadline: float | None = None
    ) -> Generator[Outcome | EmbeddingOn | SlowFile, None, None]:
        """Outcomes of all records, what embeds them, and now and then the file that takes long.

        After `deadline` (of time.monotonic) it ends, whatever is still in hand.

        An error that is no file's fault ends it and is raised. Closing the iterator (an
        interrupt does) stops the workers after the file in hand.
        """
        shared = iter(records)
        turn = threading.Lock()
        count = max(1, min(self._count, len(records)))
        threads = [
            threading.Thread(target=self._work, args=(shared, turn), daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            running, told = count, False
            while running and (deadline is None or time.monotonic() < deadline):
                try:
                    outcome = self._outcomes.get(timeout=1.0)
                except queue.Empty:
                    if slow := self._slowest():
                        yield slow
                    continue
                if self._encoder.provider_in_use and not told:
                    told = True
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
                thread.join(timeout=0.5)  # a decoder in C cannot be stopped; it is a daemon

    def _slowest(self) -> SlowFile | None:
        """The file that has been in hand longest, when that is long."""
        now = time.monotonic()
        in_hand = [(now - since, path) for path, since in list(self._in_hand.values())]
        seconds, path = max(in_hand, default=(0.0, b""))
        return SlowFile(display_path(path), seconds) if seconds >= SLOW_AFTER else None

    def embed_again(self, record: FileRecord) -> Outcome:
        """One file by itself: when the content it shared was replaced before it could be taken."""
        prepared = self._prepare(record, claim=False)
        if isinstance(prepared, Outcome):
            return prepared
        return self._embed([prepared])[0]

    def _work(self, shared: Iterator[FileRecord], turn: threading.Lock) -> None:
        batch: list[_Prepared] = []
        try:
            while not self._stop.is_set():
                with turn:
                    record = next(shared, None)
                if record is None:
                    break
                self._in_hand[threading.get_ident()] = record.path, time.monotonic()
                prepared = self._prepare(record, claim=True)
                del self._in_hand[threading.get_ident()]
                if isinstance(prepared, Outcome):
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

    def _prepare(self, record: FileRecord, *, claim: bool) -> Outcome | _Prepared:
        """Read, hash and decode one file, unless its content is known already."""
        if record.size >= LARGE_FILE:
            with self._large:
                return self._read_and_decode(record, claim=claim)
        return self._read_and_decode(record, claim=claim)

    def _read_and_decode(self, record: FileRecord, *, claim: bool) -> Outcome | _Prepared:
        sha256 = None
        try:
            content = read_content(record)
            record, sha256 = content.record, content.sha256
            if claim and not self._claims.take(sha256):
                return Outcome(record, sha256)
            pixels, facts = decode(content.data, self._geometry, self._preprocessing)
        except FileFault as fault:
            return Outcome(record, sha256, fault=fault)
        return _Prepared(record, sha256, facts, pixels)

    def _embed(self, batch: Sequence[_Prepared]) -> list[Outcome]:
        self._model_ready().result()
        embeddings = self._encoder.encode_images(np.stack([each.pixels for each in batch]))
        return [
            Outcome(each.record, each.sha256, each.facts, embedding)
            if is_unit(embedding)
            else Outcome(each.record, each.sha256, fault=FileFault("the model gave no embedding"))
            for each, embedding in zip(batch, embeddings, strict=True)
        ]

    def _model_ready(self) -> Future[None]:
        """Done once the model's files are checked and it is loaded: begun when the first picture
        is there, in a thread of its own, while more pictures are decoded."""
        with self._asking:
            if self._ready is None:
                self._ready = Future()
                threading.Thread(target=self._make_ready, args=(self._ready,), daemon=True).start()
            return self._ready

    def _make_ready(self, ready: Future[None]) -> None:
        try:
            self._encoder.bundle.verify()
            self._encoder.load(self._count)
            ready.set_result(None)
        except BaseException as error:  # for those who wait
            ready.set_exception(error)

    def _put(self, *outcomes: Outcome | BaseException | None) -> None:
        for outcome in outcomes:
            while not self._stop.is_set():
                try:
                    self._outcomes.put(outcome, timeout=0.1)
                    break
                except queue.Full:
                    continue


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    record: FileRecord
    sha256: bytes
    facts: PictureFacts
    pixels: Pixels  # [size, size, 3]


def usable_cores() -> int:
    """Cores that this process may use (a container or `taskset` may allow fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
