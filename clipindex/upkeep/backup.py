"""Backing up an embedded collection: an export of its points, and its catalogues beside it.

    DIR/clipindex-COLLECTION/
        backup.json                          sizes and SHA-256 of all other files; written last
        export.json, points-*, vectors-*     as `export` writes them: `import` reads them too
        catalogue*.sqlite                    roots and their options, quarantine, runs

The engine's own files are not copied: those of a running engine do not fit together, and a newer
engine may not read them. The points are read through the engine under the collection's lock, so
nothing changes meanwhile; queries are answered. A backup takes its name when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipindex._version import __version__
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.opening import open_as_it_is
from clipindex.collection.place import Place
from clipindex.collection.readable_catalogue import copy_catalogue
from clipindex.errors import StoreError, UsageError, VerificationFailed
from clipindex.files.durable import disk_errors
from clipindex.files.identity import escaped
from clipindex.files.replacing import as_it_is, built_beside, replace, settle
from clipindex.upkeep.export_reading import read_json
from clipindex.upkeep.transfer import write_export

FORMAT = 1
MANIFEST = "backup.json"
CATALOGUES = "catalogue*.sqlite"
OTHER_FOLDER = "name another folder"

Progress = Callable[[int, int], object]  # called with the points done, and with their total


@dataclass(frozen=True, slots=True)
class BackedUpFile:
    """A file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest:
    """What a backup says of itself."""

    origin: tuple[str, str]  # the store's name and the collection's
    created: str  # ISO 8601, UTC
    clipindex: str  # the version that made it
    points: int
    files: dict[str, BackedUpFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A finished backup."""

    folder: str
    points: int
    bytes: int
    seconds: float


def backup(place: Place, directory: Path, progress: Progress = lambda _d, _t: None) -> Backup:
    """Write a backup into `directory`, in place of an earlier one of the same collection, which
    stays until the new one is complete.

    Raises UsageError on a server, and where something else has the backup's name;
    VerificationFailed for a damaged point.
    """
    started = time.monotonic()
    place = embedded(place, "back up", "a snapshot of the server's, or `clipindex export`")
    folder = folder_of(directory, place)
    with disk_errors(directory, "the backup cannot be written", OTHER_FOLDER):
        directory.mkdir(parents=True, exist_ok=True)
    with (
        open_as_it_is(place, "backup") as (collection, stored),
        disk_errors(folder, "the backup cannot be written", OTHER_FOLDER),
    ):
        live = collection.place  # of two generations this one
        assert isinstance(live, FolderPlace)  # as the place itself
        _check_that_it_is_free(folder, (place.name, place.collection))
        with built_beside(folder) as new:
            new.mkdir()
            points = write_export(collection.points, live, stored, new, progress)
            for catalogue in live.files.glob(CATALOGUES):
                copy_catalogue(catalogue, new / catalogue.name)
            files = {path.name: _described(path) for path in sorted(new.iterdir())}
            manifest = BackupManifest(
                origin=(place.name, place.collection),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                clipindex=__version__,
                points=points,
                files=files,
            )
            text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
            (new / MANIFEST).write_text(text, "utf-8")
            replace(folder)
        settle(folder)
    return Backup(
        folder=str(folder),
        points=points,
        bytes=sum(file.bytes for file in files.values()),
        seconds=time.monotonic() - started,
    )


def embedded(place: Place, action: str, instead: str) -> FolderPlace:
    """Raises UsageError for a collection on a server."""
    if not isinstance(place, FolderPlace):
        raise UsageError(
            f"only an embedded store is one to {action}, not a collection on a server",
            hint=f"take {instead}",
        )
    return place


def folder_of(directory: Path, place: FolderPlace) -> Path:
    """The backup of a collection in a folder of backups."""
    return directory / f"clipindex-{place.collection}"


def read_backup(folder: Path) -> BackupManifest:
    """The manifest of a backup, after every file was compared with it.

    Raises StoreError where there is no complete backup that this version can read,
    VerificationFailed for a file that is not what was written.
    """
    with disk_errors(folder, "the backup cannot be read"):
        folder = as_it_is(folder)
        manifest = _read_manifest(folder)
    for name, file in manifest.files.items():
        with disk_errors(folder / name, "the backup cannot be read"):
            if _described(folder / name) != file:
                raise VerificationFailed(
                    "a file of the backup is not what was written; nothing was restored",
                    path=str(folder / name),
                    hint="take an older backup, or restore that file",
                )
    return manifest


def _read_manifest(folder: Path) -> BackupManifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(
            "there is no backup in this folder",
            path=str(folder),
            hint="name the folder that `clipindex backup` was given, and its --collection",
        )
    try:
        raw: Any = read_json(path)
        if raw["format"] != FORMAT:
            raise StoreError(
                f"clipindex {escaped(str(raw.get('clipindex'))[:20])} made this backup, in format "
                f"{escaped(str(raw['format'])[:20])}; this one, {__version__}, reads {FORMAT}",
                path=str(path),
                hint="update clipindex",
            )
        store, collection = raw["origin"]
        files = {
            _plain(name): BackedUpFile(int(file["bytes"]), str(file["sha256"]))
            for name, file in raw["files"].items()
        }
        return BackupManifest(
            origin=(str(store), str(collection)),
            created=str(raw["created"]),
            clipindex=str(raw["clipindex"]),
            points=int(raw["points"]),
            files=files,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the backup's list of files cannot be read: {escaped(str(error)[:300])}",
            path=str(path),
            hint="take another backup",
        ) from error


def _check_that_it_is_free(folder: Path, origin: tuple[str, str]) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        before = _read_manifest(folder).origin
    except StoreError as error:
        raise UsageError(
            "this folder exists and is no backup", path=str(folder), hint=OTHER_FOLDER
        ) from error
    if before != origin:
        raise UsageError(
            f"the folder has a backup of another store, {before[0]}",
            path=str(folder),
            hint=OTHER_FOLDER,
        )


def _plain(name: str) -> str:
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"it names a file elsewhere: {name!r}")
    return name


def _described(path: Path) -> BackedUpFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BackedUpFile(path.stat().st_size, digest)
