"""The place of an embedded store: permissions, free space, file system, locks, the engine."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.lock import locked
from clipindex.errors import StoreError
from clipindex.files.durable import free_space, may_write
from clipindex.stores.edge import HEADROOM, EdgePoints
from clipindex.stores.points import Point
from clipindex.upkeep.doctor.checks import Check, guarded, note, ok, problem
from clipindex.upkeep.doctor.folders import may_read

MOUNTS = Path("/proc/self/mounts")
NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afs|9p|ceph|lustre|beegfs|gpfs|davfs|glusterfs"
    r"|fuse\.(sshfs|rclone|s3fs|glusterfs|ceph|smbnetfs|davfs2?|gvfsd-fuse|juicefs)"
)
COMFORT = 1 << 30  # bytes; less may not last for the next run


def check_store(place: FolderPlace) -> Iterator[Check]:
    """Everything about the folder, but the collection in it."""
    yield from guarded("store", lambda: _permissions(place))
    nearest = existing(place.store)
    yield from guarded("free space", lambda: _space(nearest))
    yield from guarded("file system", lambda: file_system_check(nearest))
    yield from guarded("locks and engine", lambda: _trial(nearest))


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _permissions(place: FolderPlace) -> Check:
    store = place.store
    if not os.path.lexists(store):
        above = existing(store)
        if may_write(above):
            return ok("store", f"{store} (the first ingest makes it)")
        hint = "name another with --store, or fix the permissions"
        return problem("store", f"{store} cannot be made: {above} may not be written to", hint)
    if not store.is_dir():
        return problem("store", f"{store} is not a folder", "name another with --store")
    own = [store, *_below(place.folder)]
    if unreadable := [path for path in own if not may_read(path) and os.path.lexists(path)]:
        text = f"{unreadable[0]} cannot be read"
        return problem("store", text, f"chown -R {_user()} {store}")
    if locked_out := [path for path in own if not may_write(path) and os.path.lexists(path)]:
        text = f"{locked_out[0]} may only be read: queries work, an ingest does not"
        return note("store", text, f"to ingest: chown -R {_user()} {store}")
    return ok("store", str(store))


def _below(folder: Path) -> list[Path]:
    """A folder and all in it; the engine of another process may delete and rename meanwhile."""
    return [
        path
        for parent, _, names in os.walk(folder)
        for path in (Path(parent), *(Path(parent, name) for name in names))
    ]


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "you"


def _space(folder: Path) -> Check:
    free = free_space(folder)
    text = f"{free / 2**30:,.1f} GiB where the store is"
    if free < HEADROOM:
        hint = f"an ingest needs {HEADROOM >> 20} MiB before each batch: free some"
        return problem("free space", text, hint)
    return note("free space", text, "soon too little") if free < COMFORT else ok("free space", text)


def file_system_check(folder: Path, mounts: Path = MOUNTS) -> Check:
    """Whether the folder lies on a file system that other machines share."""
    kind = mounted_as(folder, mounts)
    if kind is None:
        return ok("file system", "unknown here")
    if NETWORK.fullmatch(kind):
        hint = (
            "a local disk is faster and safer (--store). Keep to one machine at a time, and look "
            "at the line about locks"
        )
        return note("file system", f"{kind}, a network file system", hint)
    return ok("file system", kind)


def mounted_as(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system that a folder lies on, as Linux names it; None elsewhere."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    path, best, kind = os.path.realpath(folder), "", None
    for fields in (line.split(" ") for line in lines if line.count(" ") >= 3):
        point = re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one is on top
            best, kind = point, fields[2]
    return kind


def _trial(nearest: Path) -> Iterator[Check]:
    """A lock and a shard of our own, where the store is, gone at the end."""
    with _trial_folder(nearest) as (folder, where):
        lock = folder / "lock"
        try:
            with locked(lock, "doctor"):
                pass
            yield ok("locks", f"files can be locked {where}")
        except StoreError as error:
            yield problem("locks", error.message, error.hint)
        yield from guarded("engine", lambda: _engine(folder / "shard", where))


@contextmanager
def _trial_folder(nearest: Path) -> Iterator[tuple[Path, str]]:
    """A temporary folder beside the store's files, or in TMPDIR where that may not be."""
    beside = nearest if may_write(nearest) else None
    where = "where the store is" if beside else "in TMPDIR (the store may only be read)"
    with tempfile.TemporaryDirectory(prefix=".clipindex-doctor-", dir=beside) as name:
        yield Path(name), where


def _engine(shard: Path, where: str) -> Check:
    """Write points, close, open again, read back."""
    vectors = np.eye(3, 8, dtype=np.float32)
    batch = [Point(uuid.uuid4(), vector, {"sha256": str(n)}) for n, vector in enumerate(vectors)]
    with closing(EdgePoints(shard, 8)) as points:
        points.upsert(batch)
        points.flush()
    with closing(EdgePoints(shard, 8, make=False)) as points:
        stored = points.retrieve([point.id for point in batch])
        nearest = points.search(vectors[1], limit=1)
        same = all(point.id in stored and points.same(point, stored[point.id]) for point in batch)
    if not same or [hit.sha256 for hit in nearest] != ["1"]:
        hint = "suspect the disk or the memory; reinstall qdrant-edge-py"
        return problem("engine", f"what was read back {where} is not what was written", hint)
    return ok("engine", f"opens, writes, reads back and searches {where}")
