"""One shot in two files: a camera raw file beside its JPEG, a phone's HEIC beside the JPEG of it.

A pair lies in one folder, with one name but for the extension. That alone proves little (`1.png`
and `1.jpg`): both were taken at the same time, or one is a camera raw file and the other does not
say when it was taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from clipindex.pictures.formats import TIFF_RAW_NAMES
from clipindex.search.hits import Hit

AT_FIRST = 2  # hits fetched for each one wanted: all of them may be pairs
RAW_NAMES = {name.decode() for name in TIFF_RAW_NAMES} | {".cr3", ".raf", ".orf", ".rw2", ".raw"}

Fetch = Callable[[int], list[Hit]]  # the best so many hits, best first; fewer: there are no more
Name = tuple[str, str, str]  # folder, name without its extension, extension


class Shot(Protocol):
    """A file that is shown: a hit, or one of a group of duplicates."""

    @property
    def path(self) -> str: ...

    @property
    def taken(self) -> str | None: ...


def are_pair(one: Shot, other: Shot) -> bool:
    """Whether two files are one shot."""
    return _are_pair(_name(one.path), one.taken, _name(other.path), other.taken)


def _are_pair(one: Name, taken: str | None, other: Name, taken_too: str | None) -> bool:
    if one[:2] != other[:2] or one[2] == other[2]:
        return False
    if taken and taken_too:
        return taken == taken_too
    return not {one[2], other[2]}.isdisjoint(RAW_NAMES)


def best_of_pairs(fetch: Fetch, limit: int, without: Sequence[Hit] = ()) -> list[Hit]:
    """The best `limit` hits, each pair as one: the better file of it, with the paths of both.
    Left out is what is a pair with one of `without`."""
    count = AT_FIRST * limit
    while True:
        hits = fetch(count)
        folded = [hit for hit in _folded(hits) if not _is_half_of(hit, without)]
        if len(folded) >= limit or len(hits) < count:
            return folded[:limit]
        count *= AT_FIRST


def _folded(hits: list[Hit]) -> list[Hit]:
    """Copies count: a pair is one wherever a copy of one file lies beside one of the other."""
    folded: list[Hit] = []
    beside: dict[tuple[str, str], list[int]] = {}
    for hit in hits:
        names = [_name(path) for path in hit.paths]
        for number in (number for name in names for number in beside.get(name[:2], ())):
            if _share_a_shot(folded[number], hit, names):
                better = folded[number]
                paths = dict.fromkeys((*better.paths, *hit.paths))
                folded[number] = replace(better, paths=tuple(paths))
                break
        else:
            for name in names:
                beside.setdefault(name[:2], []).append(len(folded))
            folded.append(hit)
    return folded


def _is_half_of(hit: Hit, others: Sequence[Hit]) -> bool:
    names = [_name(path) for path in hit.paths] if others else []
    return any(_share_a_shot(other, hit, names) for other in others)


def _share_a_shot(better: Hit, hit: Hit, names: list[Name]) -> bool:
    return any(
        _are_pair(_name(path), better.taken, name, hit.taken)
        for path in better.paths
        for name in names
    )


def _name(path: str) -> Name:
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    return folder, stem.casefold(), extension.lower()
