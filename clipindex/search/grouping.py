"""The best picture of each group: of a product, a client, a trip.

Groups are folded here, also on a server. Its own groups (Qdrant 1.18.3, tried) leave out every
picture whose value is true, false or stored as a float, as all numbers of metadata are; and among
equal scores they know neither the query's own picture nor the order of paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from clipindex.search.hits import Hit

AT_FIRST = 4  # hits fetched for each group wanted; groups are often larger

Fetch = Callable[[int], list[Hit]]  # the best so many hits, best first; fewer: there are no more


def best_of_groups(fetch: Fetch, key: str, limit: int) -> list[Hit]:
    """The best hit of each of the `limit` best groups, by the value of a tag or of metadata.
    Pictures without the key are in no group, those with several values (keywords) in several."""
    count = AT_FIRST * limit
    while True:
        hits = fetch(count)
        groups = _groups(hits, key)
        if len(groups) >= limit or len(hits) < count:
            return groups[:limit]
        count *= AT_FIRST


def _groups(hits: Iterable[Hit], key: str) -> list[Hit]:
    best: dict[str, Hit] = {}
    for hit in hits:
        value = hit.tags.get(key, hit.meta.get(key))
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                best.setdefault(repr(one), replace(hit, group=one))
    return list(best.values())
