"""The walk and the plan together: what a run finds, before it opens a single file."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from clipindex.catalogue import Row
from clipindex.errors import DiskNotMounted, UsageError
from clipindex.events import FolderFault, Scanning
from clipindex.identity import is_below, shown
from clipindex.plan import Plan, plan_folder
from clipindex.walk import walk

Remembered = Callable[[bytes], Mapping[bytes, Row]]  # rows directly in a folder, by path
SCANNING_EVERY = 1000  # files between two words of progress


@dataclass(slots=True)
class Survey:
    """All files below the roots, sorted by what is to be done with them."""

    plan: Plan = field(default_factory=Plan)
    found: int = 0
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)
    whole_roots: list[bytes] = field(default_factory=list)  # walked to their end without error


def survey(
    roots: Sequence[bytes],
    remembered: Remembered,
    folders_remembered: Mapping[bytes, int],
    decoders: str,
) -> Generator[Scanning | FolderFault, None, Survey]:
    """Walk the roots and plan each folder as it comes.

    Raises UsageError for a root that does not exist, DiskNotMounted for one that is empty or
    missing although pictures below it are remembered.
    """
    check_roots(roots, folders_remembered)
    done = Survey()
    listed: set[bytes] = set()
    empty = set(roots)
    told = 0
    for folder in walk(roots):
        done.found += len(folder.files)
        done.left_out += folder.left_out
        if os.path.isdir(folder.root):
            listed.add(folder.path)
        if folder.files or folder.faults:
            empty = {root for root in empty if not _leads_to(root, folder.path, folder.root)}
        for path, reason in folder.faults:
            done.faults.append((path, reason))
            yield FolderFault(shown(path), reason)
        rows = remembered(folder.path)
        if folder.path not in listed:  # a single named file: its neighbours were not looked at
            rows = {r.path: rows[r.path] for r in folder.files if r.path in rows}
        elif any(path == folder.path for path, _ in folder.faults):
            continue  # it could not be listed: nothing in it is known to be gone
        plan_folder(done.plan, folder.files, rows, decoders)
        if done.found - told >= SCANNING_EVERY:
            told = done.found
            yield Scanning(done.found)
    _refuse_empty(empty, folders_remembered)
    done.whole_roots = [
        root
        for root in roots
        if os.path.isdir(root) and not any(is_below(path, root) for path, _ in done.faults)
    ]
    for folder_path in folders_remembered:
        if folder_path not in listed and _is_gone(folder_path, done.whole_roots):
            done.plan.vanished.update(remembered(folder_path))
    return done


def check_roots(roots: Sequence[bytes], folders_remembered: Mapping[bytes, int]) -> None:
    """Raises UsageError for the first root that is not there, saying what that may mean."""
    for root in roots:
        if not os.path.lexists(root):
            _refuse_empty({root}, folders_remembered)
            raise UsageError("no such file or folder", path=shown(root))


def _leads_to(root: bytes, folder: bytes, reached_by: bytes) -> bool:
    return is_below(folder, root) or root == reached_by


def _is_gone(folder: bytes, whole_roots: Sequence[bytes]) -> bool:
    return any(is_below(folder, root) for root in whole_roots) and not os.path.lexists(folder)


def _refuse_empty(empty: set[bytes], folders_remembered: Mapping[bytes, int]) -> None:
    for root in sorted(empty):
        count = sum(n for folder, n in folders_remembered.items() if is_below(folder, root))
        if count:
            raise DiskNotMounted(
                f"nothing is there, but the collection remembers {count} pictures below it",
                path=shown(root),
                hint="is the disk mounted? Nothing was changed",
            )
