"""From roots to file records: every folder is listed, every file looked at, none opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from clipindex.files.access import Looked, file_system_of, looked_at
from clipindex.files.addresses import UNPACK, is_compressed_tar
from clipindex.files.file_system import PROGRESS_EVERY, Entry, FileRecord, FolderRecord, Tree
from clipindex.files.globs import Globs, glob_text
from clipindex.files.housekeeping import housekeeping_in, is_housekeeping
from clipindex.files.sidecars import is_sidecar

# What marks the folder of an embedded collection: clipindex does not walk its own files,
# whichever store they belong to and whatever path leads to them. One that was switched to another
# model has its shard in a folder of its own, generation-N.
COLLECTION_FILES = frozenset({b"contract.json", b"lock"})

Patterns = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkPolicy:
    """What a walk enters, and what it excludes.

    `exclude` and `include` are globs (see `globs`). `exclude` excludes files and folders;
    `include`, where given, excludes every file that matches none of its globs.
    """

    hidden: bool = False  # enter names with a leading dot, and the housekeeping folders
    follow: bool = False  # enter links to folders, each folder once
    one_file_system: bool = False  # enter no folder on another device than the root
    exclude: Patterns = ()
    include: Patterns = ()


@dataclass(frozen=True, slots=True)
class Root:
    """Where a walk starts, its policy, and the tags of all files that it finds."""

    path: bytes
    policy: WalkPolicy = WalkPolicy()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class Folder:
    """One folder: its regular files, the paths that the policy excluded, and what failed."""

    path: bytes
    root: bytes
    files: list[FileRecord] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)
    glob_matches: Counter[str] = field(default_factory=Counter)  # names, by the glob as typed
    named: bool = False  # not listed: it holds only files that were named one by one
    awaited: int = 0  # not listed yet: so many files are known of what is listed or looked at now


def walk(
    roots: Iterable[Root], named: Iterable[bytes] = (), excluded_folder: bytes | None = None
) -> Iterator[Folder]:
    """Every folder below the roots, each once however many roots lead to it, in name order; before
    one that takes long, others with nothing in them but `awaited`.

    A root may be a single file; `named` are further single files. Links to files are read.
    `excluded_folder` is never entered: the store itself may lie below a root.
    """
    folders: list[_Rules] = []
    singles = set(named)
    for root in sorted(set(roots), key=lambda root: root.path):
        if file_system_of(root.path).is_folder(root.path):
            folders.append(_Rules(root, excluded_folder))
        else:
            singles.add(root.path)
    seen: set[_Identity] = set()
    own = {key for rules in folders for key in (rules.root.path, rules.identity_of_root)}
    for rules in folders:
        for awaited in rules.files.prepare():
            yield Folder(path=rules.root.path, root=rules.root.path, awaited=awaited)
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
    for path, files in groupby(
        looked_at(sorted(singles)), key=lambda file: os.path.dirname(file[0])
    ):
        folder = Folder(path=path, root=path, named=True)
        for number, (file, record) in enumerate(files, 1):
            _add_named_file(folder, file, record)
            if number % PROGRESS_EVERY == 0:
                yield Folder(path=path, root=path, awaited=number)
        yield folder


def finds(root: Root, path: bytes, excluded_folder: bytes | None = None) -> bool:
    """Whether a walk of the root would find this file, without following a link: no name on the
    way to it is missing, excluded or a link. Raises OSError where a folder cannot be listed."""
    rules = _Rules(root, excluded_folder)
    folder, names = root.path, path[len(os.path.join(root.path, b"")) :].split(b"/")
    for number, name in enumerate(names, 1):
        is_folder = number < len(names)
        entries = {entry.name: entry for entry in rules.files.list(folder)}
        entry = entries.get(name)
        place = _Place(rules.below_root(folder), housekeeping_in(folder))
        if (
            entry is None
            or entry.kind != ("folder" if is_folder else "file")
            or _is_collection(set(entries))
            or rules.excludes(entry, place, Counter(), is_folder=is_folder)
            or (is_folder and rules.excludes_folder(entry.path))
        ):
            return False
        folder = entry.path
    return True


_Identity = bytes | tuple[int, int]  # a folder's path, or its device and inode


class _Rules:
    """One root's policy, its globs compiled."""

    def __init__(self, root: Root, excluded_folder: bytes | None) -> None:
        policy = root.policy
        self.root = root
        self.policy = policy
        self.files: Tree = file_system_of(root.path).for_walk(root.path)
        self._excluded_folder = excluded_folder
        self.exclude = Globs(policy.exclude) if policy.exclude else None
        self.include = Globs(policy.include, contents=True) if policy.include else None
        self._device = _device(self.files, root.path) if policy.one_file_system else None
        self._prefix = len(os.path.join(root.path, b""))
        self.identity_of_root = _identity(self.files, root.path)

    def identity(self, path: bytes) -> _Identity:
        """What tells a folder from all others: its inode where links may lead to it twice."""
        return _identity(self.files, path) if self.policy.follow else path

    def leads_on(self, link: Entry) -> bool:
        """Whether a link leads to a folder that is to be walked."""
        return self.policy.follow and self.files.is_folder(link.path)

    def below_root(self, folder: bytes) -> str:
        """A folder's path below the root as globs see it, with a slash at its end."""
        if self.exclude is None and self.include is None:
            return ""
        return glob_text(os.path.join(folder, b"")[self._prefix :])

    def excludes(
        self, entry: Entry, place: _Place, matches: Counter[str], *, is_folder: bool
    ) -> bool:
        """Whether the policy excludes a name; the globs that match it are counted."""
        name = entry.name
        if not self.policy.hidden and (
            name.startswith(b".")
            or is_housekeeping(name, is_folder=is_folder, folders=place.housekeeping)
        ):
            return True
        if self.exclude is None and self.include is None:
            return False
        text = glob_text(name)
        matched = []
        if self.exclude is not None:
            matched = self.exclude.matching(place.below_root, text, is_folder=is_folder)
        is_excluded = bool(matched)
        if self.include is not None and not is_folder and not is_excluded:
            matched = self.include.matching(place.below_root, text, is_folder=False)
            is_excluded = not matched and not is_sidecar(name)  # which goes with its picture
        for glob in matched:
            matches[glob] += 1
        return is_excluded

    def excludes_folder(self, path: bytes) -> bool:
        """Our own store, or another file system."""
        if path == self._excluded_folder:
            return True
        return self._device is not None and _device(self.files, path) not in (None, self._device)


