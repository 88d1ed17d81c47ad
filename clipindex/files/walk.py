"""The first station: from roots to file records. Names and stat only; no file is opened."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from clipindex.files.times import EARLIEST, LATEST, storable_time

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


Patterns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A regular file as the walk saw it: absolute path, size in bytes, times in nanoseconds
    (within 64 bits: see `storable_time`)."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int

    def __post_init__(self) -> None:
        for name in ("mtime_ns", "ctime_ns"):
            if not EARLIEST <= getattr(self, name) <= LATEST:
                object.__setattr__(self, name, storable_time(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class WalkPolicy:
    """What a walk goes into, and what it leaves out.

    A glob with a slash is matched against the path below the root, one without against the
    name, both without regard to case. `exclude` leaves out files and folders, `include`, where
    given, every file that none of its globs matches.
    """

    hidden: bool = False  # names with a leading dot, and the housekeeping folders
    follow: bool = False  # links to folders
    one_file_system: bool = False
    exclude: Patterns = ()
    include: Patterns = ()


@dataclass(frozen=True, slots=True)
class Root:
    """Where a walk begins, how it goes, and the tags of all that it finds."""

    path: bytes
    policy: WalkPolicy = WalkPolicy()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Folder:
    """One folder's regular files, what the walk policy left out of it, and what went wrong."""

    path: bytes
    root: bytes
    files: list[FileRecord] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)
    named: bool = False  # not listed: only files that were named one by one are in it


def walk(
    roots: Iterable[Root], named: Iterable[bytes] = (), excluded_folder: bytes | None = None
) -> Iterator[Folder]:
    """Every folder below the roots, each once however many roots lead there, in name order.

    A root may be a single file; `named` are further single files. Links to files are read.
    `avoid` is a folder never gone into: the store itself may lie below a root.
    """
    folders: list[_Rules] = []
    singles = set(named)
    for root in sorted(set(roots), key=lambda root: root.path):
        if os.path.isdir(root.path):
            folders.append(_Rules(root, excluded_folder))
        else:
            singles.add(root.path)
    seen: set[bytes | tuple[int, int]] = set()
    own = {key for rules in folders for key in (rules.root.path, _inode(rules.root.path))}
    for rules in folders:
        waiting = [rules.root.path]
        while waiting:
            path = waiting.pop()
            identity = rules.identity(path)
            if identity in seen or (path != rules.root.path and {path, identity} & own):
                continue  # a root below a root is walked by its own rules
            seen.add(identity)
            folder, below = _list_folder(path, rules)
            waiting.extend(reversed(below))
            if singles:
                singles.difference_update(record.path for record in folder.files)
            yield folder
    for path, files in groupby(sorted(singles), key=os.path.dirname):
        folder = Folder(path, path, named=True)
        for file in files:
            _add_named_file(folder, file)
        yield folder


class _Rules:
    """One root's policy, its globs compiled."""

    def __init__(self, root: Root, excluded_folder: bytes | None) -> None:
        policy = root.policy
        self.root = root
        self.policy = policy
        self._excluded_folder = excluded_folder
        self._exclude = _compiled(policy.exclude)
        self._include = _compiled(policy.include)
        self._device = os.stat(root.path).st_dev if policy.one_file_system else None
        self._prefix = len(root.path.rstrip(b"/")) + 1

    def identity(self, path: bytes) -> bytes | tuple[int, int]:
        """What tells a folder from another: its inode when links may lead there twice."""
        if not self.policy.follow:
            return path
        return _inode(path)

    def leaves_out(self, entry: os.DirEntry[bytes]) -> bool:
        """Whether the policy leaves out this name, be it a file or a folder."""
        name = entry.name
        if not self.policy.hidden and (name.startswith(b".") or name in HOUSEKEEPING):
            return True
        return self._exclude is not None and self._matches(self._exclude, entry)

    def leaves_out_folder(self, entry: os.DirEntry[bytes]) -> bool:
        """Our own store, or another file system."""
        if entry.path == self._excluded_folder:
            return True
        try:
            return self._device is not None and entry.stat().st_dev != self._device
        except OSError:  # listing it will fail too, and be told
            return False

    def leaves_out_file(self, entry: os.DirEntry[bytes]) -> bool:
        """A file that no `include` names."""
        return self._include is not None and not self._matches(self._include, entry)

    def _matches(
        self, globs: tuple[re.Pattern[bytes] | None, ...], entry: os.DirEntry[bytes]
    ) -> bool:
        by_name, by_path = globs
        return bool(
            (by_name and by_name.match(entry.name))
            or (by_path and by_path.match(entry.path[self._prefix :]))
        )


def _inode(path: bytes) -> bytes | tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path
    return found.st_dev, found.st_ino


def _compiled(
    globs: Patterns,
) -> tuple[re.Pattern[bytes] | None, re.Pattern[bytes] | None] | None:
    """Two expressions, for names and for paths below the root; None for no globs at all."""
    if not globs:
        return None
    names = [glob for glob in globs if "/" not in glob.rstrip("/")]
    paths = [glob for glob in globs if "/" in glob.rstrip("/")]
    return _either(names), _either(paths)


def _either(globs: list[str]) -> re.Pattern[bytes] | None:
    if not globs:
        return None
    parts = [fnmatch.translate(glob.strip("/")) for glob in globs]
    return re.compile(os.fsencode("|".join(parts)), re.IGNORECASE | re.DOTALL)


def _list_folder(path: bytes, rules: _Rules) -> tuple[Folder, list[bytes]]:
    """One folder, and the folders in it that are to be walked."""
    folder = Folder(path, rules.root.path)
    below: list[bytes] = []
    try:
        with os.scandir(path) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        folder.faults.append((path, _reason(error)))
        return folder, below
    for entry in entries:
        if rules.leaves_out(entry):
            folder.left_out.append(entry.path)
        elif _is_folder(entry, rules.policy.follow):
            target = folder.left_out if rules.leaves_out_folder(entry) else below
            target.append(entry.path)
        elif rules.leaves_out_file(entry):
            folder.left_out.append(entry.path)
        else:
            _add_entry(folder, entry)
    return folder, below


def _is_folder(entry: os.DirEntry[bytes], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link to itself
        return False


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
        if stat.S_ISDIR(found.st_mode):
            folder.faults.append((path, "it is a folder, not a file"))
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
