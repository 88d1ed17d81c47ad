"""How a server searches a collection: exactly, or by its graph (HNSW), and with which parameters.

Both constants are measured (`benchmarks/server.py`): Qdrant 1.18.3, two cores, 1,000,000 vectors
of 512 numbers, 20 text queries. Texts lie outside the cloud of pictures, which is a graph's hardest
case; for pictures each row finds all ten.

    ef                   100 (default)   256     512     1024    exact
    recall@10            0.335           0.530   0.675   0.830   1.000
    ms, half the queries 5               7       12      17      88
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clipindex.stores.filter import Filter
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod

if TYPE_CHECKING:
    from clipindex.stores.server_collections import CollectionInfo

# Points up to which every vector is compared. At a million that takes 88 ms, where the graph with
# EF takes 17 ms and misses a sixth of the best ten of a text; a query's start takes 1.2 s.
EXACT_UP_TO = 1_000_000
EF = 1024  # candidates of an approximate search
NARROW = 100  # a filter that keeps one point of so many is searched exactly
OVERSAMPLING = 2.0  # of quantised vectors: recall@10 1.000, scores off by 0.00000 (int8, 12,000)


def method_for(info: CollectionInfo, accuracy: Accuracy = Accuracy.AUTO) -> SearchMethod:
    """How to search a collection; where strict mode forbids exact search, the graph is asked."""
    if info.limits.exact and wants_exact(info, accuracy):
        return EXACT
    return SearchMethod(EF if info.limits.ef is None else min(EF, info.limits.ef))


def wants_exact(info: CollectionInfo, accuracy: Accuracy) -> bool:
    """Whether every vector is to be compared, if the server allows it."""
    if accuracy is Accuracy.AUTO:
        return info.points <= EXACT_UP_TO
    return accuracy is Accuracy.EXACT


def is_narrow(info: CollectionInfo, only: Filter, count: Callable[[Filter], int]) -> bool:
    """Whether a filter keeps so few points that comparing them all costs less than the graph,
    which under such a filter finds fewer of them."""
    return only != Filter() and count(only) * NARROW <= info.points


def search_params(info: CollectionInfo, method: SearchMethod) -> dict[str, object]:
    """The parameters of a request. Quantised vectors only choose candidates: the scores are those
    of the vectors themselves, so that they are cosines. (Exact searches use no others.)"""
    if method == EXACT:
        return {"exact": True}
    params: dict[str, object] = {"hnsw_ef": method.ef}
    if info.is_quantised:
        most = info.limits.oversampling
        oversampling = OVERSAMPLING if most is None else min(OVERSAMPLING, most)
        params["quantization"] = {"rescore": True, "oversampling": oversampling}
    return params
