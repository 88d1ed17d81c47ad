"""One lock for each collection: a second process is refused before it can open the engine."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import filelock

from clipindex.errors import CollectionBusy, StoreError
from clipindex.files.durable import CHECK, disk_errors

if sys.platform != "win32":
    import fcntl

PATIENCE = 10.0  # seconds a run waits for a reader
QUERY = "query"
QUERY_PATIENCE = 0.8  # seconds a query waits: it answers, or says "busy", within one second
POLL = 0.02  # seconds between two attempts
LONGEST_NOTE = 1000  # bytes read of a lock file; a note has about 80

# What flock answers where a file system has no locks, depending on the kernel and the mount.
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
# No links: the note of a run would overwrite the file that a planted one leads to.
FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file; the kernel frees it when the process dies, however it dies.

    `purpose` is named to the process that is refused meanwhile. Raises CollectionBusy, naming
    the holder, after 10 s (a query: 0.8 s); StoreError when the file cannot be locked, is not
    ours, or lies on a file system without locks; DiskFull when there is no room for it.
    """
    with disk_errors(path, "the collection's lock cannot be taken"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o666)
    try:
        _hold(handle, path, purpose)
        yield
    finally:
        os.close(handle)  # frees the lock


@contextmanager
def locked_for_reading(path: Path, purpose: str) -> Iterator[bool]:
    """As `locked`, and where the lock file may only be read, hold it together with other readers.

    Yields whether it is held alone. When it is not, the caller must not write to the collection.
    """
    with disk_errors(path, "the collection's lock cannot be taken"):
        handle, alone = _open_for_reading(path)
    if handle is None:
        yield False
        return
    try:
        if alone:
            _hold(handle, path, purpose)
        else:
            _wait(handle, path, purpose, shared=True)
        yield alone
    finally:
        os.close(handle)


def _open_for_reading(path: Path) -> tuple[int | None, bool]:
    """The lock file's descriptor and whether it is writable. None: there is no such file in a
    folder that may not be written, and so no writer either."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o666), True
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | FLAGS), False
    return None, False


def _hold(handle: int, path: Path, purpose: str) -> None:
    _wait(handle, path, purpose, shared=False)
    _check_that_it_locks(handle, path)
    _write_note(handle, path, purpose)


def _wait(handle: int, path: Path, purpose: str, *, shared: bool) -> None:
    deadline = time.monotonic() + (QUERY_PATIENCE if purpose == QUERY else PATIENCE)
    while not _try(handle, path, shared=shared):
        if time.monotonic() > deadline:
            raise CollectionBusy(
                f"the collection is in use: {_holder(path)}",
                path=str(path.parent),
                hint="wait until it is done and try again",
            )
        time.sleep(POLL)


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
        if not os.path.samestat(os.fstat(handle), os.fstat(second)):
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


def _write_note(handle: int, path: Path, purpose: str) -> None:
    """Say who holds the lock. The note helps whoever is refused; no run fails for want of it, as
    on a full disk. Raises StoreError when the file holds something else: it is not ours."""
    with disk_errors(path, "the collection's lock cannot be read"):
        before = os.read(handle, LONGEST_NOTE)
    if before.strip(b"\0") and not before.startswith(b'{"pid"'):
        raise StoreError(
            "this file was not written by clipindex, which keeps its lock there",
            path=str(path),
            hint="name another --store or --collection",
        )
    since = datetime.now().isoformat(timespec="seconds")
    note = json.dumps({"pid": os.getpid(), "purpose": purpose, "since": since}).encode()
    with suppress(OSError):
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, note)
        os.ftruncate(handle, len(note))


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text("utf-8"))
        return f"{note['purpose']}, process {note['pid']}, since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "by another process"


def is_held_by(path: Path, pid: int | None) -> bool:
    """Whether a lock file is held and was signed last by this process: a number alone may belong
    to another process by now. Looking takes a free lock for a moment, shared where it can."""
    try:
        if json.loads(path.read_text("utf-8"))["pid"] != pid:
            return False
        if pid == os.getpid():  # looking would drop our own lock on some network file systems
            return True
        handle = os.open(path, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | FLAGS)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    try:
        return not _try(handle, path, shared=True)
    except StoreError:  # its file system has no locks
        return False
    finally:
        os.close(handle)
