"""The walk and the plan together: what a run finds, before it opens a single file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.errors import DiskNotMounted, UsageError
from clipindex.files.access import exists, is_folder
from clipindex.files.identity import display_path, is_below
from clipindex.files.walk import Root, walk
from clipindex.ingest.events import FolderFault, Scanning
from clipindex.ingest.plan import Plan, plan_folder

Remembered = Callable[[bytes], Mapping[bytes, Row]]  # rows directly in a folder, by path
SCANNING_EVERY = 1000  # files between two words of progress


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`: the files whose path hashes to it, the same on every machine."""

    number: int = 1
    of: int = 1

    def holds(self, path: bytes) -> bool:
        """Whether a file belongs to this part."""
        return self.of == 1 or zlib.crc32(path) % self.of == self.number - 1


@dataclass(frozen=True, slots=True)
class Scope:
    """Which files a run is about."""

    roots: tuple[Root, ...]
    files: frozenset[bytes] = frozenset()  # named one by one, beside the roots
    part: Part = Part()
    tags: tuple[tuple[str, str], ...] = ()  # of the named files
    excluded_folder: bytes | None = None  # the store's own folder
    retag: bool = True  # put the tags on unchanged files too, over those they have

    def tags_for(self, path: bytes) -> dict[str, str]:
        """The tags that a file is to have: those of every root above it."""
        tags = dict(self.tags) if path in self.files else {}
        for root in self.roots:
            if root.tags and is_below(path, root.path):
                tags.update(root.tags)
        return tags


@dataclass(slots=True)
class Survey:
    """All files of a scope, sorted by what is to be done with them."""

    plan: Plan = field(default_factory=Plan)
    found: int = 0
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)
    whole_roots: list[bytes] = field(default_factory=list)  # walked to their end without error


def survey(
    scope: Scope,
    remembered: Remembered,
    folders_remembered: Mapping[bytes, int],
    decoders: str,
) -> Generator[Scanning | FolderFault, None, Survey]:
    """Walk the roots and plan each folder as it comes.

    Raises UsageError for a root that does not exist, DiskNotMounted for one that is empty or
    missing although pictures below it are remembered.
    """
    roots, part = [root.path for root in scope.roots], scope.part
    check_roots(roots, folders_remembered)
    done = Survey()
    listed: set[bytes] = set()
    empty = {root for root in roots if is_folder(root)}
    told = 0
    for folder in walk(scope.roots, scope.files, scope.excluded_folder):
        rows = remembered(folder.path)
        # What the policy leaves out though it was indexed once is there: the disk is mounted.
        known = [path for path in folder.left_out if path in rows or path in folders_remembered]
        if folder.files or folder.faults or known:
            empty = {root for root in empty if not is_below(folder.path, root)}
        done.left_out += folder.left_out
        done.faults += folder.faults
        for path, reason in folder.faults:
            yield FolderFault(display_path(path), reason)
        if part.of > 1:
            folder.files = [record for record in folder.files if part.holds(record.path)]
            rows = {path: row for path, row in rows.items() if part.holds(path)}
        done.found += len(folder.files)
        if folder.named:  # its neighbours were not looked at
            rows = {r.path: rows[r.path] for r in folder.files if r.path in rows}
        else:
            listed.add(folder.path)
        unlisted = any(path == folder.path for path, _ in folder.faults)
        if not unlisted:  # otherwise nothing in it is known to be gone
            plan_folder(done.plan, folder.files, rows, decoders)
            done.plan.vanished.difference_update(folder.left_out)
        if done.found - told >= SCANNING_EVERY:
            told = done.found
            yield Scanning(done.found)
    _refuse_empty(empty, folders_remembered)
    done.whole_roots = [
        root
        for root in roots
        if is_folder(root) and not any(is_below(path, root) for path, _ in done.faults)
    ]
    for path in folders_remembered:
        if path not in listed and _is_gone(path, done.whole_roots):
            done.plan.vanished.update(
                row.path
                for row in remembered(path).values()
                if row.state == INDEXED and part.holds(row.path)
            )
    return done


def check_roots(roots: Sequence[bytes], folders_remembered: Mapping[bytes, int]) -> None:
    """Raises UsageError for the first root that is not there, saying what that may mean."""
    for root in roots:
        if not exists(root):
            _refuse_empty({root}, folders_remembered)
            raise UsageError(
                "no such file or folder",
                path=display_path(root),
                hint="look for a typing error; `clipindex forget` drops a remembered folder",
            )


def _is_gone(folder: bytes, whole_roots: Sequence[bytes]) -> bool:
    return any(is_below(folder, root) for root in whole_roots) and not is_folder(folder)


def _refuse_empty(empty: set[bytes], folders_remembered: Mapping[bytes, int]) -> None:
    for root in sorted(empty):
        count = sum(n for folder, n in folders_remembered.items() if is_below(folder, root))
        if count:
            raise DiskNotMounted(
                f"nothing is there, but the collection remembers {count} pictures below it",
                path=display_path(root),
                hint="is the disk mounted? Nothing was changed. If they are gone for good, "
                "`clipindex forget` the folder",
            )
