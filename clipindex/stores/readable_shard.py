"""A shard that is only to be read: in its place, or in a temporary copy.

The engine cannot open a shard without writing to it: it maps every file for writing, replaces two
small ones, and applies what its log holds. Where that is impossible the shard is copied.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clipindex.errors import DiskFull
from clipindex.files.durable import disk_errors, free_space, may_write, temporary_folder
from clipindex.stores import new_shard
from clipindex.stores.edge import EdgePoints

# An open takes nothing on ext4 (0.4 MiB after a kill), 14 MiB of a sparse shard on tmpfs. Without
# them the process dies: the engine writes to mapped files.
ROOM = 32 << 20
CHUNK = 256 << 10  # bytes copied at once


@contextmanager
def open_for_reading(folder: Path, dimension: int, *, in_place: bool) -> Iterator[EdgePoints]:
    """The shard in `folder`, or a temporary copy where the engine cannot write to it or the caller
    may not let it (`in_place`). Raises as `EdgePoints` does."""
    is_new = new_shard.is_new(folder)
    with (
        readable(folder, in_place=in_place) as shard,
        closing(EdgePoints(shard, dimension, make=is_new, copy_of=folder)) as points,
    ):
        yield points


@contextmanager
def readable(folder: Path, *, in_place: bool) -> Iterator[Path]:
    """The folder to open: `folder` itself where that is allowed (`in_place`) and possible.

    Otherwise a copy in TMPDIR, deleted at the end; of a shard without points an empty folder.
    Raises StoreError when the shard cannot be read, DiskFull when there is no room for the copy.
    """
    is_new = new_shard.is_new(folder)
    possible = in_place and not is_new and _is_writable(folder) and free_space(folder) >= ROOM
    if possible or not folder.is_dir():  # without a folder the engine says what is missing
        yield folder
        return
    with temporary_folder(f"to read {folder} from") as temporary:
        copy = temporary / "shard"
        if not is_new:
            with disk_errors(folder, "the collection cannot be copied for reading"):
                _check_room(folder, temporary)
                _copy_folder(folder, copy)
        yield copy


def _is_writable(folder: Path) -> bool:
    """Whether all files and folders of the shard are: a read-only mount, another user's files."""
    return may_write(folder) and all(map(may_write, folder.rglob("*")))


def _check_room(folder: Path, target: Path) -> None:
    sizes = [path.stat() for path in folder.rglob("*")]
    need = ROOM + sum(getattr(size, "st_blocks", size.st_size // 512) * 512 for size in sizes)
    if (free := free_space(target)) < need:
        raise DiskFull(
            "the collection cannot be opened where it is (it is read-only, or its disk is full), "
            f"and for a temporary copy of {need >> 20} MiB there are {free >> 20} free",
            path=str(target.parent),
            hint="free some space, or name a folder with more of it in TMPDIR",
        )


def _copy_folder(folder: Path, target: Path) -> None:
    for name, _, files in os.walk(folder):
        below = target / Path(name).relative_to(folder)
        below.mkdir()
        for file in files:
            _copy_file(Path(name, file), below / file)


def _copy_file(origin: Path, target: Path) -> None:
    """Copy a file without its holes: of the engine's files most is one."""
    with open(origin, "rb", buffering=0) as source, open(target, "wb") as copy:
        end = os.fstat(source.fileno()).st_size
        copy.truncate(end)
        place = _data_from(source.fileno(), 0, end)
        while place < end:
            source.seek(place)
            copy.seek(place)
            data = source.read(CHUNK)
            copy.write(data)
            place = _data_from(source.fileno(), place + len(data), end) if data else end


def _data_from(handle: int, place: int, end: int) -> int:
    """Where the next bytes are that were ever written, at or after `place`; `end`: nowhere."""
    if not hasattr(os, "SEEK_DATA"):  # Windows
        return place
    try:
        return os.lseek(handle, place, os.SEEK_DATA)
    except OSError as error:
        return end if error.errno == errno.ENXIO else place
