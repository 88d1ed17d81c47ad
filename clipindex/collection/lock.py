"""One lock for each collection: a second process is refused before it can open the engine."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import filelock

from clipindex.errors import CollectionBusy, StoreError
from clipindex.files.durable import CHECK, disk_errors

if sys.platform != "win32":
    import fcntl

PATIENCE = 10.0  # seconds a run waits for the lock, unless it is told otherwise
QUERY = "query"
KEPT_OPEN = "an open Index"  # it hands over to a writer
POLL = 0.02  # seconds between two attempts
LONGEST_NOTE = 5000  # bytes read of a lock file; a note has about 120
WAIT = "wait until it is done and try again, or let the command wait for it: --wait 30m"

# What flock answers where a file system has no locks, depending on the kernel and the mount.
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
# No links: the note of a run would overwrite the file that a planted one leads to.
FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a holder writes into the lock file, for those who are refused meanwhile."""

    pid: int
    purpose: str  # the command
    since: str  # local time, ISO 8601
    socket: str | None = None  # where it answers; None: it does not

    def __str__(self) -> str:
        return f"{self.purpose}, process {self.pid}, since {self.since}"


class LockFile:
    """The lock file of a collection, open. `try_to_take` holds it until `close`; the kernel frees
    it when the process dies, however it dies."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        """Open the file, creating a missing one. With `reading` a file that may only be read will
        do, or none where none can be created. Raises StoreError, DiskFull."""
        self.path = path
        with disk_errors(path, "the collection's lock cannot be taken"):
            self._handle, self.alone = _open_for_reading(path) if reading else (_open(path), True)

    def try_to_take(self) -> bool:
        """Whether the lock was free: it is held from now on. `alone` says whether by nobody else,
        or together with other readers, who must not write to the collection.

        Raises StoreError when the file is not ours or its file system has no locks,
        CollectionBusy when it was deleted meanwhile.
        """
        if self._handle is None:  # no lock file in a read-only folder: no writer either
            return True
        if not _try(self._handle, self.path, shared=not self.alone):
            return False
        if self.alone:
            _check_that_it_locks(self._handle, self.path)
            _check_that_it_is_ours(self._handle, self.path)
        return True

    def sign(self, purpose: str, socket: str | None = None) -> None:
        """Say who holds the lock. The note helps whoever is refused; no run fails for want of it,
        as on a full disk."""
        if self._handle is None or not self.alone:
            return
        since = datetime.now().isoformat(timespec="seconds")
        note = {"pid": os.getpid(), "purpose": purpose, "since": since}
        data = json.dumps(note if socket is None else {**note, "socket": socket}).encode()
        with suppress(OSError):
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, data)
            os.ftruncate(self._handle, len(data))

    def close(self) -> None:
        """Free the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextmanager
def locked(path: Path, purpose: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a collection whose holder answers nobody: on a server, that one does.

    Raises CollectionBusy, naming the holder, after `patience` seconds; and as `LockFile` does.
    """
    with closing(LockFile(path)) as file:
        deadline = time.monotonic() + patience
        while not file.try_to_take():
            if time.monotonic() > deadline:
                raise busy(path)
            time.sleep(POLL)
        file.sign(purpose)
        yield


def holder_of(path: Path) -> Note | None:
    """Who signed the lock file last; None for a file without a note, such as a new one."""
    try:
        with open(path, "rb") as file:
            note = json.loads(file.read(LONGEST_NOTE))
        socket = note.get("socket")
        return Note(
            pid=int(note["pid"]),
            purpose=str(note["purpose"]),
            since=str(note["since"]),
            socket=None if socket is None else str(socket),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def busy(path: Path, reason: str = "", hint: str = WAIT) -> CollectionBusy:
    """The error of whoever is refused; `reason` says why the holder did not answer."""
    holder = holder_of(path) or "by another process"
    message = f"the collection is in use: {holder}" + (f"; {reason}" if reason else "")
    return CollectionBusy(message, path=str(path.parent), hint=hint)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o666)


def _open_for_reading(path: Path) -> tuple[int | None, bool]:
    """The lock file's descriptor and whether it is writable. None: there is no such file in a
    folder that may not be written, and so no writer either."""
    try:
        return _open(path), True
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | FLAGS), False
    return None, False


def _try(handle: int, path: Path, *, shared: bool) -> bool:
    """Whether the lock was free. Windows, which has no shared one here, takes it alone."""
    try:
        if sys.platform == "win32" or not shared:
            return filelock.lock_descriptor(handle, blocking=False)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise _without_locks(path, f"flock: {error.strerror}") from error
        raise StoreError(
            f"the collection's lock cannot be taken: {error.strerror}",
            path=str(path),
            hint=CHECK,
        ) from error
    return True


def _check_that_it_locks(handle: int, path: Path) -> None:
    """Some mounts grant every lock. A second descriptor must be refused what the first one has."""
    with disk_errors(path, "the collection's lock cannot be checked"):
        second = os.open(path, os.O_RDWR | FLAGS)
    try:
        with disk_errors(path, "the collection's lock cannot be checked"):
            is_the_same = os.path.samestat(os.fstat(handle), os.fstat(second))
        if not is_the_same:
            raise CollectionBusy(
                "the collection's lock was deleted while this run waited for it",
                path=str(path),
                hint="try again",
            )
        if _try(second, path, shared=False):
            raise _without_locks(path, "it grants the same lock twice")
    finally:
        os.close(second)


def _without_locks(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"the file system does not lock files ({reason}), so nothing would keep two runs apart",
        path=str(path),
        hint="mount it with locks (Lustre: option flock; NFS: without nolock, lockd running; SMB: "
        "without nobrl), or use a local disk (--store; for a server's lock XDG_STATE_HOME)",
    )


def _check_that_it_is_ours(handle: int, path: Path) -> None:
    """Raises StoreError when the file holds something else than a note."""
    with disk_errors(path, "the collection's lock cannot be read"):
        os.lseek(handle, 0, os.SEEK_SET)
        before = os.read(handle, LONGEST_NOTE)
    if before.strip(b"\0") and not before.startswith(b'{"pid"'):
        raise StoreError(
            "this file was not written by clipindex, which keeps its lock there",
            path=str(path),
            hint="name another --store or --collection",
        )


def is_written_by_another(path: Path) -> bool:
    """Whether another process holds the lock, and does not only read."""
    holder = holder_of(path)
    if holder is None or holder.pid == os.getpid() or holder.purpose in (QUERY, KEPT_OPEN):
        return False
    return is_held_by(path, holder.pid)


def is_held_by(path: Path, pid: int | None) -> bool:
    """Whether a lock file is held and was signed last by this process: a number alone may belong
    to another process by now. Looking takes a free lock for a moment, shared where it can."""
    holder = holder_of(path)
    if holder is None or holder.pid != pid:
        return False
    if pid == os.getpid():  # looking would drop our own lock on some network file systems
        return True
    try:
        handle = os.open(path, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | FLAGS)
    except OSError:
        return False
    try:
        return not _try(handle, path, shared=True)
    except StoreError:  # its file system has no locks
        return False
    finally:
        os.close(handle)
