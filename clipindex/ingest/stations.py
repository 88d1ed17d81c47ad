"""The middle stations, one file at a time: read and hash, decode, embed. Who calls them, and how
many at once, is decided elsewhere: threads of this process, or actors of a cluster."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.ingest.describing import Describer
from clipindex.ingest.outcomes import Embedded, Faulty, Said
from clipindex.model.averaging import encode_pictures
from clipindex.model.encoder import Encoder
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Preprocessing, Way
from clipindex.stores.points import Vector, is_unit


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


class Stations:
    """The stations of one collection. Any thread may call them."""

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        describer: Describer,
        in_full: Set[bytes] = frozenset(),
    ) -> None:
        """`in_full`: digests of contents that no preview may stand for."""
        self._in_full = in_full
        self._encoder = encoder
        self._geometry = encoder.bundle.image.geometry
        self._preprocessing = preprocessing
        self._describer = describer

    def read(self, record: FileRecord) -> Read | Faulty:
        """Read a file once, and hash it."""
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
