"""What a prune may remove: files that are proved to be gone, and those that a policy excludes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.errors import Refused
from clipindex.files.access import is_file, is_folder
from clipindex.files.identity import display_path, is_below
from clipindex.ingest.evidence import doubt_of_swap, folders_above, topmost
from clipindex.ingest.options import PruneOptions
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey, surveyed
from clipindex.ingest.vanished import returned_pictures

NOT_FOUND, EXCLUDED = "not found", "excluded"
MAY_HAVE_MOVED = "it may have moved: a new file has its size. Run `clipindex reindex` first"
GONE_FOR_GOOD = (
    "nothing was removed. Mount the disk and try again; what is gone for good leaves with "
    "`clipindex forget --prune FOLDER`"
)


@dataclass(frozen=True, slots=True)
class Prunable:
    """A remembered file that may leave the index, and why: NOT_FOUND or EXCLUDED."""

    row: Row
    why: str

    @property
    def is_picture(self) -> bool:
        """Whether it has a point; others were refused or skipped."""
        return self.row.state == INDEXED


@dataclass(frozen=True, slots=True)
class Kept:
    """A remembered file that was not found and stays, because it may exist."""

    row: Row
    reason: str

    @property
    def is_picture(self) -> bool:
        """Whether it has a point."""
        return self.row.state == INDEXED


@dataclass(slots=True, kw_only=True)
class PrunePlan:
    """What may go, what stays, and why nothing may go at all (None: it may)."""

    prunable: list[Prunable] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    refusal: Refused | None = None

    def of_pictures(self) -> int:
        """How many of the files to go have a point; the others were refused or skipped."""
        return sum(file.is_picture for file in self.prunable)


def plan_prune(
    scope: Scope, catalogue: Catalogue, below: Collection[bytes], options: PruneOptions
) -> PrunePlan:
    """Walk a scope and judge what is remembered at or below the paths `below`; none: all of it.

    Raises DiskNotMounted for a root that is empty or missing although pictures below it are
    remembered.
    """
    files = surveyed(scope, catalogue)
    plan = PrunePlan()
    for row in _within(files, below):
        reason = _reason_to_keep(row, plan, files)
        if reason is None:
            plan.prunable.append(Prunable(row, NOT_FOUND))
        else:
            plan.kept.append(Kept(row, reason))
    _keep_what_may_have_moved(plan, files, catalogue)
    _keep_what_was_in_doubt(plan, files, catalogue)
    if options.excluded:
        for row in _excluded(files, scope, catalogue):
            if _is_wanted(row.path, below):
                plan.prunable.append(Prunable(row, EXCLUDED))
    plan.prunable.sort(key=lambda file: file.row.path)
    if plan.refusal is None:
        plan.refusal = _too_many(plan, files, catalogue, options)
    return plan


def _within(files: Survey, below: Collection[bytes]) -> list[Row]:
    """The files that vanished, in path order."""
    vanished = {**files.plan.vanished, **files.plan.vanished_notes}
    return [vanished[path] for path in sorted(vanished) if _is_wanted(path, below)]


def _is_wanted(path: bytes, below: Collection[bytes]) -> bool:
    return not below or any(is_below(path, folder) for folder in below)


def _reason_to_keep(row: Row, plan: PrunePlan, files: Survey) -> str | None:
    """Why a file that was not met may exist; that its disk is away refuses the whole prune."""
    doubt = files.evidence.doubt(row.path)
    if doubt is None:
        return None
    if doubt.is_disk and plan.refusal is None and row.state == INDEXED:
        plan.refusal = Refused(doubt.reason, path=display_path(doubt.folder), hint=GONE_FOR_GOOD)
    return doubt.reason


def _keep_what_may_have_moved(plan: PrunePlan, files: Survey, catalogue: Catalogue) -> None:
    """A move is found by content, when the new file is read; until then its size tells. Deleting
    the old point earlier would lose the picture's tags."""
    if not plan.prunable:
        return
    sizes = set()
    for record in files.plan.to_read:
        row = catalogue.get(record.path)
        if row is None or row.state != INDEXED:
            sizes.add(record.size)
    _keep(plan, [(file, MAY_HAVE_MOVED) for file in plan.prunable if _has_size(file.row, sizes)])


def _has_size(row: Row, sizes: set[int]) -> bool:
    return row.state == INDEXED and row.size in sizes


def _keep_what_was_in_doubt(plan: PrunePlan, files: Survey, catalogue: Catalogue) -> None:
    """The first run that missed a picture may have had reason to doubt that it is gone; where
    this is the first, it is asked here."""
    marks = catalogue.missing()
    returned = returned_pictures(catalogue, marks, files.plan.vanished) if plan.prunable else ()
    regained = folders_above(returned)
    doubtful = []
    for file in plan.prunable:
        mark = marks.get(file.row.path)
        if mark is None:
            doubt = doubt_of_swap(files.evidence, file.row.path, regained)
            if doubt is not None and file.is_picture:
                doubtful.append((file, doubt))
        elif mark.doubt is not None:
            doubtful.append((file, f"when it was first missed, {mark.since}: {mark.doubt}"))
    _keep(plan, doubtful)


def _keep(plan: PrunePlan, files: list[tuple[Prunable, str]]) -> None:
    reasons = {file.row.path: reason for file, reason in files}
    plan.kept += [Kept(file.row, reason) for file, reason in files]
    plan.prunable = [file for file in plan.prunable if file.row.path not in reasons]


def _excluded(files: Survey, scope: Scope, catalogue: Catalogue) -> Iterator[Row]:
    """Remembered files that exist and that the walk left out, by the options of their root.

    Not those of a folder that turned out to be a clipindex store, and not a link to nothing.
    """
    listed = files.evidence.listed
    left_out = set(files.left_out) - listed - {scope.excluded_folder}
    for folder in catalogue.folders_with_rows():
        rows = catalogue.in_folder(folder).values()
        if folder in listed:
            yield from (row for row in rows if row.path in left_out and is_file(row.path))
            continue
        above = topmost(folder, left_out)
        if above is not None and is_folder(above):
            yield from (row for row in rows if scope.part.holds(row.path))


def _too_many(
    plan: PrunePlan, files: Survey, catalogue: Catalogue, options: PruneOptions
) -> Refused | None:
    """The refusal when more pictures of a root would go than `options` allow."""
    roots = files.evidence.roots
    going: Counter[bytes] = Counter()
    for file in plan.prunable:
        root = topmost(file.row.path, roots)
        if file.is_picture and root is not None:
            going[root] += 1
    held: Counter[bytes] = Counter()
    for folder, count in catalogue.indexed_by_folder().items():
        root = topmost(folder, roots)
        if root is not None:
            held[root] += count
    for root, count in sorted(going.items()):
        if count > options.most(held[root]):
            return Refused(
                f"{count:,} of {held[root]:,} pictures would leave the index, more than "
                f"{options.most(held[root]):,}",
                path=display_path(root),
                hint="nothing was removed. `clipindex prune --dry-run` lists them; if they are to "
                f"go: --max-delete {count}",
            )
    return None
