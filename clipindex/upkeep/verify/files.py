"""Verifying files against their points: the same bytes, and the same embedding of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from clipindex.errors import FileFault
from clipindex.files.access import file_system_of
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path, path_from_payload
from clipindex.model.averaging import encode_pictures
from clipindex.model.encoder import Encoder
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Preprocessing, Way
from clipindex.stores.payload import DECODED, Payload, mtime_of
from clipindex.stores.points import Point, Vector
from clipindex.upkeep.verify.findings import Finding, Kind, finding

EQUAL = 1e-6  # between any two numbers: what the batch that a picture was in may change
LEAST_COSINE = 0.999  # across versions and processors
LARGE_FILE = 128 << 20  # bytes; such files are read one at a time, to bound the memory
GONE = "deleted or moved since it was indexed"


@dataclass(frozen=True, slots=True)
class Target:
    """A file to compare with its point. `ctime_ns`: its change time as the catalogue has it."""

    point: Point
    ctime_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What became of one file."""

    finding: Finding | None = None
    bytes: int | None = None  # None: it could not be read
    is_embedded: bool = False
    is_bit_equal: bool = False


@dataclass(frozen=True, slots=True)
class Embedder:
    """Computes embeddings anew. `is_exact`: on what the collection was made with, so that they
    must be equal; otherwise they must be close."""

    encoder: Encoder
    preprocessing: Preprocessing
    is_exact: bool

    @property
    def rule(self) -> str:
        """How embeddings are compared, in words."""
        if self.is_exact:
            return f"equal within {EQUAL:g} (the same libraries and processor)"
        return (
            f"cosine at least {LEAST_COSINE} (other libraries, processor or provider, or a server)"
        )

    def pixels(self, data: bytes, way: object) -> Pixels:
        """The picture's pixels, made in the `way` that its payload names. Raises FileFault."""
        in_full = self.preprocessing is Preprocessing.PREVIEWS and way == Way.FULL
        preprocessing = Preprocessing.DCT_SCALED if in_full else self.preprocessing
        return decode(data, self.encoder.bundle.image.geometry, preprocessing)[0]

    def compare(self, target: Target, size: int, vector: Vector) -> Compared:
        """An embedding against the one that is stored."""
        stored = target.point.vector
        largest = float(np.max(np.abs(vector - stored)))
        cosine = float(vector.astype(np.float64) @ stored.astype(np.float64))
        fault = None
        if cosine < LEAST_COSINE or not np.isfinite(cosine):
            fault = f"its embedding is another one: cosine {cosine:.4f} to the one stored"
        elif self.is_exact and largest > EQUAL:
            fault = f"its embedding differs from the one stored by {largest:.1e}, without a reason"
        return Compared(
            finding=_finding(Kind.VECTOR, target, fault) if fault else None,
            bytes=size,
            is_embedded=True,
            is_bit_equal=bool(np.array_equal(vector, stored)),
        )


class Comparer:
    """Compares files with their points. Safe to call from several threads."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._large = threading.Lock()
        self.at_once = embedder.encoder.batch if embedder is not None else 1

    def compare(self, targets: Sequence[Target]) -> list[Compared]:
        """What became of each file, in order; unchanged pictures are embedded together."""
        results: list[Compared] = []
        decoded: list[tuple[int, int, Pixels]] = []  # position, bytes, pixels
        for target in targets:
            large = self._large if _bytes_of(target.point.payload) >= LARGE_FILE else nullcontext()
            with large:
                result, pixels = self._read(target)
            if pixels is not None:
                decoded.append((len(results), result.bytes or 0, pixels))
            results.append(result)
        if decoded and self._embedder is not None:
            vectors = encode_pictures(self._embedder.encoder, [p for _, _, p in decoded])
            for (position, size, _), vector in zip(decoded, vectors, strict=True):
                results[position] = self._embedder.compare(targets[position], size, vector)
        return results

    def _read(self, target: Target) -> tuple[Compared, Pixels | None]:
        """What reading says, and where all is well the pixels, if they are to be embedded."""
        path = path_from_payload(target.point.payload)
        try:
            with file_system_of(path).open(path) as file:
                record, data = file.read()
        except FileFault as fault:
            kind = Kind.MISSING if fault.skipped else Kind.UNREADABLE
            reason = GONE if fault.skipped else fault.reason
            return Compared(finding=_finding(kind, target, reason)), None
        difference = _difference(target, record, data)
        if difference is not None:
            return Compared(finding=difference, bytes=len(data)), None
        if self._embedder is None:
            return Compared(bytes=len(data)), None
        try:
            way = target.point.payload.get(DECODED)
            return Compared(bytes=len(data)), self._embedder.pixels(data, way)
        except FileFault as fault:
            refused = _finding(Kind.UNREADABLE, target, f"no longer decodable: {fault.reason}")
            return Compared(finding=refused, bytes=len(data)), None


def _difference(target: Target, record: FileRecord, data: bytes) -> Finding | None:
    """A file with other bytes than were indexed. Size and time tell an edit from damage."""
    payload = target.point.payload
    if hashlib.sha256(data).hexdigest() == payload["sha256"]:
        return None
    if len(data) != payload["bytes"]:
        reason = f"changed since: {len(data):,} bytes, {_bytes_of(payload):,} when it was indexed"
        return _finding(Kind.CHANGED, target, reason)
    if record.mtime_ns != mtime_of(payload):
        return _finding(Kind.CHANGED, target, "changed since: edited after it was indexed")
    by_whom = ""
    if target.ctime_ns is not None and record.ctime_ns != target.ctime_ns:
        by_whom = ", or a program changed it and set the time back"
    reason = f"its bytes changed, its size and modification time did not: it decayed{by_whom}"
    return _finding(Kind.BIT_ROT, target, reason)


def _bytes_of(payload: Payload) -> int:
    return int(str(payload["bytes"]))


def _finding(kind: Kind, target: Target, reason: str) -> Finding:
    path = display_path(path_from_payload(target.point.payload))
    return finding(kind, path, target.point.id, reason)
