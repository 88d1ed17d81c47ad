"""Reading an export. Nothing in it is trusted: every file may come from elsewhere.

Whatever is read is bounded, and every value is checked before a point is handed on.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clipindex.collection.contract import StoredContract, foreign_contract
from clipindex.collection.questions import Standing, standing_from_json
from clipindex.collection.verdicts import Verdicts, apart
from clipindex.errors import StoreError, UsageError, VerificationFailed
from clipindex.files.identity import escaped
from clipindex.files.walk import WalkPolicy
from clipindex.stores.payload import check_key
from clipindex.stores.points import POINTS_AT_ONCE, Point
from clipindex.stores.validation import healed, point_fault

FORMAT = 1
MANIFEST = "export.json"
POINTS_PER_FILE = 10_000
LARGEST_MANIFEST = 64 << 20  # bytes; 200 for each pair of files
LONGEST_LINE = 16 << 20  # bytes; a point has less than 4,000 unless its path is very deep


Accepted = tuple[bytes, int, int]  # a file in quarantine that was accepted: path, size, mtime_ns


@dataclass(frozen=True, slots=True)
class FilePair:
    """One pair of files: its number of points, and the SHA-256 sums of lines and vectors."""

    points: int
    sha256: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an export contains; `origin` is the place's name and the collection's."""

    origin: tuple[str, str]
    contract: StoredContract
    source: str
    roots: dict[bytes, dict[str, Any]]
    accepted: tuple[Accepted, ...]
    verdicts: Verdicts
    standing: Standing
    points: int
    files: tuple[FilePair, ...]


def pair_paths(folder: Path, number: int) -> tuple[Path, Path]:
    """The files of a pair: lines and vectors."""
    return folder / f"points-{number:05d}.jsonl", folder / f"vectors-{number:05d}.npy"


