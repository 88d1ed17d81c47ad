"""A catalogue that is only to be read: in its place, or in a temporary copy.

SQLite needs to write beside a catalogue even to read it, and an older catalogue is brought up to
date first. Where that is impossible a copy is made: of a read-only store, on a full disk.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clipindex.files.durable import disk_errors, free_space, may_write, temporary_folder

ROOM = 1 << 20  # bytes beside a catalogue that SQLite needs to open it: 32 KiB, more for a step


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """The file to open: `path` itself where that is possible, else a copy in TMPDIR, deleted at
    the end. Raises StoreError when it cannot be copied, DiskFull when there is no room."""
    writable = all(map(may_write, (path, path.parent, *_journal(path))))
    if writable and free_space(path.parent) >= ROOM:
        yield path
        return
    with temporary_folder(f"to read {path} from") as temporary:
        copy = temporary / path.name
        with disk_errors(path, "the catalogue cannot be copied for reading"):
            copy_catalogue(path, copy)
        yield copy


def _journal(path: Path) -> list[Path]:
    """Its write-ahead log and the log's index, where they exist."""
    names = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    return [name for name in names if name.exists()]


def copy_catalogue(path: Path, target: Path) -> None:
    """Copy a catalogue as it is at this moment. Raises OSError.

    By SQLite where it can read the file as it is: a run may be writing to it, on a machine or
    through a mount that may. It cannot where the log has no index; then no run has it open."""
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True)) as origin,
            closing(sqlite3.connect(target)) as copy,
        ):
            origin.backup(copy)
    except sqlite3.Error:
        for name in (path, path.with_name(path.name + "-wal")):
            if name.exists():
                shutil.copyfile(name, target.with_name(target.name + name.name[len(path.name) :]))
