"""The files of an export: JSON lines with payloads, .npy files with vectors, and a manifest.

The manifest, export.json, is written last. It contains the contract and, for each pair of files,
the number of points and both SHA-256 sums. Only files with our own names are ever written over
or deleted; anything else in the folder is left alone.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipindex.collection.contract import StoredContract
from clipindex.errors import DiskFull, StoreError, UsageError, VerificationFailed
from clipindex.files.durable import write_durably
from clipindex.stores.points import POINTS_AT_ONCE, Point

FORMAT = 1
MANIFEST = "export.json"
EXPORT_FILE = re.compile(r"(points-\d{5}\.jsonl|vectors-\d{5}\.npy|export\.json)(\.partial)?")


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
    points: int
    files: tuple[FilePair, ...]


def prepare_folder(folder: Path, origin: tuple[str, str]) -> None:
    """Create the folder and invalidate an earlier export of the same collection in it.

    Raises UsageError where the folder contains another collection's export, or an export.json
    that is not ours.
    """
    manifest = folder / MANIFEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if manifest.exists():
            name, collection = json.loads(manifest.read_text("utf-8"))["of"]
            if (name, collection) != origin:
                raise _occupied(folder, f"an export of another collection, {collection!r}")
            manifest.unlink()  # until the new export is complete
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", path=str(folder)) from error
    except (ValueError, KeyError, TypeError):
        raise _occupied(folder, f"another program's {MANIFEST}, or a damaged one") from None


def _occupied(folder: Path, content: str) -> UsageError:
    return UsageError(
        f"the folder contains {content}",
        path=str(folder),
        hint="name a new folder, or one with an earlier export of the same collection",
    )


def write_pair(folder: Path, number: int, batch: Sequence[Point]) -> FilePair:
    """Write one pair of files, each complete or not at all; an equal file is left alone."""
    records = ({"id": str(point.id), "payload": point.payload} for point in batch)
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    vectors = io.BytesIO()
    np.save(vectors, np.stack([point.vector for point in batch]))
    lines_path, vectors_path = _pair_paths(folder, number)
    sums = (
        _write_if_new(lines_path, lines),
        _write_if_new(vectors_path, vectors.getvalue()),
    )
    return FilePair(len(batch), sums)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Complete an export: delete our files of an earlier, larger one, then write the manifest."""
    current = {
        path for number in range(len(manifest.files)) for path in _pair_paths(folder, number)
    }
    raw = {
        "format": FORMAT,
        "of": manifest.origin,
        "contract": asdict(manifest.contract),
        "source": manifest.source,
        "roots": [
            {"path": base64.b64encode(path).decode(), "options": options}
            for path, options in manifest.roots.items()
        ],
        "points": manifest.points,
        "files": [asdict(pair) for pair in manifest.files],
    }
    with _disk_errors(folder):
        for path in folder.iterdir():
            if path not in current and EXPORT_FILE.fullmatch(path.name) and path.is_file():
                path.unlink()
        write_durably(folder / MANIFEST, json.dumps(raw, indent=1).encode())


def read_manifest(folder: Path) -> Manifest:
    """Raises StoreError where the export is incomplete or its manifest cannot be read."""
    try:
        raw = json.loads((folder / MANIFEST).read_text("utf-8"))
        name, collection = raw["of"]
        return Manifest(
            origin=(name, collection),
            contract=StoredContract.from_json(raw["contract"]),
            source=str(raw["source"]),
            roots={base64.b64decode(root["path"]): root["options"] for root in raw["roots"]},
            points=int(raw["points"]),
            files=tuple(FilePair(pair["points"], tuple(pair["sha256"])) for pair in raw["files"]),
        )
    except FileNotFoundError:
        raise StoreError(
            "the folder contains no complete export",
            path=str(folder),
            hint="run clipindex export again",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the export cannot be read: {error}", path=str(folder)) from error


def read_pairs(folder: Path, files: Sequence[FilePair]) -> Iterator[list[Point]]:
    """The points of all files, in batches. Raises VerificationFailed for a file whose SHA-256 is
    not the manifest's, StoreError for one that cannot be read."""
    for number, pair in enumerate(files):
        lines_path, vectors_path = _pair_paths(folder, number)
        try:
            lines, vectors = lines_path.read_bytes(), vectors_path.read_bytes()
        except OSError as error:
            raise StoreError(f"the export cannot be read: {error.strerror}") from error
        if (_sha256(lines), _sha256(vectors)) != pair.sha256:
            raise VerificationFailed(
                "a file of the export is not what was written",
                path=str(lines_path),
                hint="export again, or restore the file",
            )
        records = [json.loads(line) for line in lines.splitlines()]
        points = [
            Point(uuid.UUID(record["id"]), vector, record["payload"])
            for record, vector in zip(
                records, np.load(io.BytesIO(vectors), allow_pickle=False), strict=True
            )
        ]
        for start in range(0, len(points), POINTS_AT_ONCE):
            yield points[start : start + POINTS_AT_ONCE]


def _pair_paths(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"points-{number:05d}.jsonl", folder / f"vectors-{number:05d}.npy"


def _write_if_new(path: Path, data: bytes) -> str:
    """Write a file unless it has this content already; returns the SHA-256 of `data`."""
    with _disk_errors(path):
        if not (path.is_file() and path.read_bytes() == data):
            write_durably(path, data)
    return _sha256(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turns OSError into DiskFull or StoreError."""
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(
            f"the export cannot be written: {error.strerror}",
            path=str(path),
            hint="run the same command again once it can; complete files are kept",
        ) from error
