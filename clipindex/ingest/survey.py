"""The walk and the plan together: what a run finds before it opens a single file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.files.access import is_folder, is_gone
from clipindex.files.identity import display_path, is_below
from clipindex.files.walk import Folder, walk
from clipindex.ingest.events import FolderFault, Scanning
from clipindex.ingest.plan import Plan, plan_folder
from clipindex.ingest.scope import Scope, check_roots, refuse_empty

Remembered = Callable[[bytes], Mapping[bytes, Row]]  # rows directly in a folder, by path
SCANNING_EVERY = 1000  # files between two Scanning events


@dataclass(slots=True)
class Survey:
    """All files of a scope, and what to do with each."""

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
    roots = [root.path for root in scope.roots]
    check_roots(roots, lambda: folders_remembered)
    result = Survey()
    listed: set[bytes] = set()
    empty = {root for root in roots if is_folder(root)}
    last_reported = 0
    for folder in walk(scope.roots, scope.files, scope.excluded_folder):
        rows = remembered(folder.path)
        # An indexed file that the policy now excludes exists all the same: the disk is mounted.
        known = [path for path in folder.left_out if path in rows or path in folders_remembered]
        if folder.files or folder.faults or known:
            empty = {root for root in empty if not is_below(folder.path, root)}
        for path, reason in folder.faults:
            yield FolderFault(display_path(path), reason)
        if not folder.named:
            listed.add(folder.path)
        _add_folder(result, scope, folder, rows, decoders)
        if result.found - last_reported >= SCANNING_EVERY:
            last_reported = result.found
            yield Scanning(result.found)
    refuse_empty(empty, folders_remembered)
    result.whole_roots = [
        root
        for root in roots
        if is_folder(root) and not any(is_below(path, root) for path, _ in result.faults)
    ]
    for path in folders_remembered:
        if path not in listed and _is_gone(path, result.whole_roots):
            result.plan.vanished.update(
                row.path
                for row in remembered(path).values()
                if row.state == INDEXED and scope.part.holds(row.path)
            )
    return result


def _add_folder(
    result: Survey, scope: Scope, folder: Folder, rows: Mapping[bytes, Row], decoders: str
) -> None:
    """Plan one folder's files, of the scope's part only."""
    result.left_out += folder.left_out
    result.faults += folder.faults
    part = scope.part
    files = [record for record in folder.files if part.holds(record.path)]
    if folder.named:  # the files beside the named ones were not listed
        rows = {record.path: rows[record.path] for record in files if record.path in rows}
    elif part.of > 1:
        rows = {path: row for path, row in rows.items() if part.holds(path)}
    result.found += len(files)
    unlisted = any(path == folder.path for path, _ in folder.faults)
    if not unlisted:  # otherwise nothing in it is known to be gone
        plan_folder(result.plan, files, rows, decoders)
        result.plan.vanished.difference_update(folder.left_out)


def _is_gone(folder: bytes, whole_roots: Sequence[bytes]) -> bool:
    return any(is_below(folder, root) for root in whole_roots) and (
        is_gone(folder) or not is_folder(folder)
    )
