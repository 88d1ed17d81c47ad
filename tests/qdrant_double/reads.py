"""Requests that read points: retrieve, scroll, count, query and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qdrant_edge

from qdrant_double import strict
from qdrant_double.filters import also, engine_filter, point_id
from qdrant_double.protocol import Json, Problem, wrong_input
from qdrant_double.shard import Shard

engine: Any = qdrant_edge
GROUPING_SEARCHES = 5  # MAX_GET_GROUPS_REQUESTS of lib/collection/src/grouping/group_by.rs
FILLING_SEARCHES = 5  # MAX_GROUP_FILLING_REQUESTS there


def retrieve(shard: Shard, body: Json) -> list[Json]:
    ids = [point_id(name) for name in body["ids"]]
    strict.spend(shard, "Read", len(ids))
    payload, vector = body.get("with_payload", False), bool(body.get("with_vector", False))
    records = shard.run(lambda points: points.retrieve(ids, _selector(payload), vector))
    return [record_json(each, payload=payload is not False, vector=vector) for each in records]


def scroll(shard: Shard, body: Json) -> Json:
    limit, offset = body.get("limit") or 10, body.get("offset")
    strict.check_read(shard, body, limit=limit)
    strict.spend(shard, "Read", 1 + len(list(strict.flat(body.get("filter")))))
    payload, vector = body.get("with_payload", True), bool(body.get("with_vector", False))
    asked = engine.ScrollRequest(
        limit=limit,
        offset=None if offset is None else point_id(offset),
        filter=engine_filter(body.get("filter")),
        with_payload=_selector(payload),
        with_vector=vector,
    )
    page, following = shard.run(lambda points: points.scroll(asked))
    return {
        "points": [record_json(each, payload=payload is not False, vector=vector) for each in page],
        "next_page_offset": _name(following),
    }


def count(shard: Shard, body: Json) -> Json:
    strict.check_read(shard, body, counts=True)
    strict.spend(shard, "Read", 1 + len(list(strict.flat(body.get("filter")))))
    asked = engine.CountRequest(True, engine_filter(body.get("filter")))
    number = shard.run(lambda points: points.count(asked))
    return {"count": number if body.get("exact", True) else shard.approximate(number)}


def facet(shard: Shard, body: Json) -> Json:
    """The values of a field that has an index, the most frequent first."""
    if body["key"] not in shard.indexes:
        raise Problem(400, f"Bad request: No appropriate index for faceting: `{body['key']}`")
    asked = engine.FacetRequest(body["key"], limit=body.get("limit") or 10, exact=True)
    hits = shard.run(lambda points: points.facet(asked)).hits
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}


def query(shard: Shard, body: Json) -> Json:
    limit = body.get("limit", 10)
    strict.check_read(shard, body, limit=limit)
    search = Search(shard, body)
    hits = search.run(limit, body.get("filter"), _selector(body.get("with_payload", False)))
    return {"points": [search.hit_json(hit) for hit in hits]}


def groups(shard: Shard, body: Json) -> Json:
    """A few searches for groups, then a few for members of groups that are not full."""
    name, size, limit = body["group_by"], body.get("group_size", 3), body.get("limit", 3)
    strict.check_read(shard, body, limit=limit * size)
    search, groups = Search(shard, body), Groups(name, size, limit)
    only = also(body.get("filter"), must_not=[{"is_empty": {"key": name}}])
    for _ in range(GROUPING_SEARCHES):
        full = [key for key, hits in groups.members.items() if len(hits) >= size]
        others = also(only, must=[{"key": name, "match": {"except": full}}]) if full else only
        others = also(others, must_not=[{"has_id": groups.ids}]) if groups.ids else others
        hits = search.run(limit * size, others, [name])
        groups.add(hits)
        if not hits or groups.are_full():
            break
    for _ in range(0 if groups.are_full() else FILLING_SEARCHES):
        unfilled = [key for key in groups.best() if len(groups.members[key]) < size]
        if size == 1 or not unfilled:
            break
        among = also(only, must=[{"key": name, "match": {"any": unfilled}}])
        hits = search.run(limit * size, also(among, must_not=[{"has_id": groups.ids}]), [name])
        if not hits:
            break
        groups.add(hits)
    wanted = search.hydrated(groups)
    return {"groups": [{"id": key, "hits": wanted[key]} for key in groups.best()]}


class Groups:
    """Hits by the value of a payload field."""

    def __init__(self, field: str, size: int, limit: int) -> None:
        self.field = field
        self.size = size
        self.limit = limit
        self.members: dict[Any, list[Any]] = {}
        self.ids: list[Any] = []

    def add(self, hits: list[Any]) -> None:
        for hit in hits:
            values = hit.payload.get(self.field)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str | int):
                    self.members.setdefault(value, []).append(hit)
            self.ids.append(_name(hit.id))

    def best(self) -> list[Any]:
        """The keys of the best groups, best first."""
        order = sorted(self.members, key=lambda key: -max(h.score for h in self.members[key]))
        return order[: self.limit]

    def hits(self, key: Any) -> list[Any]:
        """The best hits of a group."""
        return sorted(self.members[key], key=lambda hit: -hit.score)[: self.size]

    def are_full(self) -> bool:
        best = self.best()
        return len(best) >= self.limit and all(len(self.members[k]) >= self.size for k in best)


@dataclass
class Search:
    """The searches of one request."""

    shard: Shard
    body: Json

    def run(self, limit: int, conditions: Json | None, payload: Any) -> list[Any]:
        strict.spend(self.shard, "Read", 1 + len(list(strict.flat(conditions))))
        self.shard.optimize()
        asked = engine.QueryRequest(
            limit=limit,
            offset=self.body.get("offset") or 0,
            query=engine.Query.Nearest(self._vector()),
            filter=engine_filter(conditions),
            score_threshold=self.body.get("score_threshold"),
            with_payload=payload,
            with_vector=bool(self.body.get("with_vector", False)),
            params=_params(self.body.get("params") or {}),
        )
        hits = self.shard.run(lambda points: points.query(asked))
        return self.shard.forgetful(hits, self.body.get("params") or {})

    def hydrated(self, groups: Groups) -> dict[Any, list[Json]]:
        """Payload and vector are fetched at the end, as they were asked for."""
        payload, vector = self.body.get("with_payload", False), self.body.get("with_vector", False)
        records = {}
        if payload is not False or vector:
            ids = [hit.id for key in groups.best() for hit in groups.hits(key)]
            got = self.shard.run(
                lambda points: points.retrieve(ids, _selector(payload), bool(vector))
            )
            records = {
                record.id: record_json(record, payload=payload is not False, vector=bool(vector))
                for record in got
            }
        return {
            key: [{**self.scored(hit), **records.get(hit.id, {})} for hit in groups.hits(key)]
            for key in groups.best()
        }

    def hit_json(self, hit: Any) -> Json:
        payload = self.body.get("with_payload", False) is not False
        vector = bool(self.body.get("with_vector", False))
        return {**self.scored(hit), **record_json(hit, payload=payload, vector=vector)}

    def scored(self, hit: Any) -> Json:
        version = self.shard.versions.get(hit.id, 0)
        return {"id": _name(hit.id), "version": version, "score": hit.score}

    def _vector(self) -> list[float]:
        asked = self.body["query"]
        vector = asked.get("nearest") if isinstance(asked, dict) else asked
        size = self.shard.dimension
        if not isinstance(vector, list):
            raise Problem(400, "the double knows no query but the nearest to a vector")
        if len(vector) != size:
            words = f"Vector dimension error: expected dim: {size}, got {len(vector)}"
            raise wrong_input(words)
        return vector


def _selector(payload: Any) -> Any:
    """Which fields of the payload are wanted, as the engine takes it."""
    include = payload.get("include") if isinstance(payload, dict) else payload
    return include if isinstance(include, list) else bool(payload)


def _params(params: Json) -> Any:
    quantization = params.get("quantization")
    if quantization is not None:
        quantization = engine.QuantizationSearchParams(
            ignore=quantization.get("ignore") or False,
            rescore=quantization.get("rescore"),
            oversampling=quantization.get("oversampling"),
        )
    return engine.SearchParams(
        hnsw_ef=params.get("hnsw_ef"),
        exact=params.get("exact") or False,
        quantization=quantization,
        indexed_only=params.get("indexed_only") or False,
    )


def record_json(record: Any, *, payload: bool, vector: bool) -> Json:
    """A point as an answer spells it: what was not asked for is left out."""
    answer: Json = {"id": _name(record.id)}
    if payload:
        answer["payload"] = record.payload
    if vector:
        answer["vector"] = [float(x) for x in record.vector]
    return answer


def _name(name: Any) -> Any:
    return name if name is None or isinstance(name, int) else str(name)
