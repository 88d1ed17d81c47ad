"""`prune`: what vanished leaves the index, on positive evidence and after a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.names import require_named_source
from clipindex.collection.opening import open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.collection.status import open_catalogue
from clipindex.errors import DiskNotMounted, Refused, UsageError
from clipindex.files.access import exists, is_gone
from clipindex.files.identity import display_path, is_below, resolve_root
from clipindex.ingest.options import PruneOptions
from clipindex.ingest.prunable import GONE_FOR_GOOD, NOT_FOUND, Prunable, PrunePlan, plan_prune
from clipindex.ingest.scope import Part, Scope, excluded_path, root_from_memory
from clipindex.upkeep.prune import remove_files

Agree = Callable[[PrunePlan], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a prune did. `plan.kept` stayed although it was not found."""

    plan: PrunePlan
    removed: list[Prunable] = field(default_factory=list)
    points: int | None = None  # left in the collection; None: nothing was opened for writing


def foresee(place: Place, paths: Sequence[AnyPath], options: PruneOptions, part: Part) -> PrunePlan:
    """What a prune would remove; nothing is locked or written. Raises as `prune` does, but for
    the refusal, which is in the plan."""
    require_named_source(place)
    located = place.for_part(part.number, part.of).locate()
    located.require()
    with open_catalogue(located) as catalogue:
        if catalogue is None:
            raise _no_root(located.place)
        return _plan(located.place, catalogue, paths, options, part)


def prune(
    place: Place,
    paths: Sequence[AnyPath],
    options: PruneOptions,
    part: Part,
    agree: Agree | None = None,
) -> PruneReport:
    """Remove the points and rows of files that are proved to be gone, at or below `paths`; none
    named: below every remembered root.

    `agree` is asked before, while nothing is locked; the roots are walked again afterwards, and
    only files that both walks missed are removed. Raises Refused when a disk is away or too many
    pictures would go, UsageError when nothing there was ever ingested.
    """
    agreed: set[bytes] | None = None
    if agree is not None:
        plan = foresee(place, paths, options, part)
        if plan.refusal is not None:
            raise plan.refusal
        if not plan.prunable or not agree(plan):
            return PruneReport(plan=plan)
        agreed = {file.row.path for file in plan.prunable}
    require_named_source(place)
    with open_for_change(place.for_part(part.number, part.of), "prune") as collection:
        plan = _plan(collection.place, collection.catalogue, paths, options, part)
        if plan.refusal is not None:
            raise plan.refusal
        going = {
            file.row.path: file
            for file in plan.prunable
            if agreed is None or file.row.path in agreed
        }

        def still(path: bytes) -> bool:
            return going[path].why != NOT_FOUND or is_gone(path)

        removed = [going[path] for path in remove_files(collection, going, still)]
        collection.catalogue.count(pruned=len(removed))
        return PruneReport(plan=plan, removed=removed, points=collection.points.count())


def _plan(
    place: Place,
    catalogue: Catalogue,
    paths: Sequence[AnyPath],
    options: PruneOptions,
    part: Part,
) -> PrunePlan:
    """The plan for the remembered roots. All of them are walked where they can be, for a picture
    may have moved from one to another; only those of `paths` are judged, and must be there."""
    memories = {path: root_from_memory(path, how) for path, how in catalogue.roots().items()}
    below = [resolve_root(path) for path in paths]
    judged = [
        root
        for root in memories
        if not below or any(is_below(root, path) or is_below(path, root) for path in below)
    ]
    if not judged:
        raise _no_root(place, paths)
    counts = catalogue.indexed_by_folder()
    away = [root for root in memories if not exists(root)]
    for root in away:
        if root in judged and any(is_below(folder, root) for folder in counts):
            raise _away(root)
    roots = [root for root in memories if root not in away]
    while True:
        scope = Scope(
            roots=tuple(memories[root] for root in roots),
            part=part,
            excluded_folder=excluded_path(place),
        )
        try:
            return plan_prune(scope, catalogue, below, options)
        except DiskNotMounted as error:
            (empty,) = [root for root in roots if display_path(root) == error.path]
            if empty in judged:
                raise _away(empty) from error
            roots.remove(empty)


def _away(root: bytes) -> Refused:
    return Refused(
        "nothing is there, but the collection remembers pictures below it: is the disk mounted?",
        path=display_path(root),
        hint=GONE_FOR_GOOD,
    )


def _no_root(place: Place, paths: Sequence[AnyPath] = ()) -> UsageError:
    if paths:
        return UsageError(
            "no remembered folder is at, above or below it",
            path=str(paths[0]),
            hint="`clipindex status` lists the folders; `clipindex forget --prune` removes what "
            "was indexed elsewhere",
        )
    return UsageError(
        f"the collection remembers no folder of source '{place.source}'",
        hint="ingest one first: clipindex ingest FOLDER. Folders are remembered for each --source",
    )
