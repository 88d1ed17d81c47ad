"""The embedded engine by itself: its index built, its searches timed.

python -m benchmarks.engine optimise SHARD
python -m benchmarks.engine search SHARD
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

import numpy as np
import qdrant_edge

engine: Any = qdrant_edge  # its stub knows no numpy vectors

QUERIES, LIMIT = 50, 10


def main() -> None:
    what, folder = sys.argv[1:]
    shard = engine.EdgeShard.load(folder)
    if what == "optimise":
        shard.optimize()
        shard.flush()
    else:
        print(json.dumps(search(shard)))
    shard.close()


def search(shard: Any) -> dict[str, float]:
    """Median ms of a search, exact and as the index answers, and how much of the exact answer
    the index finds. Queries are points of the collection, disturbed."""
    request = engine.ScrollRequest(limit=QUERIES, with_payload=False, with_vector=True)
    points, _ = shard.scroll(request)
    rng = np.random.default_rng(2)
    queries = [np.asarray(point.vector, np.float32) for point in points]
    disturbed = [query + rng.normal(0, 0.02, query.shape).astype(np.float32) for query in queries]
    exact_ms, exact = _answers(shard, disturbed, exact=True)
    indexed_ms, indexed = _answers(shard, disturbed, exact=False)
    shared = sum(len(mine & theirs) for mine, theirs in zip(exact, indexed, strict=True))
    recall = shared / sum(map(len, exact))
    return {"exact_ms": exact_ms, "indexed_ms": indexed_ms, "recall": recall}


def _answers(shard: Any, queries: list[Any], *, exact: bool) -> tuple[float, list[set[Any]]]:
    spent, answers = [], []
    for query in queries:
        request = engine.QueryRequest(
            limit=LIMIT,
            query=engine.Query.Nearest(query / np.linalg.norm(query)),
            with_payload=False,
            with_vector=False,
            params=engine.SearchParams(exact=exact),
        )
        began = time.perf_counter()
        answers.append({hit.id for hit in shard.query(request)})
        spent.append((time.perf_counter() - began) * 1e3)
    return median(spent), answers


if __name__ == "__main__":
    main()
