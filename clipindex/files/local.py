"""The file system of this machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from io import FileIO
from typing import Self

from clipindex.errors import FileFault
from clipindex.files.file_system import Entry, FileRecord, FolderRecord, Kind, Tree
from clipindex.files.times import storable_time

# O_NONBLOCK: if a pipe has taken the file's place, opening it must not wait for a writer.
# O_BINARY: without it Windows would translate line ends.
READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
DENIED = "permission denied"


class LocalFileSystem:
    """Folders and files by their paths. Nothing is ever written."""

    def for_walk(self, root: bytes) -> Tree:  # noqa: ARG002 - a folder is listed quickly
        return self

    def prepare(self) -> Iterator[int]:
        return iter(())

    def list(self, folder: bytes) -> list[Entry]:
        """One `scandir`: the kinds come with the names, so that no file is touched."""
        with os.scandir(folder) as listing:
            entries = [Entry(entry.name, entry.path, _kind(entry)) for entry in listing]
        entries.sort()  # by name: no two have the same one
        return entries

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            return _record(path, status)
        if stat.S_ISDIR(status.st_mode):
            return FolderRecord(path, status.st_dev, status.st_ino)
        return None

    def open(self, path: bytes) -> LocalFile:
        return LocalFile(path)

    def exists(self, path: bytes) -> bool:
        return os.path.lexists(path)

    def is_gone(self, path: bytes) -> bool:
        return not os.path.lexists(path) or not _is_spelled(path)

    def is_file(self, path: bytes) -> bool:
        return os.path.isfile(path)

    def is_folder(self, path: bytes) -> bool:
        return os.path.isdir(path)

    def resolve(self, path: bytes) -> bytes:
        if os.path.isdir(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path.rstrip(b"/"))  # not abspath: `link/..` is not `.`
        return os.path.join(os.path.realpath(folder or b"."), name)


class LocalFile:
    """One open file; `fstat` before and after the read shows whether it changed meanwhile."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        try:
            self._stream = FileIO(path, opener=_open_read_only)
            self._opened = os.fstat(self._stream.fileno())
        except OSError as error:
            raise fault_of(error) from error

    def __enter__(self) -> Self:
        if not stat.S_ISREG(self._opened.st_mode):
            self._stream.close()
            raise FileFault("no longer a regular file", skipped=True, transient=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stream.close()
        if isinstance(error, MemoryError | OSError):
            raise fault_of(error) from error

    @property
    def size(self) -> int:
        return self._opened.st_size

    def head(self, size: int) -> bytes:
        return self._stream.read(size) or b""

    def is_hole_after(self, size: int) -> bool:
        allocated = getattr(self._opened, "st_blocks", None)  # not on Windows; in units of 512
        if allocated is None or allocated * 512 >= self.size or size >= self.size:
            return False
        try:
            os.lseek(self._stream.fileno(), size, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO  # no data from here to the end
        return False

    def read(self) -> tuple[FileRecord, bytes]:
        self._stream.seek(0)
        data = self._stream.readall() or b""
        before, after = self._opened, os.fstat(self._stream.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise FileFault("changed while it was read", transient=True)
        return _record(self._path, after), data


def _is_spelled(path: bytes) -> bool:
    """Whether the listings of the folders above an existing path spell it like this; a folder
    that may not be listed is taken at its word."""
    while (folder := os.path.dirname(path)) != path:
        try:
            names = _names_in(folder, os.stat(folder).st_mtime_ns)
        except OSError:
            names = frozenset({os.path.basename(path)})
        if os.path.basename(path) not in names:
            return False
        path = folder
    return True


@lru_cache(maxsize=16)
def _names_in(folder: bytes, _mtime_ns: int) -> frozenset[bytes]:
    """Kept while the folder's time stays: of a folder with 10,000 renamed pictures, each asks."""
    return frozenset(os.listdir(folder))


def _open_read_only(path: str, _flags: int) -> int:
    return os.open(path, READ_ONLY)


def _record(path: bytes, status: os.stat_result) -> FileRecord:
    times = storable_time(status.st_mtime_ns), storable_time(status.st_ctime_ns)
    return FileRecord(path, status.st_size, *times)


def _kind(entry: os.DirEntry[bytes]) -> Kind:
    try:
        if entry.is_file(follow_symlinks=False):
            return "file"
        if entry.is_symlink():
            return "link"
        return "folder" if entry.is_dir(follow_symlinks=False) else "file"
    except OSError:  # its kind is not in the listing, and `stat` will say why
        return "file"


def fault_of(error: MemoryError | OSError) -> FileFault:
    """Why a file could not be opened or read: all this may have passed by the next run."""
    if isinstance(error, MemoryError):
        return FileFault("not enough memory to read it", transient=True)
    if isinstance(error, FileNotFoundError):
        return FileFault("deleted before it was read", skipped=True, transient=True)
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileFault(DENIED, transient=True)
    return FileFault(f"could not be read: {error.strerror or error}", transient=True)
