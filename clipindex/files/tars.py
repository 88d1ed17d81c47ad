"""Tar files as folders: `/data/shard-000.tar/0001.jpg` is a member of that shard.

A tar file (a WebDataset shard is one) is entered where it is named, as a folder is; one that a
walk meets is a file like others. Members are read where they lie, nothing is unpacked. A member is
unchanged while its size and time are, and the tar file itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from clipindex.errors import FileFault
from clipindex.files.addresses import UNPACK, key_fault, tar_in
from clipindex.files.file_system import PROGRESS_EVERY, FileRecord, FolderRecord, OpenFile
from clipindex.files.listing import ListedFileSystem, Odd
from clipindex.files.local import LocalFile, LocalFileSystem, fault_of
from clipindex.files.times import number_of, storable_time

LOCAL = LocalFileSystem()
BLOCK = 512  # bytes
AT_ONCE = 16  # tar files whose members are kept in memory: as many as there are workers, or more
CUT = "the tar file is damaged or cut short from here on"
REST = b"(what follows)"  # the name of what comes after the damage in a tar file


if TYPE_CHECKING:
    from tarfile import TarFile


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member's bytes lie in its tar file."""

    start: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is in a tar file: its regular files by name, what else, and names that are no paths;
    `damage`: why what follows is not known. `version` stands for this state of the tar file."""

    members: dict[bytes, Member]
    others: dict[bytes, str | None]
    damage: str | None
    version: int

    def record(self, path: bytes, member: Member) -> FileRecord:
        """A member as a file."""
        return FileRecord(path, member.size, member.mtime_ns, self.version)


def _steps(tar: bytes) -> Generator[int, None, Index]:
    status = os.stat(tar)
    version = number_of(b"%d %d" % (status.st_size, status.st_mtime_ns))
    index = kept.get((tar, version))
    if index is None:
        with open(tar, "rb") as stream:
            index = yield from read_index(stream, version)
        kept.put((tar, version), index)
    return index


class Seekable(Protocol):
    """What tarfile asks of a file. Methods raise OSError."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, place: int, /) -> int: ...
    def tell(self) -> int: ...


def read_index(stream: Seekable, version: int) -> Generator[int, None, Index]:
    """What is in a tar file, by its headers; yields now and then how many members are known.

    Raises OSError.
    """
    import tarfile  # of use to few

    members: dict[bytes, Member] = {}
    others: dict[bytes, str | None] = {}
    damage = None
    try:
        with tarfile.TarFile(fileobj=stream, errors="surrogateescape") as archive:  # type: ignore[arg-type]
            for number, info in enumerate(archive, 1):
                name = _name(info.name)
                if fault := key_fault(name):
                    others[name] = fault
                elif info.isreg() and not info.issparse():
                    time = storable_time(info.mtime * 1e9)
                    members[name] = Member(info.offset_data, info.size, time)  # the last one holds
                elif not info.isdir():
                    others[name] = None
                archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
                if number % PROGRESS_EVERY == 0:
                    yield number
            if not _is_ended(archive):
                damage = CUT
    except tarfile.TarError as error:
        if not members:
            raise OSError(errno.EIO, f"not a tar file, or a compressed one: {UNPACK}") from error
        damage = CUT
    return Index(members=members, others=others, damage=damage, version=version)


class Kept:
    """The indexes that were used last."""

    def __init__(self) -> None:
        self._indexes: dict[tuple[bytes, int], Index] = {}  # the one used last is the last
        self._lock = Lock()

    def get(self, key: tuple[bytes, int]) -> Index | None:
        with self._lock:
            index = self._indexes.pop(key, None)
            if index is not None:
                self._indexes[key] = index
            return index

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._indexes.clear()

    def put(self, key: tuple[bytes, int], index: Index) -> None:
        with self._lock:
            self._indexes[key] = index
            while len(self._indexes) > AT_ONCE:
                del self._indexes[next(iter(self._indexes))]


kept = Kept()


