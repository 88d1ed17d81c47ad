"""Files that are written whole or not at all, and survive a power cut."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clipindex.errors import DiskFull, StoreError

CHECK = "check the folder's permissions and the disk"
MORE_ROOM = "free some space and run the same command again; finished batches are safe"

# A full disk, a user's quota, a process's limit on the size of files.
NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_durably(path: Path, data: bytes) -> None:
    """`written_durably` with bytes that are at hand. Raises OSError; the old file then stays."""
    with written_durably(path) as file:
        file.write(data)


@contextmanager
def written_durably(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces the one at `path` in one step at the end; its name and bytes are on
    the disk then.

    After an error or an interruption the old file stays, and the new one is deleted. A link that
    stands at the temporary name is removed, not written through: who may write into the folder
    might have put it there.
    """
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and deleted names durable. Windows opens no folders; there the rename has to do."""
    if os.name == "posix":
        sync_file(folder)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable, whoever wrote them. Raises OSError."""
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path, what: str, hint: str = CHECK) -> Iterator[None]:
    """Turns OSError into DiskFull or StoreError; `what` is the beginning of the message, `hint`
    that of a StoreError."""
    try:
        yield
    except OSError as error:
        full = error.errno in NO_ROOM
        kind = DiskFull if full else StoreError
        raise kind(
            f"{what}: {error.strerror}",
            path=str(path),
            hint=MORE_ROOM if full else hint,
        ) from error


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder in TMPDIR, deleted at the end. Raises StoreError when there is none to be had;
    `purpose` says for what: "to read ..."."""
    hint = "name a folder that can be written to in TMPDIR"
    with disk_errors(Path(), f"no temporary folder {purpose}", hint):
        folder = tempfile.TemporaryDirectory(prefix="clipindex-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def may_write(path: Path) -> bool:
    """Whether this process may write to a file or folder: permissions, and a read-only mount."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def free_space(folder: Path) -> int:
    """Bytes that are free where `folder` lies, or would lie once it is created. Raises StoreError
    where the file system does not say: it comes before each write, on a disk that may fail."""
    with disk_errors(folder, "the file system does not say how much space is free"):
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def has_room(folder: Path) -> bool:
    """Whether a file of 64 KiB can be written there now: what counts beside free space is quotas
    and limits. True also where the attempt fails for another reason."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(64 << 10))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in NO_ROOM
    return True
