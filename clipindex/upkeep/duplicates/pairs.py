"""Pure: a camera raw file and the JPEG beside it are one shot, and no duplicates of each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from clipindex.search.pairs import are_pair
from clipindex.upkeep.duplicates.findings import DuplicateFile, DuplicateGroup, Role


def without_pairs(groups: Iterable[DuplicateGroup]) -> list[DuplicateGroup]:
    """What lies beside the best of a group as the same shot is kept with it; a group of nothing
    else is no group."""
    kept = [DuplicateGroup(files=tuple(_paired(group))) for group in groups]
    return [group for group in kept if any(_is_more(file) for file in group.files)]


def _paired(group: DuplicateGroup) -> Iterable[DuplicateFile]:
    best = group.files[0]
    for file in group.files:
        if file is not best and file.source == best.source and are_pair(best, file):
            file = replace(file, role=Role.PAIR, spare=False)
        yield file


def _is_more(file: DuplicateFile) -> bool:
    return file.role not in (Role.BEST, Role.PAIR)
