"""Embedding a collection's contents with another model, each from a file that still has it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

from clipindex.errors import FileFault
from clipindex.files.access import file_system_of
from clipindex.files.identity import path_from_payload
from clipindex.model.averaging import encode_pictures
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.payload import DECODED, Payload
from clipindex.stores.points import Point, Vector, is_unit

LARGE_FILE = 128 << 20  # bytes; such files are read one at a time, to bound the memory
CHANGED = "it was edited since it was indexed; `clipindex reindex` reads it again"
GONE = "its file is gone: deleted, or its disk is away"

Load = Callable[[Bundle], Encoder]


@dataclass(slots=True)
class Embedded:
    """Vectors by the hexadecimal SHA-256 of their content, and why others have none."""

    vectors: dict[str, Vector] = field(default_factory=dict)
    ways: dict[str, Payload] = field(default_factory=dict)  # how they were decoded, as stored
    faults: dict[str, str] = field(default_factory=dict)


class Embedding:
    """A model at work on the files of points; it is loaded when the first one is to be embedded."""

    def __init__(
        self, bundle: Callable[[], Bundle], load: Load, preprocessing: Preprocessing, cores: int
    ) -> None:
        """`bundle` finds the model, `load` opens it; `cores` threads read and embed."""
        self._find = bundle
        self._load = load
        self._preprocessing = preprocessing
        self._cores = cores
        self._encoder: Encoder | None = None
        self._large = threading.Lock()

    def embed(self, points: Sequence[Point]) -> Embedded:
        """The vectors of the contents of points. Raises ModelError and its kin."""
        result = Embedded()
        if not points:
            return result
        by_content: dict[str, list[Point]] = {}
        for point in points:
            by_content.setdefault(str(point.payload.get("sha256")), []).append(point)
        encoder = self._ready()
        contents = list(by_content.items())
        groups = [
            contents[start : start + encoder.batch]
            for start in range(0, len(contents), encoder.batch)
        ]
        executor = ThreadPoolExecutor(self._cores, "switch")
        try:
            for part in executor.map(self._embed_group, groups):
                result.vectors |= part.vectors
                result.ways |= part.ways
                result.faults |= part.faults
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        return result

    def _ready(self) -> Encoder:
        if self._encoder is None:
            bundle = self._find()
            encoder = self._load(bundle)
            bundle.verify()
            encoder.load(self._cores)
            self._encoder = encoder
        return self._encoder

    def _embed_group(self, contents: Sequence[tuple[str, list[Point]]]) -> Embedded:
        result, pixels, names = Embedded(), [], []
        for digest, points in contents:
            try:
                picture, facts = self._read(digest, points)
                pixels.append(picture)
                names.append(digest)
                result.ways[digest] = {DECODED: facts.decoded.value} if facts.decoded else {}
            except FileFault as fault:
                result.faults[digest] = fault.reason
        if pixels:
            for digest, vector in zip(names, encode_pictures(self._ready(), pixels), strict=True):
                if is_unit(vector):
                    result.vectors[digest] = vector
                else:
                    result.faults[digest] = "the model gave no embedding"
        return result

    def _read(self, digest: str, points: Iterable[Point]) -> tuple[Pixels, PictureFacts]:
        """The pixels and facts of a content, from the first of its files that has it. Raises
        FileFault."""
        reason = GONE
        for point in points:
            path, size = path_from_payload(point.payload), int(str(point.payload["bytes"]))
            with self._large if size >= LARGE_FILE else nullcontext():
                try:
                    with file_system_of(path).open(path) as file:
                        _, data = file.read()
                    if hashlib.sha256(data).hexdigest() != digest:
                        reason = CHANGED
                        continue
                    geometry = self._ready().bundle.image.geometry
                    return decode(data, geometry, self._preprocessing)
                except FileFault as fault:
                    reason = GONE if fault.skipped else fault.reason
        raise FileFault(reason)
