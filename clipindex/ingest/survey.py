"""The walk and the plan together: what a run finds before it opens a single file."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Set
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Catalogue, KnownFolder, Row
from clipindex.files.access import is_folder, is_gone
from clipindex.files.file_system import PROGRESS_EVERY
from clipindex.files.identity import display_path, folders_of
from clipindex.files.sidecars import Sidecars, sidecars_in, sidecars_of, stamp_of
from clipindex.files.walk import Folder, walk
from clipindex.ingest.events import FolderFault, Scanning
from clipindex.ingest.evidence import Evidence, topmost
from clipindex.ingest.landmarks import Landmarks
from clipindex.ingest.moves import Absent
from clipindex.ingest.plan import Plan, add_vanished, plan_folder
from clipindex.ingest.scope import Scope, check_roots, refuse_empty
from clipindex.pictures.decode import decoders


@dataclass(slots=True)
class Survey:
    """All files of a scope, and what to do with each."""

    plan: Plan = field(default_factory=Plan)
    found: int = 0
    left_out: list[bytes] = field(default_factory=list)
    faults: list[tuple[bytes, str]] = field(default_factory=list)
    unmatched_globs: set[str] = field(default_factory=set)
    absent: list[Absent] = field(default_factory=list)  # vanished files that are surely gone
    learned: dict[bytes, KnownFolder] = field(default_factory=dict)  # folders to be remembered
    evidence: Evidence = field(default_factory=Evidence)  # of what vanished
    sidecars: dict[bytes, Sidecars] = field(default_factory=dict)  # of pictures that need theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a catalogue remembers of the files; by default nothing."""

    rows_in: Callable[[bytes], Mapping[bytes, Row]] = lambda _folder: {}  # by path
    indexed_by_folder: Mapping[bytes, int] = field(default_factory=dict)  # 0: only refused files
    folders: Mapping[bytes, KnownFolder] = field(default_factory=dict)


def memory_from(catalogue: Catalogue | None) -> Memory:
    """The memory of a catalogue; None: nothing is remembered."""
    if catalogue is None:
        return Memory()
    return Memory(
        rows_in=catalogue.in_folder,
        indexed_by_folder=catalogue.folders_with_rows(),
        folders=catalogue.folders(),
    )


def survey(
    scope: Scope,
    memory: Memory,
    versions: str,
    *,
    reread: bool = False,
    again: Set[bytes] = frozenset(),
) -> Generator[Scanning | FolderFault, None, Survey]:
    """Walk the roots and plan each folder as it comes; `versions` are those of the decoders,
    `reread` and `again` are `plan_folder`'s.

    Raises UsageError for a root that does not exist, DiskNotMounted for one that is empty or
    missing although pictures below it are remembered.
    """
    roots = [root.path for root in scope.roots]
    check_roots(roots, lambda: memory.indexed_by_folder, scope.files)
    result = Survey(unmatched_globs=set(scope.globs))
    landmarks = Landmarks(
        memory.folders, [folder for folder, count in memory.indexed_by_folder.items() if count]
    )
    listed: set[bytes] = set()
    empty = {root for root in roots if is_folder(root)}
    last_reported = 0
    for folder in walk(scope.roots, scope.files, scope.excluded_folder):
        if folder.awaited:
            if result.found + folder.awaited > last_reported:
                last_reported = result.found + folder.awaited
                yield Scanning(last_reported)
            continue
        rows = memory.rows_in(folder.path)
        # An indexed file that the policy now excludes exists all the same: the disk is mounted.
        known = [p for p in folder.left_out if p in rows or p in memory.indexed_by_folder]
        if empty and (folder.files or folder.faults or known):
            empty.difference_update((folder.path, *folders_of(folder.path)))
        for path, reason in folder.faults:
            yield FolderFault(display_path(path), reason)
        if not folder.named:
            listed.add(folder.path)
            if not _is_unlisted(folder):
                landmarks.add(folder.path, recognised=_is_recognised(folder, rows))
        _add_folder(result, scope, folder, rows, versions, reread=reread, again=again)
        if result.found - last_reported >= PROGRESS_EVERY:
            last_reported = result.found
            yield Scanning(result.found)
    refuse_empty(empty, memory.indexed_by_folder)
    _find_absent(result, scope, memory, landmarks, listed)
    result.learned = landmarks.learned()
    return result


