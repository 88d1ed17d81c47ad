"""The protocol through which pictures are listed, described and read, and its records.

Only this room knows where pictures are kept. A new kind of place (an object store, an archive)
implements `FileSystem`; `access.file_system_of` chooses one by the path. Every path is absolute,
in bytes, its parts separated by slashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

PROGRESS_EVERY = 1000  # files between two numbers of `Tree.prepare`
UNKNOWN_CHANGE = 0  # a change time that is not known, and agrees with all

# The records are named tuples: frozen, and at half the cost of a frozen dataclass. A walk makes
# two for every file.


class FileRecord(NamedTuple):
    """A regular file: its absolute path, its size in bytes, its times in nanoseconds. What has no
    change time but a mark of its version (an ETag) has a number made from that instead."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int


class FolderRecord(NamedTuple):
    """A folder, and what tells it from all others on this machine, whatever path leads to it."""

    path: bytes
    device: int
    inode: int


# What a listing says of a name. A "file" may be a pipe or a device, and a "link" may lead
# anywhere: only `stat` says.
Kind = Literal["file", "folder", "link"]


class Entry(NamedTuple):
    """One name in a folder."""

    name: bytes
    path: bytes
    kind: Kind
    record: FileRecord | None = None  # where the listing itself brings it: no `stat` is needed


class OpenFile(Protocol):
    """A regular file, open for reading. Its methods raise FileFault."""

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened."""

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or all of a shorter file."""

    def is_hole_after(self, size: int) -> bool:
        """Whether nothing was ever written behind the first `size` bytes, so that all of it is
        zeros. False also where the file system cannot tell without reading."""

    def read(self) -> tuple[FileRecord, bytes]:
        """The whole file with its record, which belongs to these very bytes.

        Raises a transient FileFault when the file changed while it was read.
        """


class Tree(Protocol):
    """All below one root, for one walk. Methods raise OSError."""

    def prepare(self) -> Iterator[int]:
        """Ask what is there, if the place tells it of all folders at once: a bucket does, a disk
        does not. Yields now and then how many files it has told so far; what fails, `list` raises.
        """

    def list(self, folder: bytes) -> list[Entry]:
        """Every name in a folder, sorted by name. No file is opened. The root is listed first,
        and each folder once."""

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        """As of a FileSystem."""

    def is_folder(self, path: bytes) -> bool:
        """As of a FileSystem."""


class FileSystem(Protocol):
    """Where pictures are kept. Methods raise OSError; `open` raises FileFault."""

    def for_walk(self, root: bytes) -> Tree:
        """What is below a root, for one walk."""

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        """What a path leads to, through links; None for what is never opened: a pipe, say."""

    def open(self, path: bytes) -> AbstractContextManager[OpenFile]:
        """A regular file, opened for reading. Never waits for a pipe's writer.

        Raises FileFault: `skipped` when the file is gone or no longer a regular file.
        """

    def exists(self, path: bytes) -> bool:
        """Whether the name is there, be it of a link that leads nowhere."""

    def is_gone(self, path: bytes) -> bool:
        """Whether the name is no longer there, spelled like this.

        On a volume that ignores case a picture opens under its old name after a rename that
        changed nothing but case; in a listing the old name is gone.
        """

    def is_file(self, path: bytes) -> bool:
        """Whether a regular file is there, or a link to one."""

    def is_folder(self, path: bytes) -> bool:
        """Whether a folder is there, or a link to one."""

    def resolve(self, path: bytes) -> bytes:
        """An absolute path with links resolved; of a file, only its folder's links."""
