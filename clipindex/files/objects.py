"""Objects in a store as files: what a bucket's listing and its answers mean to a walk and a read.

A store knows no folders, only keys. A walk takes all keys below its root in one listing, a
thousand a request, and finds the folders in them. What a listing says of an object tells whether
it is unchanged: its size, the second it was written, and its ETag in the place of the change time.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple, Protocol, Self

from clipindex.errors import FileFault, UsageError
from clipindex.files.addresses import canonical, key_fault, parts_of
from clipindex.files.file_system import UNKNOWN_CHANGE, FileRecord, FolderRecord
from clipindex.files.listing import ListedFileSystem, Listing, Odd
from clipindex.files.local import fault_of
from clipindex.files.times import number_of

SECOND = 1_000_000_000  # nanoseconds
TO_DO = "rename the object, or exclude it"


class Listed(NamedTuple):
    """What a store says of an object. `written`: seconds since 1970; `tag`: its ETag, which is
    another one once the object is."""

    key: str
    size: int
    written: float
    tag: str


class Download(Protocol):
    """An object that is being read. Methods raise OSError."""

    @property
    def listed(self) -> Listed:
        """The object that these very bytes are of; its size may be 0 until all are there."""

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, once, in order."""


class Bucket(Protocol):
    """One bucket of a store. Methods raise OSError: FileNotFoundError when nothing is there,
    PermissionError when it may not be read. What they say holds no credentials."""

    def keys(self, prefix: str) -> Iterator[Listed]:
        """Every object below a prefix that ends with a slash or is empty, in any order."""

    def holds(self, prefix: str) -> bool:
        """Whether any object is below such a prefix."""

    def head(self, key: str) -> Listed:
        """One object, without its bytes."""

    def marker(self, key: str) -> Listed | None:
        """The object whose key is this one and a slash, which `keys` may leave out."""

    def get(self, key: str) -> Download:
        """One object, in one request."""

    def part(self, key: str, tag: str, start: int, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of an object from `start` up to `stop`, or to its end, if its ETag is `tag`
        still, in one request."""


class Opener(Protocol):
    """How a bucket is found by its scheme and its name."""

    def __call__(self, scheme: str, name: str) -> Bucket: ...


class ObjectFileSystem(ListedFileSystem):
    """Buckets as folders. Nothing is ever written."""

    def __init__(self, bucket_of: Opener) -> None:
        self._bucket_of = bucket_of
        self._seen: set[bytes] = set()  # folders that are there, or may be

    def items(self, root: bytes) -> Iterator[FileRecord | Odd]:
        scheme, name, prefix = parts_of(root)
        start = f"{scheme}://{name}/".encode()
        for listed in self.bucket(root).keys(prefix and prefix + "/"):
            key = listed.key.encode("utf-8", "surrogateescape")
            if (fault := key_fault(key)) is None:
                yield record_of(start + key, listed)
            elif listed.size or not key.endswith(b"/"):  # else it only marks a folder
                yield Odd(start + key, f"{fault}; {TO_DO}")

    def note(self, root: bytes, listing: Listing) -> None:
        below = root + b"/"
        gone = [path for path in self._seen if path == root or path.startswith(below)]
        self._seen.difference_update(gone)
        self._seen.update(listing.folders())

    def folder_record(self, path: bytes) -> FolderRecord:
        """A folder of a store is known by its name alone."""
        return FolderRecord(path, 0, number_of(path))

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        key = parts_of(path)[2]
        if key and path not in self._seen:
            try:
                return record_of(path, self.bucket(path).head(key))
            except FileNotFoundError:
                if not self._holds_objects(path):
                    raise
        return self.folder_record(path)

    def open(self, path: bytes) -> ObjectFile:
        scheme, name, key = parts_of(path)
        bucket = self._bucket_of(scheme, name)
        try:
            return ObjectFile(path, bucket.get(key))
        except FileNotFoundError as error:
            raise _fault_of_marker(bucket, key) or fault_of(error) from error
        except (MemoryError, OSError) as error:
            raise fault_of(error) from error

    def is_gone(self, path: bytes) -> bool:
        is_bucket = not parts_of(path)[2]  # of which `stat` knows nothing
        return not self.is_folder(path) if is_bucket else super().is_gone(path)

    def is_folder(self, path: bytes) -> bool:
        """Also where the store does not say so: listing it then fails with the reason."""
        try:
            return self._holds_objects(path)
        except OSError:
            self._seen.add(path)  # or each look would have the same long patience
            return True

    def resolve(self, path: bytes) -> bytes:
        return canonical(path)

    def check(self, path: bytes) -> None:
        """Raises UsageError where the store of an address cannot be used at all from here."""
        self._bucket_of(*parts_of(path)[:2])

    def bucket(self, path: bytes) -> Bucket:
        """The bucket of an address. One that cannot be used is as one that does not answer: there
        may be others."""
        try:
            return self._bucket_of(*parts_of(path)[:2])
        except UsageError as error:
            raise OSError(errno.EIO, f"{error.message}: {error.hint}") from None

    def _holds_objects(self, folder: bytes) -> bool:
        """Whether an object is below a folder. Raises OSError where that cannot be said."""
        if folder in self._seen:
            return True
        key = parts_of(folder)[2]
        try:
            holds = self.bucket(folder).holds(key and key + "/")
        except FileNotFoundError:  # no such bucket
            return False
        if holds:
            self._seen.add(folder)
        return holds


def record_of(path: bytes, listed: Listed) -> FileRecord:
    """An object as a file. A listing may know its time to the millisecond where an answer to a
    read knows only the second, so the second is what is kept."""
    tag = listed.tag.strip('"').encode()
    version = number_of(tag) if tag else UNKNOWN_CHANGE
    return FileRecord(path, listed.size, int(listed.written) * SECOND, version)


def _fault_of_marker(bucket: Bucket, key: str) -> FileFault | None:
    """Why a listed object is not there, if its key ends with a slash; None: it is gone."""
    try:
        marker = bucket.marker(key)
    except OSError:
        return None
    if marker is None:
        return None
    if not marker.size:
        return FileFault("no picture: it only marks a folder", skipped=True, transient=True)
    return FileFault(f"{key_fault(b'x/')}; {TO_DO}", transient=True)


class ObjectFile:
    """One object, read in one request; after its head the rest may be left unread. `record`: what
    it is as a file, if the download itself does not say that."""

    def __init__(self, path: bytes, download: Download, record: FileRecord | None = None) -> None:
        self._path, self._download, self._record = path, download, record
        self._pieces = self._download.pieces()
        self._data = BytesIO()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        del self._pieces, self._download  # which closes a connection that is not at its end
        if isinstance(error, MemoryError | OSError):
            raise fault_of(error) from error

    @property
    def size(self) -> int:
        return self._download.listed.size

    def head(self, size: int) -> bytes:
        while self._data.tell() < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._data.write(piece)
        return self._data.getvalue()[:size]

    def is_hole_after(self, size: int) -> bool:  # noqa: ARG002 - only a disk has holes
        return False

    def read(self) -> tuple[FileRecord, bytes]:
        for piece in self._pieces:
            self._data.write(piece)
        listed, arrived = self._download.listed, self._data.tell()
        if arrived != listed.size:
            told = f"could not be read: {arrived} of {listed.size} bytes arrived"
            raise FileFault(told, transient=True)
        return self._record or record_of(self._path, listed), self._data.getvalue()
