"""One read of one file: is it a picture, its bytes, their digest."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from clipindex.errors import FileFault
from clipindex.files.walk import FileRecord
from clipindex.pictures import raw
from clipindex.pictures.formats import (
    HEAD,
    OTHER_PICTURE_NAMES,
    PICTURE_NAMES,
    RAW_FORMATS,
    TIFF_RAW_NAMES,
    UNREADABLE_FORMATS,
    picture_format,
)

MAX_BYTES = 1 << 30  # a larger "picture" is not read into memory


@dataclass(frozen=True, slots=True)
class Content:
    """A picture file's bytes, read once. `record` is the file as it was when it was opened."""

    record: FileRecord
    data: bytes
    sha256: bytes


def read_content(record: FileRecord) -> Content:
    """Open, look, read, hash. Raises FileFault with the reason when it is no picture."""
    try:
        # O_NONBLOCK: should a pipe have taken the file's place, opening it must not wait.
        handle = os.open(record.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        with open(handle, "rb", buffering=0) as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise FileFault("no longer a regular file", skipped=True, transient=True)
            head = file.read(HEAD)
            _refuse_other_content(record, head, before.st_size)
            file.seek(0)
            data = file.readall()
            _refuse_other_raw(record, data)
            after = os.fstat(handle)
    except MemoryError:
        raise FileFault("it needs more memory than there is", transient=True) from None
    except FileNotFoundError:
        raise FileFault("gone before it was read", skipped=True, transient=True) from None
    except OSError as error:
        raise FileFault(_unreadable(error), transient=True) from error
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise FileFault("it changed while it was being read", transient=True)
    now = FileRecord(record.path, after.st_size, after.st_mtime_ns, after.st_ctime_ns)
    return Content(now, data, hashlib.sha256(data).digest())


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends without it


def _refuse_other_content(record: FileRecord, head: bytes, size: int) -> None:
    kind = picture_format(head)
    if kind in UNREADABLE_FORMATS:
        raise FileFault(UNREADABLE_FORMATS[kind], skipped=True)
    if kind in RAW_FORMATS and raw.version() is None:
        raise FileFault(raw.MISSING, skipped=True)
    if kind is None:
        suffix = os.path.splitext(record.path)[1].lower()
        if suffix in PICTURE_NAMES:
            raise FileFault("empty file" if size == 0 else "named like a picture, but it is none")
        if suffix in OTHER_PICTURE_NAMES:
            raise FileFault(f"{suffix.decode()} files are not among those read", skipped=True)
        raise FileFault("not a picture", skipped=True)
    if size > MAX_BYTES:
        raise FileFault(f"larger than {MAX_BYTES >> 30} GiB")


def _refuse_other_raw(record: FileRecord, data: bytes) -> None:
    """Raw files whose directories lie beyond the head, and TIFFs that only their name calls raw.

    Those may be of an old camera whose raw files say nothing of it; what Pillow would take for
    the picture is then a thumbnail.
    """
    kind = picture_format(data)
    if kind in RAW_FORMATS and raw.version() is None:
        raise FileFault(raw.MISSING, skipped=True)
    suffix = os.path.splitext(record.path)[1].lower()
    if kind == "TIFF" and suffix in TIFF_RAW_NAMES:
        raise FileFault("named like a camera raw file, but nothing in it says so")


def _unreadable(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    return f"could not be read: {error.strerror or error}"
