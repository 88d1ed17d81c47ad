"""Writing an export: JSON lines with payloads, .npy files with vectors, and a manifest.

The manifest, export.json, is written last. It contains the contract and, for each pair of files,
the number of points and both SHA-256 sums, which are those of the bytes in memory: an old file
that was damaged on the disk is replaced. Only files with our own names are ever written over or
deleted; anything else in the folder is left alone.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from clipindex.collection.questions import standing_to_json
from clipindex.errors import DiskFull, StoreError, UsageError, VerificationFailed
from clipindex.files.durable import write_durably
from clipindex.stores.points import Point
from clipindex.upkeep.export_reading import (
    FORMAT,
    LONGEST_LINE,
    MANIFEST,
    FilePair,
    Manifest,
    pair_paths,
    read_json,
)

EXPORT_FILE = re.compile(r"(points-\d{5}\.jsonl|vectors-\d{5}\.npy|export\.json)(\.partial)?")


def prepare_folder(folder: Path, origin: tuple[str, str]) -> None:
    """Create the folder and invalidate an earlier export of the same collection in it.

    Raises UsageError where the folder contains another collection's export, or an export.json
    that is not ours.
    """
    manifest = folder / MANIFEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if manifest.exists():
            name, collection = read_json(manifest)["of"]
            if (name, collection) != origin:
                raise _occupied(folder, f"an export of another collection, {collection!r}")
            manifest.unlink()  # until the new export is complete
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if is_file else error.strerror
        raise UsageError(
            f"no folder can be made or written there: {reason}",
            path=str(folder),
            hint="name another folder, or one with an earlier export of the same collection",
        ) from error
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
    lines = b"".join(map(_line, batch))
    vectors = io.BytesIO()
    np.save(vectors, np.stack([point.vector for point in batch]))
    lines_path, vectors_path = pair_paths(folder, number)
    sums = (
        _write_if_new(lines_path, lines),
        _write_if_new(vectors_path, vectors.getvalue()),
    )
    return FilePair(len(batch), sums)


def _line(point: Point) -> bytes:
    record = {"id": str(point.id), "payload": point.payload}
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        raise VerificationFailed(
            f"the payload is larger than {LONGEST_LINE >> 20} MiB",
            path=str(point.payload.get("path")),
            hint="shorten its tags",
        )
    return line


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Complete an export: delete our files of an earlier, larger one, then write the manifest."""
    current = {path for number in range(len(manifest.files)) for path in pair_paths(folder, number)}
    raw = {
        "format": FORMAT,
        "of": manifest.origin,
        "contract": manifest.contract.to_json(),
        "source": manifest.source,
        "roots": [
            {"path": base64.b64encode(path).decode(), "options": options}
            for path, options in manifest.roots.items()
        ],
        "accepted": [
            {"path": base64.b64encode(path).decode(), "bytes": size, "mtime_ns": mtime_ns}
            for path, size, mtime_ns in manifest.accepted
        ],
        "verdicts": {
            "different": [
                [one.hex(), other.hex(), made]
                for (one, other), made in manifest.verdicts.different.items()
            ],
            "keep": [[one.hex(), made] for one, made in manifest.verdicts.keep.items()],
        },
        "standing": standing_to_json(manifest.standing),
        "points": manifest.points,
        "files": [asdict(pair) for pair in manifest.files],
    }
    with _disk_errors(folder):
        for path in folder.iterdir():
            if path not in current and EXPORT_FILE.fullmatch(path.name) and path.is_file():
                path.unlink()
        write_durably(folder / MANIFEST, json.dumps(raw, indent=1).encode())


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
