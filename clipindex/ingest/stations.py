"""The middle stations, one file at a time: read and hash, decode, embed. Who calls them, and how
many at once, is decided elsewhere: threads of this process, or actors of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace

from clipindex.errors import FileFault
from clipindex.files.addresses import is_address
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path
from clipindex.ingest.describing import Describer
from clipindex.ingest.events import SlowFile
from clipindex.ingest.outcomes import Embedded, Faulty, Said
from clipindex.model.averaging import encode_pictures
from clipindex.model.encoder import Encoder
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Preprocessing, Way
from clipindex.stores.points import Vector, is_unit

READERS = 16  # at least, of objects in stores: each download is mostly waiting
SLOW_AFTER = 5.0  # seconds in hand, after which a file is reported


def readers(records: Iterable[FileRecord], cores: int) -> int:
    """How many threads are to read these files. `cores` decode, however many read."""
    is_remote = any(is_address(record.path) for record in records)
    return max(cores, READERS) if is_remote else cores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """A picture file's bytes, their digest, and what file and sidecars say."""

    record: FileRecord
    data: bytes
    sha256: bytes
    said: Said


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A picture read and decoded, not embedded yet."""

    record: FileRecord
    sha256: bytes
    facts: PictureFacts
    pixels: Pixels  # as `decode` gives them
    said: Said


class InHand:
    """Which files threads have in hand, and since when."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[bytes, float]] = {}  # by thread

    @contextmanager
    def holding(self, path: bytes) -> Iterator[None]:
        """While the context lasts, this thread has the file in hand."""
        self._since[threading.get_ident()] = path, time.monotonic()
        try:
            yield
        finally:
            del self._since[threading.get_ident()]

    def slowest(self) -> SlowFile | None:
        """The file that has been in hand longest, if for SLOW_AFTER seconds or more."""
        now = time.monotonic()
        in_hand = [(now - since, path) for path, since in list(self._since.values())]
        seconds, path = max(in_hand, default=(0.0, b""))
        return SlowFile(display_path(path), seconds) if seconds >= SLOW_AFTER else None


class Stations:
    """The stations of one collection. Any thread may call them."""

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        describer: Describer,
        in_full: Set[bytes] = frozenset(),
        in_hand: InHand | None = None,
    ) -> None:
        """`in_full`: digests of contents that no preview may stand for."""
        self.in_hand = in_hand or InHand()
        self._in_full = in_full
        self._encoder = encoder
        self._geometry = encoder.bundle.image.geometry
        self._preprocessing = preprocessing
        self._describer = describer

    def read(self, record: FileRecord) -> Read | Faulty:
        """Read a file once, and hash it."""
        with self.in_hand.holding(record.path):
            return self._read(record)

    def _read(self, record: FileRecord) -> Read | Faulty:
        sha256 = None
        try:
            content = read_content(record.path)
            record, sha256 = content.record, content.sha256
            said = self._describer.said(record.path, content.data)
        except FileFault as fault:
            return Faulty(record, fault, sha256)
        return Read(record=record, data=content.data, sha256=sha256, said=said)

    def decode(self, read: Read) -> Prepared | Faulty:
        """The pixels that the model takes."""
        with self.in_hand.holding(read.record.path):
            return self._decode(read)

    def _decode(self, read: Read) -> Prepared | Faulty:
        try:
            if read.sha256 in self._in_full:
                pixels, facts = decode(read.data, self._geometry, Preprocessing.DCT_SCALED)
                facts = replace(facts, decoded=Way.FULL)
            else:
                pixels, facts = decode(read.data, self._geometry, self._preprocessing)
        except FileFault as fault:
            return Faulty(read.record, fault, read.sha256)
        return Prepared(
            record=read.record, sha256=read.sha256, facts=facts, pixels=pixels, said=read.said
        )

    def embed(self, batch: Sequence[Prepared]) -> list[Embedded | Faulty]:
        """The embeddings of pictures, in their order. The model is loaded by the first call,
        unless it is."""
        vectors = encode_pictures(self._encoder, [picture.pixels for picture in batch])
        return [_outcome(picture, vector) for picture, vector in zip(batch, vectors, strict=True)]


def _outcome(picture: Prepared, vector: Vector) -> Embedded | Faulty:
    if not is_unit(vector):
        fault = FileFault("the model gave no embedding")
        return Faulty(picture.record, fault, picture.sha256)
    return Embedded(
        record=picture.record,
        sha256=picture.sha256,
        facts=picture.facts,
        vector=vector,
        said=picture.said,
    )