def _folder_record(files: Tree, path: bytes) -> FolderRecord | None:
    """None if it is gone or may not be looked at: listing it will fail too, with the reason."""
    try:
        record = files.stat(path)
    except OSError:
        return None
    return record if isinstance(record, FolderRecord) else None


def _identity(files: Tree, path: bytes) -> _Identity:
    record = _folder_record(files, path)
    return path if record is None else (record.device, record.inode)


def _device(files: Tree, path: bytes) -> int | None:
    record = _folder_record(files, path)
    return None if record is None else record.device


@dataclass(frozen=True, slots=True)
class _Place:
    """What the rules need to know of the folder that is listed, once for all of its names."""

    below_root: str
    housekeeping: frozenset[bytes]


def _list_folder(path: bytes, rules: _Rules) -> tuple[Folder, list[bytes]]:
    """One folder, and the folders in it that are to be walked."""
    folder = Folder(path=path, root=rules.root.path)
    below: list[bytes] = []
    try:
        entries = rules.files.list(path)
    except OSError as error:
        folder.faults.append((path, _reason(error)))
        return folder, below
    if _is_collection({entry.name for entry in entries}):
        folder.left_out.append(path)
        return folder, below
    place = _Place(rules.below_root(path), housekeeping_in(path))
    for entry in entries:
        is_folder = entry.kind == "folder" or (entry.kind == "link" and rules.leads_on(entry))
        if rules.excludes(entry, place, folder.glob_matches, is_folder=is_folder):
            folder.left_out.append(entry.path)
        elif is_folder:
            target = folder.left_out if rules.excludes_folder(entry.path) else below
            target.append(entry.path)
        else:
            _add_entry(folder, entry, rules.files)
    return folder, below


def _add_entry(folder: Folder, entry: Entry, files: Tree) -> None:
    """Take an entry as a file, or exclude it: only regular files are ever opened later."""
    try:
        record = entry.record or files.stat(entry.path)
    except OSError as error:
        if entry.kind == "link":  # to nothing, to itself, or to where we may not look
            folder.left_out.append(entry.path)
        elif not isinstance(error, FileNotFoundError):  # otherwise deleted since it was listed
            folder.faults.append((entry.path, _reason(error)))
    else:
        if isinstance(record, FileRecord):
            folder.files.append(record)
        else:  # a socket, a pipe, a device, or a link to a folder
            folder.left_out.append(entry.path)


def _add_named_file(folder: Folder, path: bytes, record: Looked) -> None:
    if isinstance(record, OSError):
        folder.faults.append((path, _reason(record)))
    elif is_compressed_tar(path):
        folder.faults.append((path, f"a compressed tar file is not read: {UNPACK}"))
    elif isinstance(record, FileRecord):
        folder.files.append(record)
    elif isinstance(record, FolderRecord):
        folder.faults.append((path, "it is a folder, not a file"))
    else:
        folder.left_out.append(path)


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]  # of `set AWS_REGION` no more


def _is_collection(names: set[bytes]) -> bool:
    """Whether the folder with these names is an embedded collection."""
    return names >= COLLECTION_FILES and (
        b"shard" in names or any(name.startswith(b"generation-") for name in names)
    )
