"""The first station: from roots to file records. Names and stat only; no file is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# Folders that systems and photo programs make for themselves. A hidden name (leading dot) is
# left out as well, which covers .thumbnails, .Trash-1000 and the like.
HOUSEKEEPING = frozenset(
    {
        b"@eaDir",  # Synology's thumbnails
        b"#recycle",
        b"$RECYCLE.BIN",
        b"System Volume Information",
        b"__MACOSX",
        b"lost+found",
    }
)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A regular file as the walk saw it: absolute path, size in bytes, times in nanoseconds."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(slots=True)
class Folder:
    """One folder's regular files, what the walk policy left out of it, and what went wrong."""

    path: bytes
    root: bytes
    files: list[FileRecord] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)


def walk(roots: Iterable[bytes]) -> Iterator[Folder]:
    """Every folder below the roots, each once however many roots lead there, in name order.

    A root may also be a single file. Links to files are read, links to folders not followed.
    """
    folders = sorted(root for root in set(roots) if os.path.isdir(root))
    named = set(roots).difference(folders)
    seen: set[bytes] = set()
    for root in folders:
        waiting = [root]
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            folder, below = _list_folder(path, root)
            waiting.extend(reversed(below))
            if named:
                named.difference_update(record.path for record in folder.files)
            yield folder
    for path in sorted(named):
        folder = Folder(os.path.dirname(path), path)
        _add_named_file(folder, path)
        yield folder


def _list_folder(path: bytes, root: bytes) -> tuple[Folder, list[bytes]]:
    """One folder, and the folders in it that are to be walked."""
    folder = Folder(path, root)
    below: list[bytes] = []
    try:
        with os.scandir(path) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        folder.faults.append((path, _reason(error)))
        return folder, below
    for entry in entries:
        if entry.name.startswith(b".") or entry.name in HOUSEKEEPING:
            folder.left_out.append(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            below.append(entry.path)
        else:
            _add_entry(folder, entry)
    return folder, below


def _add_entry(folder: Folder, entry: os.DirEntry[bytes]) -> None:
    """Take an entry as a file, or leave it out: only regular files are ever opened later."""
    try:
        found = entry.stat()  # follows a link to its file
    except FileNotFoundError:
        if entry.is_symlink():  # dangling; otherwise it has gone since it was listed
            folder.left_out.append(entry.path)
    except OSError as error:
        if entry.is_symlink():  # a link to itself, or to where we may not look
            folder.left_out.append(entry.path)
        else:
            folder.faults.append((entry.path, _reason(error)))
    else:
        _add_file(folder, entry.path, found)


def _add_named_file(folder: Folder, path: bytes) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        folder.faults.append((path, _reason(error)))
    else:
        _add_file(folder, path, found)


def _add_file(folder: Folder, path: bytes, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        record = FileRecord(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        folder.files.append(record)
    else:  # sockets, pipes, devices, and links to folders
        folder.left_out.append(path)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
