"""Searching an embedded store with a filter: by the engine's indexes, or by the lookup file.

What the lookup selects is handed to the engine as a set of ids, while they are few; of many, most
of the nearest points are among them, so the nearest ones are looked up a page at a time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from clipindex.stores.edge_filter import among_ids, engine_filter
from clipindex.stores.filter import Filter
from clipindex.stores.lookup_sql import is_known
from clipindex.stores.points import ScoredContent

if TYPE_CHECKING:
    from clipindex.stores.lookup import Lookup

FOLDED_AT_ONCE = 100  # points of a search's first page: most pictures have no copies
# Measured with 100,000 points: a set of 4,000 ids costs 8 ms, one of 50,000 costs 100 ms.
IDS_AT_MOST = 4_000
PAGES = (1_000, 4_000)  # nearest points that are looked up before a larger set is made after all

Nearest = Callable[[int, int, Any, Any], list[Any]]  # limit, offset, filter, payload: hits


def search(
    nearest: Nearest, limit: int, only: Filter, lookup: Lookup | None
) -> list[ScoredContent]:
    """The nearest different contents. The engine's Python API cannot group, so copies are folded
    here, page by page until there are enough contents."""
    if lookup is None:
        return _fold(nearest, limit, engine_filter(only.conditions()))
    asked, others = only.on(is_known), only.on(_is_unknown).conditions()
    names = lookup.ids(asked, IDS_AT_MOST)
    if names is None:
        contents = _look_up(nearest, limit, asked, engine_filter(others), lookup)
        if contents is not None:
            return contents
        names = lookup.ids(asked)
    return _fold(nearest, limit, among_ids(names, others)) if names else []


def narrowed(only: Filter, lookup: Lookup | None) -> tuple[Any, Filter | None]:
    """The engine's filter for a scroll, and what is left to be looked up of each page."""
    if lookup is None:
        return engine_filter(only.conditions()), None
    asked, others = only.on(is_known), only.on(_is_unknown).conditions()
    names = lookup.ids(asked, IDS_AT_MOST)
    if names is not None:
        return among_ids(names, others), None
    return engine_filter(others), asked


def _fold(nearest: Nearest, limit: int, only: Any) -> list[ScoredContent]:
    best: dict[str, float] = {}
    offset = 0
    page = max(limit, FOLDED_AT_ONCE)
    while len(best) < limit:
        hits = nearest(page, offset, only, ["sha256"])
        for hit in hits:
            content = hit.payload.get("sha256")
            if isinstance(content, str):  # else another program wrote the point
                best.setdefault(content, hit.score)
        if len(hits) < page:
            break
        offset += page
        page *= 2
    return _ranked(best.items(), limit)


def _look_up(
    nearest: Nearest, limit: int, asked: Filter, others: Any, lookup: Lookup
) -> list[ScoredContent] | None:
    """By the nearest points of all; None where too few of them match."""
    best: dict[str, float] = {}
    offset = 0
    for page in PAGES:
        hits = nearest(page, offset, others, False)
        contents = lookup.contents(asked, [hit.id for hit in hits])
        for hit in hits:
            if hit.id in contents:
                best.setdefault(contents[hit.id], hit.score)
        if len(best) >= limit or len(hits) < page:
            return _ranked(best.items(), limit)
        offset += page
    return None


def _ranked(best: Iterable[tuple[str, float]], limit: int) -> list[ScoredContent]:
    return [ScoredContent(sha256, score) for sha256, score in islice(best, limit)]


def _is_unknown(field: str) -> bool:
    return not is_known(field)


def kept(
    page: list[tuple[uuid.UUID, Any]], left: Filter | None, lookup: Lookup | None
) -> list[tuple[uuid.UUID, Any]]:
    """The points of a page that match what was left to be looked up."""
    if left is None or lookup is None:
        return page
    contents = lookup.contents(left, [name for name, _ in page])
    return [point for point in page if point[0] in contents]
