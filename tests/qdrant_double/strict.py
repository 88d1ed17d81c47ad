"""Strict mode and rate limits: what a server refuses because its owner said so.

Words and order: lib/collection/src/operations/verification/*.rs, src/common/update.rs and
lib/common/common/src/rate_limiting.rs of Qdrant v1.18.3.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qdrant_double.protocol import Json, Problem

if TYPE_CHECKING:
    from qdrant_double.shard import Shard

MEBIBYTE = 1 << 20
LISTS = ("any", "except")
CLAUSES = ("should", "must", "must_not")


def refused(what: str, remedy: str) -> Problem:
    return Problem(400, f"Bad request: {what}. Help: {remedy}")


def limited(value: float | None, limit: float | None, name: str) -> None:
    """Raises Problem for a number above the limit."""
    if value is not None and limit is not None and value > limit:
        raise refused(
            f'Limit exceeded {value} > {limit} for "{name}"',
            f'Reduce the "{name}" parameter to or below {limit}.',
        )


def enabled(shard: Shard) -> Json:
    """The limits in force; empty where strict mode is off."""
    strict = shard.config["strict_mode_config"] or {}
    return strict if strict.get("enabled") else {}


def check_upsert(shard: Shard, points: list[Json]) -> None:
    strict = enabled(shard)
    limited(len(points), strict.get("upsert_max_batchsize"), "upsert limit")
    count = shard.points.info().points_count
    dimension = shard.dimension
    most = strict.get("max_collection_vector_size_bytes")
    if most is not None and count * dimension * 4 >= most:
        raise Problem(
            400, f"Bad request: Max vector storage size limit of {most / MEBIBYTE:g}MB reached!"
        )
    most = strict.get("max_points_count")
    if most is not None and count >= most:
        raise Problem(400, f"Bad request: Max points count limit of {most} reached!")
    check_memory(strict)


def check_index(shard: Shard) -> None:
    strict = enabled(shard)
    most = strict.get("max_payload_index_count")
    if most is not None and len(shard.indexes) >= most:
        raise refused(
            f"Collection already has the maximum number of payload indices ({most})",
            "Please delete an existing index before creating a new one.",
        )
    check_memory(strict)


def check_memory(strict: Json) -> None:
    """A limit of 0 percent is always exceeded; the double measures nothing else."""
    if strict.get("max_resident_memory_percent") == 0:
        raise refused(
            "Resident memory usage is at 1% of total memory, exceeding the configured limit of 0%",
            "Reduce memory usage (e.g. delete points or free segments) or raise"
            " `max_resident_memory_percent` in strict mode.",
        )
    if strict.get("max_disk_usage_percent") == 0:
        raise refused(
            "Disk usage is at 1% of total capacity, exceeding the configured limit of 0%",
            "Reduce disk usage (e.g. delete points or drop collections) or raise"
            " `max_disk_usage_percent` in strict mode.",
        )


def check_read(shard: Shard, body: Json, *, limit: int | None = None, counts: bool = False) -> None:
    """A search, scroll (with its limit) or count, in the server's order."""
    strict = enabled(shard)
    if not strict:
        return
    if "query" in body:
        _check_graph(shard, strict)
    if "group_by" in body:
        _check_grouping(shard, strict, body["group_by"])
    limited(limit, strict.get("max_query_limit"), "limit")
    _check_filter(shard, strict, body.get("filter"), "unindexed_filtering_retrieve")
    params = body.get("params") or {}
    exact = body.get("exact", True) if counts else params.get("exact", False)
    oversampling = (params.get("quantization") or {}).get("oversampling")
    if not counts:
        limited(oversampling, strict.get("search_max_oversampling"), "oversampling")
        limited(params.get("hnsw_ef"), strict.get("search_max_hnsw_ef"), "hnsw_ef")
    if exact and strict.get("search_allow_exact") is False:
        raise refused("Exact search disabled!", "Set exact=false.")


def check_delete(shard: Shard, conditions: Json) -> None:
    _check_filter(shard, enabled(shard), conditions, "unindexed_filtering_update")


