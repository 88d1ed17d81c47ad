"""Several nodes that share collections: nodes that are dead, replicas and settings that lag.

Each node is a double of its own. The first `replication_factor` nodes hold the copies of a
collection. `node.staleness` and `node.config_lag`, in seconds, make a node answer from the past;
`node.stop()` and `start()` kill and restart it, `node.awake.clear()` lets it hang.
Rules: lib/collection/src/shards/replica_set/execute_read_operation.rs and shards/resolve.rs of
Qdrant v1.18.3.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import qdrant_edge

from qdrant_double.double import Double, State
from qdrant_double.protocol import Json, Problem
from qdrant_double.shard import Shard

engine: Any = qdrant_edge


class Cluster:
    """Nodes of one cluster; a context manager."""

    def __init__(self, folder: Path, nodes: int = 3, **how: Any) -> None:
        self.state = State(folder, cluster=self)
        self.nodes = [Double(folder, state=self.state, **how) for _ in range(nodes)]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as all_nodes:
            for node in self.nodes:
                all_nodes.push(node)

    def check_consensus(self) -> None:
        """Raises Problem where fewer than half of the nodes live: nothing can be agreed."""
        living = sum(node.is_running for node in self.nodes)
        if living < len(self.nodes) // 2 + 1:
            words = "Waiting for consensus operation commit failed. Timeout set at: 10 seconds"
            raise Problem(500, f"Service internal error: {words}")

    def read(
        self, asked: Double, shard: Shard, consistency: str, read: Callable[[Any], Any]
    ) -> Any:
        """The answer of one replica, or what several agree about."""
        copies = self.nodes[: shard.config["params"]["replication_factor"]]
        living = [node for node in copies if node.is_running]
        living.sort(key=lambda node: node is not asked)  # its own copy first
        required, needed = _required(consistency, len(copies))
        if len(living) < required:
            words = f"The replica set for shard 0 on peer {self.nodes.index(asked) + 1}"
            words += " does not have enough active replicas"
            raise Problem(500, f"Service internal error: {words}")
        answers = [read(Behind(shard, node.staleness)) for node in living[:required]]
        return answers[0] if required == 1 else _agreed(answers, needed)


def _required(consistency: str, copies: int) -> tuple[int, int]:
    """How many replicas are asked, and how many must agree."""
    if consistency == "majority":
        return copies, copies // 2 + 1
    if consistency == "all":
        return copies, copies
    if consistency == "quorum":
        return copies // 2 + 1, copies // 2 + 1
    factor = min(max(int(consistency or 1), 1), copies)
    return factor, factor


def _agreed(answers: list[Any], needed: int) -> Any:
    """The points that enough answers hold in the same state; of counts, the one that holds."""
    first = answers[0]
    if isinstance(first, list):
        return _common(answers, needed)
    if "count" in first:
        counts = sorted(answer["count"] for answer in answers)
        return {"count": counts[0] if needed == len(answers) else counts[len(counts) // 2]}
    if "points" in first:
        return {**first, "points": _common([answer["points"] for answer in answers], needed)}
    return {"groups": _common([answer["groups"] for answer in answers], needed)}


def _common(lists: list[list[Json]], needed: int) -> list[Json]:
    kept: list[Json] = []
    for record in (record for records in lists for record in records):
        if record not in kept and sum(record in records for records in lists) >= needed:
            kept.append(record)
    return kept


class Behind:
    """A shard as a replica knows it that has not applied the writes of the last seconds."""

    def __init__(self, shard: Shard, seconds: float) -> None:
        self.shard = shard
        self.past = shard.past(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shard, name)

    def run(self, call: Callable[[Any], Any]) -> Any:
        if not self.past:
            return self.shard.run(call)
        return self.shard.run(lambda points: call(_BehindPoints(points, self.past)))


class _BehindPoints:
    """Points without those that are new, and with changed ones as they were; what was deleted
    comes back in a retrieve only."""

    def __init__(self, points: Any, past: dict[Any, Any]) -> None:
        self.points = points
        self.past = past
        self.new = {id for id, before in past.items() if before is None}

    def retrieve(self, ids: list[Any], payload: Any, vector: bool) -> list[Any]:
        now = {record.id: record for record in self.points.retrieve(ids, payload, vector)}
        then = {**now, **{id: self.past[id] for id in ids if id in self.past}}
        return [then[id] for id in ids if then.get(id) is not None]

    def scroll(self, asked: Any) -> tuple[list[Any], Any]:
        page, following = self.points.scroll(asked)
        return [self.past.get(r.id, r) for r in page if r.id not in self.new], following

    def count(self, asked: Any) -> int:
        hidden = [engine.HasIdCondition(self.new), *([asked.filter] if asked.filter else [])]
        new = self.points.count(engine.CountRequest(True, engine.Filter(must=hidden)))
        return int(self.points.count(asked) - new)

    def query(self, asked: Any) -> list[Any]:
        return [hit for hit in self.points.query(asked) if hit.id not in self.new]
