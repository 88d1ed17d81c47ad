"""Tar files in buckets and on web servers: `s3://cats/shards/0001.tar/000001.jpg`.

Their headers are read once for each version of the tar file, which its size and ETag tell: what
lies between them is skipped, by a new request where that is shorter. What they say is kept in the
user's state folder. A member is read in one request, as the part of the tar file that it is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
import zlib
from collections.abc import Generator, Iterator
from dataclasses import astuple, dataclass
from io import SEEK_END, SEEK_SET
from threading import Lock

from clipindex.files.addresses import canonical, parts_of, tars_above
from clipindex.files.file_system import FolderRecord
from clipindex.files.local import fault_of
from clipindex.files.objects import Bucket, Listed, ObjectFile, ObjectFileSystem
from clipindex.files.private_cache import PrivateCache
from clipindex.files.tars import Index, Member, TarFileSystem, kept, read_index
from clipindex.files.times import number_of

FRESH = 60.0  # seconds, for which a tar file is believed to be as it was
SKIPPED = 2 << 20  # bytes that are rather received for nothing than left out by a new request
FORMAT = 1  # of what is kept

_indexes = PrivateCache("tar-indexes", 10_000)


class RemoteTarFileSystem(TarFileSystem):
    """The inside of tar files in stores."""

    def __init__(self, objects: ObjectFileSystem) -> None:
        self._objects = objects
        self._states: dict[bytes, tuple[float, Listed | OSError]] = {}
        self._reading = Lock()

    def tar_in(self, address: bytes) -> bytes | None:
        """The tar file that an address names, or leads into; None: it does neither. Where the
        store does not say so it is one: reading it then fails with the reason."""
        for tar in tars_above(address):
            try:
                self._state(tar)
            except FileNotFoundError:  # a folder may be called like this
                continue
            except OSError:
                return tar
            return tar
        return None

    def split(self, path: bytes) -> tuple[bytes, bytes]:
        tar = self.tar_in(path) or path
        return tar, path[len(tar) + 1 :]

    def ready(self, root: bytes) -> Iterator[int]:
        tar = self.split(root)[0]
        self._states.pop(tar, None)
        yield from self.steps(tar)

    def steps(self, tar: bytes) -> Generator[int, None, Index]:
        listed = self._state(tar)
        version = number_of(b"%d %s" % (listed.size, (listed.tag or repr(listed.written)).encode()))
        index = kept.get((tar, version))
        if index is None:
            name = hashlib.sha256(b"%d %d %s" % (FORMAT, version, tar)).hexdigest()
            index = _unpacked(_indexes.get(name), version)
            if index is None:
                stream = PartsOf(self._objects.bucket(tar), listed)
                index = yield from read_index(stream, version)
                _indexes.put(name, _packed(index))
            kept.put((tar, version), index)
        return index

    def index_of(self, tar: bytes) -> Index:
        """What is in a tar file, read by one thread while others wait. Raises OSError."""
        with self._reading:
            return super().index_of(tar)

    def folder_record(self, path: bytes) -> FolderRecord:
        self._state(self.split(path)[0])
        return FolderRecord(path, 0, number_of(path))

    def open(self, path: bytes) -> ObjectFile:
        tar, name = self.split(path)
        if not name:
            return self._objects.open(path)
        self._objects.check(tar)
        try:
            index, listed = self.index_of(tar), self._state(tar)
        except OSError as error:
            raise fault_of(error) from error
        member = index.members.get(name)
        if member is None:  # gone, or a key that only looks like a member
            return self._objects.open(path)
        download = _MemberDownload(self._objects.bucket(tar), listed, member)
        return ObjectFile(path, download, index.record(path, member))

    def resolve(self, path: bytes) -> bytes:
        return canonical(path)

    def _state(self, tar: bytes) -> Listed:
        """What the store says of a tar file, asked now and then. Raises OSError."""
        since, state = self._states.get(tar, (0.0, None))
        if state is None or time.monotonic() - since > FRESH:
            try:
                state = self._objects.bucket(tar).head(parts_of(tar)[2])
            except OSError as error:
                state = error
            self._states[tar] = (time.monotonic(), state)
        if isinstance(state, OSError):
            raise state
        return state


@dataclass(frozen=True, slots=True)
class _MemberDownload:
    """A member as an object of its own; `tar` is what is known of the tar file."""

    bucket: Bucket
    tar: Listed
    member: Member

    @property
    def listed(self) -> Listed:
        return self.tar._replace(size=self.member.size)

    def pieces(self) -> Iterator[bytes]:
        start, size = self.member.start, self.member.size
        if not size:
            return iter(())
        return self.bucket.part(self.tar.key, self.tar.tag, start, start + size)


class PartsOf:
    """An object as a file that can be read from any place, for the headers of a tar file. Never
    more than a piece of it is in memory."""

    def __init__(self, bucket: Bucket, listed: Listed) -> None:
        self._bucket, self._listed = bucket, listed
        self._pieces: Iterator[bytes] | None = None  # of a request that was not read to its end
        self._piece = b""
        self._next = 0  # where the piece ends, and the next one begins
        self._place = 0

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = SEEK_SET) -> int:
        self._place = place + (self._listed.size if whence == SEEK_END else 0)
        return self._place

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer where the object ends."""
        end = min(self._place + size, self._listed.size)
        taken = []
        while self._place < end:
            self._go_to_place()
            start = self._place - (self._next - len(self._piece))
            part = self._piece[start : start + end - self._place]
            taken.append(part)
            self._place += len(part)
        return b"".join(taken)

    def _go_to_place(self) -> None:
        """Have the piece with the byte at the place. Raises OSError."""
        first = self._next - len(self._piece)
        if self._pieces is None or not first <= self._place <= self._next + SKIPPED:
            self._pieces = self._bucket.part(self._listed.key, self._listed.tag, self._place)
            self._next, self._piece = self._place, b""
        while self._place >= self._next:
            self._piece = next(self._pieces, b"")
            if not self._piece:
                raise OSError(errno.EIO, "the connection broke off")
            self._next += len(self._piece)


def _packed(index: Index) -> bytes:
    members = [[_text(name), *astuple(member)] for name, member in index.members.items()]
    others = [[_text(name), fault] for name, fault in index.others.items()]
    return zlib.compress(json.dumps([members, others, index.damage]).encode(), 1)


def _unpacked(data: bytes | None, version: int) -> Index | None:
    if data is None:
        return None
    members, others, damage = json.loads(zlib.decompress(data))
    return Index(
        members={_bytes(name): Member(*numbers) for name, *numbers in members},
        others={_bytes(name): fault for name, fault in others},
        damage=damage,
        version=version,
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