def check_timeout(shard: Shard, query: dict[str, str]) -> None:
    if "timeout" in query:
        limited(int(query["timeout"]), enabled(shard).get("max_timeout"), "timeout")


def _check_graph(shard: Shard, strict: Json) -> None:
    vectors = shard.config["params"]["vectors"]
    hnsw = {**shard.config["hnsw_config"], **(vectors.get("hnsw_config") or {})}
    if strict.get("search_allow_exact") is False and hnsw["m"] == 0:
        raise refused(
            "Request is forbidden because global vector indexing is disabled (hnsw_config.m = 0)",
            "Use tenant-specific filter, enable global vector indexing or enable strict mode"
            " `search_allow_exact` option",
        )


def _check_grouping(shard: Shard, strict: Json, name: str) -> None:
    if strict.get("unindexed_filtering_retrieve") is False and name not in shard.indexes:
        raise refused(
            f'Index required but not found for "{name}"',
            "Create an index supporting `match` for this key.",
        )


def _check_filter(shard: Shard, strict: Json, conditions: Json | None, rule: str) -> None:
    single = list(flat(conditions))
    for condition in single:
        name = condition.get("key")
        unindexed = name is not None and name not in shard.indexes
        if strict.get(rule) is False and unindexed:
            raise refused(
                f'Index required but not found for "{name}" of one of the following types:'
                " [keyword]",
                "Create an index for this key or use a different filter.",
            )
    most = strict.get("filter_max_conditions")
    if most is not None and len(single) > most:
        raise refused(
            f"Filter condition limit reached ({len(single)} > {most})",
            "Reduce the amount of conditions of your filter.",
        )
    most = strict.get("condition_max_size")
    size = max(map(_size, single), default=0)
    if most is not None and size > most:
        raise refused(
            f"Condition size limit reached ({size} > {most})", "Reduce the size of your condition."
        )


def flat(conditions: Json | None) -> Iterator[Json]:
    """Every condition of a filter and of the filters in it."""
    for clause in CLAUSES:
        inside = (conditions or {}).get(clause) or []
        for condition in inside if isinstance(inside, list) else [inside]:
            if any(name in condition for name in CLAUSES):
                yield from flat(condition)
            else:
                yield condition


def _size(condition: Json) -> int:
    match: Any = condition.get("match") or {}
    lists = [match[name] for name in LISTS if name in match] + [condition.get("has_id", ())]
    return max(map(len, lists))


class RateLimiter:
    """Tokens that come back evenly over a minute; at most a minute's worth."""

    def __init__(self, per_minute: int) -> None:
        self.capacity = per_minute
        self.tokens = float(per_minute)
        self.looked = time.monotonic()
        self.lock = threading.Lock()

    def take(self, cost: int, kind: str) -> None:
        """Raises Problem (429) where there are too few; without Retry-After where there will
        never be enough."""
        if cost > self.capacity:
            raise Problem(
                429,
                f"Rate limiting exceeded: {kind} rate limit exceeded, request larger than rate"
                " limiter capacity, please try to split your request",
            )
        with self.lock:
            now = time.monotonic()
            back = (now - self.looked) * self.capacity / 60
            self.tokens, self.looked = min(self.capacity, self.tokens + back), now
            if self.tokens >= cost:
                self.tokens -= cost
                return
            wait = math.ceil((cost - self.tokens) * 60 / self.capacity)
            raise Problem(
                429,
                f"Rate limiting exceeded: {kind} rate limit exceeded: Operation requires {cost}"
                f" tokens but only {self.tokens:.1f} were available. Retry after {wait}s",
                headers={"retry-after": str(wait)},
            )


def spend(shard: Shard, kind: str, cost: int) -> None:
    """Pay for a "Read" or "Write"; rate limits hold even where strict mode is off. A write is paid
    twice, as seen on 1.18.3: the replica set checks it before and while it applies it."""
    strict = shard.config["strict_mode_config"] or {}
    limit = strict.get(f"{kind.lower()}_rate_limit")
    if limit is not None:
        for _ in range(2 if kind == "Write" else 1):
            shard.limiter(kind, limit).take(cost, kind)