def _is_ended(archive: TarFile) -> bool:
    """Whether the mark of its end is where its last member ends. Python stops in silence at a
    header that is damaged or cut short."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return archive.fileobj.read(BLOCK) == bytes(BLOCK)


def _name(text: str) -> bytes:
    """A member's name as a path below the tar file: `./a.jpg` and `/a.jpg` are `a.jpg`."""
    name = text.encode("utf-8", "surrogateescape").lstrip(b"/")
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    return name.rstrip(b"/") or b"."


class TarFileSystem(ListedFileSystem):
    """The inside of tar files; the tar files themselves are opened as any file of this machine."""

    def split(self, path: bytes) -> tuple[bytes, bytes]:
        """A path into a tar file -> the tar file, and the path in it, which may be empty."""
        tar = tar_in(path) or path
        return tar, path[len(tar) + 1 :].rstrip(b"/")

    def steps(self, tar: bytes) -> Generator[int, None, Index]:
        """What is in a tar file; yields how many members are known, while its headers are read."""
        return _steps(tar)

    def index_of(self, tar: bytes) -> Index:
        """What is in a tar file. Raises OSError."""
        steps = self.steps(tar)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                index: Index = end.value
                return index

    def ready(self, root: bytes) -> Iterator[int]:
        yield from self.steps(self.split(root)[0])

    def items(self, root: bytes) -> Iterator[FileRecord | Odd]:
        tar, below = self.split(root)[0], root + b"/"
        index = self.index_of(tar)
        for name, member in index.members.items():
            path = tar + b"/" + name
            if path.startswith(below):
                yield index.record(path, member)
        for name, fault in index.others.items():
            path = tar + b"/" + name
            if path.startswith(below):
                yield Odd(path, fault)
        if index.damage is not None:
            yield Odd(below + REST, index.damage)

    def folder_record(self, path: bytes) -> FolderRecord:
        return FolderRecord(path, os.stat(self.split(path)[0]).st_dev, number_of(path))

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        tar, name = self.split(path)
        if not name:
            return self.folder_record(path)
        index = self.index_of(tar)
        if member := index.members.get(name):
            return index.record(path, member)
        if any(other.startswith(name + b"/") for other in index.members):
            return self.folder_record(path)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def open(self, path: bytes) -> AbstractContextManager[OpenFile]:
        tar, name = self.split(path)
        if not name:
            return LocalFile(path)
        try:
            index = self.index_of(tar)
        except OSError as error:
            raise fault_of(error) from error
        if name not in index.members:
            raise FileFault("deleted before it was read", skipped=True, transient=True)
        return TarMember(path, tar, index, index.members[name])

    def is_folder(self, path: bytes) -> bool:
        """Also where the tar file cannot be read: the listing then fails with the reason."""
        try:
            return isinstance(self.stat(path), FolderRecord)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def resolve(self, path: bytes) -> bytes:
        tar, name = self.split(os.path.abspath(path))
        return LOCAL.resolve(tar) + (b"/" + name if name else b"")


class TarMember(LocalFile):
    """One member, read where it lies."""

    def __init__(self, path: bytes, tar: bytes, index: Index, member: Member) -> None:
        super().__init__(tar)
        self._member, self._record = member, index.record(path, member)
        if number_of(b"%d %d" % (self._opened.st_size, self._opened.st_mtime_ns)) != index.version:
            self._stream.close()
            raise FileFault("changed while it was read", transient=True)
        self._stream.seek(self._member.start)

    @property
    def size(self) -> int:
        return self._member.size

    def head(self, size: int) -> bytes:
        return self._stream.read(min(size, self.size)) or b""

    def is_hole_after(self, size: int) -> bool:  # noqa: ARG002 - of a tar file
        return False

    def read(self) -> tuple[FileRecord, bytes]:
        self._stream.seek(self._member.start)
        data = self._stream.read(self.size) or b""
        now = os.fstat(self._stream.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise FileFault("changed while it was read", transient=True)
        if len(data) != self.size:
            raise FileFault("damaged: the tar file ends before it does")
        return self._record, data