def read_manifest(folder: Path) -> Manifest:
    """Raises StoreError where the export is incomplete, or its manifest is not one that this
    version can read."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        reason = "no complete export in this folder"
        if not os.path.isdir(folder):
            is_file = os.path.isfile(folder)
            reason = "this is a file, not the folder of an export" if is_file else "no such folder"
        raise StoreError(
            reason,
            path=str(folder),
            hint="correct the path, or run clipindex export again",
        )
    with _reading(path):
        raw = read_json(path)
        if raw["format"] != FORMAT:
            raise _newer(path, raw["format"])
        name, collection = raw["of"]
        manifest = Manifest(
            origin=(_str(name), _str(collection)),
            contract=foreign_contract(raw["contract"]),
            source=_str(raw["source"]),
            roots=dict(map(_root, raw["roots"])),
            accepted=tuple(map(_accepted, raw.get("accepted", ()))),  # earlier versions: none
            verdicts=_verdicts(raw.get("verdicts", {})),
            standing=standing_from_json(raw.get("standing", {})),
            points=_int(raw["points"]),
            files=tuple(map(_pair, raw["files"])),
        )
        if sum(pair.points for pair in manifest.files) != manifest.points:
            raise ValueError("the numbers of points in it do not add up")
    return manifest


def read_points(folder: Path, manifest: Manifest) -> Iterator[list[Point]]:
    """The points of all files, in batches, each of them valid.

    Raises VerificationFailed for a file whose SHA-256 is not the manifest's, StoreError for one
    that cannot be read or contains an invalid point; it names file and line.
    """
    for number, pair in enumerate(manifest.files):
        lines_path, vectors_path = pair_paths(folder, number)
        vectors = _read_vectors(vectors_path, pair, manifest.contract.contract.dimension)
        with _reading(lines_path), _open(lines_path) as lines:
            if hashlib.file_digest(lines, "sha256").hexdigest() != pair.sha256[0]:
                raise _damaged(lines_path)
            lines.seek(0)
            points = _parse_lines(lines, vectors)
            while batch := list(islice(points, POINTS_AT_ONCE)):
                yield batch


def read_json(path: Path) -> Any:
    """A JSON file. Raises OSError, or ValueError where it is too large or not JSON."""
    with _open(path) as file:
        data = file.read(LARGEST_MANIFEST + 1)
    if len(data) > LARGEST_MANIFEST:
        raise ValueError(f"it is larger than {LARGEST_MANIFEST >> 20} MiB")
    return _parse_json(data)


def _parse_lines(lines: io.BufferedReader, vectors: np.ndarray[Any, Any]) -> Iterator[Point]:
    """One point for each vector. Raises ValueError naming the line."""
    for number, vector in enumerate(vectors, 1):
        line = lines.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number} is longer than {LONGEST_LINE >> 20} MiB")
        try:
            record = _parse_json(line)
            point = healed(Point(uuid.UUID(record["id"]), vector, dict(record["payload"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"line {number} is not a point: {error}") from error
        fault = point_fault(point, len(vector))
        if fault is not None:
            raise ValueError(f"line {number} is not a valid point: {fault}")
        yield point
    if lines.read(1):
        raise ValueError("it has more lines than there are vectors")


def _read_vectors(path: Path, pair: FilePair, dimension: int) -> np.ndarray[Any, Any]:
    """float32 [points, dimension]."""
    largest = pair.points * dimension * 4 + 10_000  # and a header
    with _reading(path):
        with _open(path) as file:
            data = file.read(largest + 1)
        if hashlib.sha256(data).hexdigest() != pair.sha256[1]:
            raise _damaged(path)
        vectors = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.shape != (pair.points, dimension):
            raise ValueError(f"it is not {pair.points} vectors of {dimension} float32 numbers")
        return np.ascontiguousarray(vectors)


def _root(raw: Any) -> tuple[bytes, dict[str, Any]]:
    """A remembered root and its options, as `reindex` will need them."""
    path = base64.b64decode(raw["path"], validate=True)
    options = raw["options"]
    WalkPolicy(**options["policy"])  # raises TypeError for a name that it does not have
    policy: dict[str, Any] = {}
    for name, default in asdict(WalkPolicy()).items():
        value = options["policy"].get(name, default)
        if isinstance(default, bool) and not isinstance(value, bool):
            raise TypeError(f"'{name}' of a folder in it is not true or false")
        policy[name] = value if isinstance(default, bool) else [_str(glob) for glob in value]
    tags = {_str(key): _str(value) for key, value in options["tags"].items()}
    for key in tags:
        check_key(key)
    return path, {"policy": policy, "tags": tags}


def _accepted(raw: Any) -> Accepted:
    path = base64.b64decode(raw["path"], validate=True)
    size, mtime_ns = _int(raw["bytes"]), _int(raw["mtime_ns"])
    if not all(-(2**63) <= number < 2**63 for number in (size, mtime_ns)):
        raise ValueError("it contains a number that is out of range")
    return path, size, mtime_ns


def _verdicts(raw: Any) -> Verdicts:
    """What people decided about duplicates; earlier versions: nothing."""
    return Verdicts(
        different={
            apart(_digest(one), _digest(other)): _str(made)
            for one, other, made in raw.get("different", ())
        },
        keep={_digest(one): _str(made) for one, made in raw.get("keep", ())},
    )


def _digest(raw: Any) -> bytes:
    digest = bytes.fromhex(_str(raw))
    if len(digest) != 32:
        raise ValueError("it contains a SHA-256 of another length")
    return digest


def _pair(raw: Any) -> FilePair:
    lines, vectors = raw["sha256"]
    points = _int(raw["points"])
    if not 1 <= points <= POINTS_PER_FILE:
        raise ValueError(f"a file of {points} points")
    return FilePair(points, (_str(lines), _str(vectors)))


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, not {type(value).__name__}")
    value.encode()  # no lone surrogates
    return value


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"a whole number is expected, not {type(value).__name__}")
    return value


def _open(path: Path) -> io.BufferedReader:
    """Opens regular files only: a pipe would block, and a device need not end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    return path.open("rb")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a bad file raises into StoreError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(
            f"the export cannot be read: {escaped(str(reason)[:300])}",
            path=str(path),
            hint="export the collection again; nothing was imported",
        ) from error


def _damaged(path: Path) -> VerificationFailed:
    return VerificationFailed(
        "a file of the export is not what was written",
        path=str(path),
        hint="export again, or restore the file",
    )


def _newer(path: Path, version: object) -> StoreError:
    return StoreError(
        f"the export has format {escaped(str(version)[:20])}; this clipindex reads {FORMAT}",
        path=str(path),
        hint="import it with the clipindex that made it, or update this one",
    )
