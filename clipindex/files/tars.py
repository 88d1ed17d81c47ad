"""Tar files as folders: `/data/shard-000.tar/0001.jpg` is a member of that shard.

A tar file (a WebDataset shard is one) is entered where it is named, as a folder is; one that a
walk meets is a file like others. Members are read where they lie, nothing is unpacked. A member is
unchanged while its size and time are, and the tar file itself.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from clipindex.errors import FileFault
from clipindex.files.addresses import key_fault, tar_in
from clipindex.files.file_system import Entry, FileRecord, FileSystem, FolderRecord
from clipindex.files.listing import Listing
from clipindex.files.local import LocalFile, LocalFileSystem, fault_of
from clipindex.files.times import number_of, storable_time

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


def index_of(tar: bytes) -> Index:
    """What is in a tar file, by its headers. Raises OSError."""
    status = os.stat(tar)
    return _index(tar, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=AT_ONCE)
def _index(tar: bytes, size: int, mtime_ns: int) -> Index:
    import tarfile  # of use to few

    members: dict[bytes, Member] = {}
    others: dict[bytes, str | None] = {}
    damage = None
    try:
        with tarfile.open(os.fsdecode(tar), "r:", errors="surrogateescape") as archive:
            for info in archive:
                name = _name(info.name)
                if fault := key_fault(name):
                    others[name] = fault
                elif info.isreg() and not info.issparse():
                    time = storable_time(info.mtime * 1e9)
                    members[name] = Member(info.offset_data, info.size, time)  # the last one holds
                elif not info.isdir():
                    others[name] = None
                archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
            if not _is_ended(archive):
                damage = CUT
    except tarfile.TarError as error:
        if not members:
            raise OSError(errno.EIO, "not a tar file, or a compressed one") from error
        damage = CUT
    version = number_of(b"%d %d" % (size, mtime_ns))
    return Index(members=members, others=others, damage=damage, version=version)


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


class TarFileSystem(LocalFileSystem):
    """The inside of tar files; the tar files themselves are opened as any file of this machine."""

    def for_walk(self, root: bytes) -> FileSystem:
        return _Walked(root)

    def list(self, folder: bytes) -> list[Entry]:
        return _Walked(folder).list(folder)

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        tar, name = _split(path)
        index = index_of(tar)
        if member := index.members.get(name):
            return index.record(path, member)
        if not name or any(other.startswith(name + b"/") for other in index.members):
            return FolderRecord(path, os.stat(tar).st_dev, number_of(path))
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def open(self, path: bytes) -> LocalFile:
        tar, name = _split(path)
        return TarMember(path, tar, name) if name else LocalFile(path)

    def exists(self, path: bytes) -> bool:
        return not self.is_gone(path)

    def is_gone(self, path: bytes) -> bool:
        """Only if the tar file can be read, and has no such member."""
        try:
            self.stat(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def is_file(self, path: bytes) -> bool:
        try:
            return isinstance(self.stat(path), FileRecord)
        except OSError:
            return False

    def is_folder(self, path: bytes) -> bool:
        """Also where the tar file cannot be read: the listing then fails with the reason."""
        try:
            return isinstance(self.stat(path), FolderRecord)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def resolve(self, path: bytes) -> bytes:
        tar, name = _split(os.path.abspath(path))
        return super().resolve(tar) + (b"/" + name if name else b"")


class _Walked(TarFileSystem):
    """A tar file for one walk."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._tar = _split(root)[0]
        self._listing = Listing(root)

    def list(self, folder: bytes) -> list[Entry]:
        if folder == self._root:
            self._listing = self._taken()
        return self._listing.take(folder)

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        if self._listing.check_odd(path):
            return None
        return FolderRecord(path, os.stat(self._tar).st_dev, number_of(path))

    def _taken(self) -> Listing:
        index, listing = index_of(self._tar), Listing(self._root)
        below = self._root + b"/"
        for name, member in index.members.items():
            path = self._tar + b"/" + name
            if path.startswith(below):
                listing.add(index.record(path, member))
        for name, fault in index.others.items():
            path = self._tar + b"/" + name
            if path.startswith(below):
                listing.add_odd(path, fault)
        if index.damage is not None:
            listing.add_odd(below + REST, index.damage)
        return listing


class TarMember(LocalFile):
    """One member, read where it lies."""

    def __init__(self, path: bytes, tar: bytes, name: bytes) -> None:
        try:
            index = index_of(tar)
        except OSError as error:
            raise fault_of(error) from error
        if name not in index.members:
            raise FileFault("deleted before it was read", skipped=True, transient=True)
        super().__init__(tar)
        self._member, self._record = index.members[name], index.record(path, index.members[name])
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


def _split(path: bytes) -> tuple[bytes, bytes]:
    """A path into a tar file -> the tar file, and the path in it, which may be empty."""
    tar = tar_in(path) or path
    return tar, path[len(tar) + 1 :].rstrip(b"/")