def surveyed(scope: Scope, catalogue: Catalogue | None) -> Survey:
    """A survey run to its end, for a caller that wants none of its events."""
    steps = survey(scope, memory_from(catalogue), decoders())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Survey = end.value
            return result


def _add_folder(
    result: Survey,
    scope: Scope,
    folder: Folder,
    rows: Mapping[bytes, Row],
    versions: str,
    *,
    reread: bool,
    again: Set[bytes],
) -> None:
    """Plan one folder's files, of the scope's part only."""
    result.left_out += folder.left_out
    result.faults += folder.faults
    result.unmatched_globs.difference_update(folder.glob_matches)
    part = scope.part
    files = folder.files
    if part.of > 1:
        files = [record for record in files if part.holds(record.path)]
    if folder.named:  # the files beside the named ones were not listed
        rows = {record.path: rows[record.path] for record in files if record.path in rows}
    elif part.of > 1:
        rows = {path: row for path, row in rows.items() if part.holds(path)}
    result.found += len(files)
    if not _is_unlisted(folder):  # otherwise nothing in it is known to be gone
        plan = result.plan
        sidecars = _sidecars(folder)
        # Where a file could not be looked at, a sidecar may only seem to be gone.
        stamps = None if folder.faults else {path: stamp_of(s) for path, s in sidecars.items()}
        changed = plan_folder(
            plan, files, rows, versions, stamps=stamps, reread=reread, again=again
        )
        for record in changed:
            if record.path in sidecars:
                result.sidecars[record.path] = sidecars[record.path]
        for path in folder.left_out:
            plan.vanished.pop(path, None)
            plan.vanished_notes.pop(path, None)


def _sidecars(folder: Folder) -> dict[bytes, Sidecars]:
    """Those of a folder's pictures, by the picture's path."""
    if not folder.named:
        return sidecars_in(folder.files)
    pairs = ((file.path, sidecars_of(file.path)) for file in folder.files)
    return {path: sidecars for path, sidecars in pairs if sidecars}


def _find_absent(
    result: Survey, scope: Scope, memory: Memory, landmarks: Landmarks, listed: Set[bytes]
) -> None:
    """Add the files of folders that are gone to the vanished ones, and find the pictures that
    are surely gone: below a root walked to its end, on a disk that is recognised."""
    faulty = {above for path, _ in result.faults for above in (path, *folders_of(path))}
    whole = {root.path for root in scope.roots if root.path not in faulty}
    roots = {root.path for root in scope.roots}
    result.evidence = Evidence(landmarks=landmarks, roots=roots, whole=whole, listed=listed)
    for folder in memory.indexed_by_folder:
        if folder in listed or topmost(folder, whole) is None:
            continue
        if is_gone(folder) or not is_folder(folder):
            rows = memory.rows_in(folder).values()
            add_vanished(result.plan, (row for row in rows if scope.part.holds(row.path)))
    areas: dict[bytes, bytes | None] = {}
    for path, row in result.plan.vanished.items():
        folder = os.path.dirname(path)
        if folder not in areas:
            root = topmost(folder, whole)
            areas[folder] = None if root is None else landmarks.area(folder, root)
        area = areas[folder]
        if area is not None:
            result.absent.append(Absent(row, area))


def _is_unlisted(folder: Folder) -> bool:
    return any(path == folder.path for path, _ in folder.faults)


def _is_recognised(folder: Folder, rows: Mapping[bytes, Row]) -> bool:
    """Whether a remembered picture is in a folder, unchanged as far as size and time tell."""
    return any(
        row.state == INDEXED and (row.size, row.mtime_ns) == (record.size, record.mtime_ns)
        for record in folder.files
        if (row := rows.get(record.path)) is not None
    )
