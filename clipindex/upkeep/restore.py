"""Restoring a backup: built and verified aside, then put in its place in one step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.endings import noted_refusal
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.lock import LockFile, locked
from clipindex.collection.place import Place
from clipindex.collection.sharing.hold import wait_for
from clipindex.errors import ClipIndexError, Refused, VerificationFailed
from clipindex.files.durable import disk_errors
from clipindex.files.replacing import as_it_is, go_back, new_beside, old_beside, replace, settle
from clipindex.upkeep import transfer
from clipindex.upkeep.backup import MANIFEST, BackupManifest, embedded, folder_of, read_backup
from clipindex.upkeep.export_reading import read_manifest

Progress = Callable[[int, int], object]  # called with the points done, and with their total


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored; `created` (ISO 8601, UTC) and `clipindex` are the backup's."""

    points: int
    created: str
    clipindex: str


def restore(
    directory: Path,
    place: Place,
    progress: Progress = lambda _done, _total: None,
    *,
    replaces: bool = False,
) -> Restored:
    """Make a collection from its backup; `directory` is the one that `backup` was given, or the
    backup in it. All of the backup is verified before anything is written.

    Raises Refused where the collection exists, unless `replaces`: it is then kept until the new
    one is in its place and opens. Raises UsageError on a server, StoreError where there is no
    backup, VerificationFailed where it is damaged.
    """
    place = embedded(place, "restore", "`clipindex import`, which reads a backup as well")
    with disk_errors(directory, "the backup cannot be read"):
        folder = directory if (directory / MANIFEST).is_file() else folder_of(directory, place)
    aside = place.store / f".restoring-{place.collection}"
    with disk_errors(place.store, "the collection cannot be restored"):
        try:
            _refuse_to_replace(place, replaces)
        except Refused:
            _tidy_up(place, aside)
            raise
        manifest = read_backup(folder)
        aside.mkdir(parents=True, exist_ok=True)
        with locked(aside / "lock", "restore", 0):
            built = _build(as_it_is(folder), aside, place, manifest, progress)
            _put_in_place(built, place, manifest, replaces)
        shutil.rmtree(aside, ignore_errors=True)
    return Restored(points=manifest.points, created=manifest.created, clipindex=manifest.clipindex)


def _refuse_to_replace(place: FolderPlace, replaces: bool) -> None:
    if not replaces and (place.contract.exists() or place.shard.exists()):
        raise Refused(
            "the collection exists",
            path=str(place.folder),
            hint="restore into another --collection or --store, or replace it with --replace",
        )


def _tidy_up(place: FolderPlace, aside: Path) -> None:
    """Delete what a restore left that was killed when its collection was in place; but never one
    that it had replaced."""
    old = old_beside(place.folder)
    if aside.exists() and not (old / "contract.json").exists() and not (old / "shard").exists():
        with suppress(ClipIndexError), locked(aside / "lock", "restore", 0):
            settle(place.folder)
            shutil.rmtree(aside, ignore_errors=True)


def _build(
    folder: Path, aside: Path, place: FolderPlace, manifest: BackupManifest, progress: Progress
) -> FolderPlace:
    """The collection, complete and verified, in a store of its own."""
    shutil.rmtree(aside / place.collection, ignore_errors=True)
    source = read_manifest(folder).source
    built = FolderPlace(aside, place.collection, source)
    transfer.import_(folder, built, progress)
    for name in manifest.files:
        if name.startswith("catalogue"):
            for end in ("", "-wal", "-shm"):
                (built.folder / (name + end)).unlink(missing_ok=True)
            shutil.copyfile(folder / name, built.folder / name)
            Catalogue(built.folder / name).close()  # one of a newer clipindex is refused here
    _check_count(built, manifest)
    return built


def _put_in_place(
    built: FolderPlace, place: FolderPlace, manifest: BackupManifest, replaces: bool
) -> None:
    place.folder.mkdir(exist_ok=True)
    with closing(LockFile(place.lock)) as file:
        with noted_refusal(place.locate(), "restore"):
            wait_for(file, place.patience)
        file.sign("restore")
        _refuse_to_replace(place, replaces)  # it may have been made meanwhile
        settle(place.folder)
        built.folder.rename(new_beside(place.folder))
        replace(place.folder)
        try:
            _check_count(place, manifest)
        except BaseException:
            go_back(place.folder)
            raise
        settle(place.folder)


def _check_count(place: FolderPlace, manifest: BackupManifest) -> None:
    with place.open_for_reading(place.locate().require(), "restore") as points:
        count = points.count()
    if count != manifest.points:
        raise VerificationFailed(
            f"the restored collection has {count:,} points, the backup {manifest.points:,}",
            path=str(place.folder),
            hint="what was there before is unchanged; run the same command again",
        )
