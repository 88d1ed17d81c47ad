"""Requests that write: upsert, delete and payload indexes."""

from __future__ import annotations

from typing import Any

import qdrant_edge

from qdrant_double import strict
from qdrant_double.filters import engine_filter, point_id
from qdrant_double.protocol import Json, Problem, wrong_input
from qdrant_double.shard import Shard

engine: Any = qdrant_edge
KINDS = ("keyword", "integer", "float", "bool", "uuid", "datetime", "geo", "text")


def upsert(shard: Shard, body: Json) -> int:
    points = body["points"]
    strict.check_upsert(shard, points)
    size = shard.dimension
    for point in points:
        if len(point["vector"]) != size:
            got = len(point["vector"])
            raise wrong_input(f"Vector dimension error: expected dim: {size}, got {got}")
    _something(points)
    records = [
        engine.Point(point_id(each["id"]), each["vector"], each.get("payload") or {})
        for each in points
    ]
    strict.spend(shard, "Write", len(points))
    ids = [point_id(each["id"]) for each in points]
    return _applied(shard, ids, engine.UpdateOperation.upsert_points(records))


def delete(shard: Shard, body: Json) -> int:
    if "filter" in body:
        chosen = engine_filter(body["filter"]) or engine.Filter()
        strict.check_delete(shard, body["filter"])
        asked = engine.CountRequest(False, chosen)
        strict.spend(shard, "Write", max(1, shard.run(lambda points: points.count(asked))))
        return shard.write(engine.UpdateOperation.delete_points_by_filter(chosen))
    ids = [point_id(name) for name in body["points"]]
    _something(ids)
    strict.spend(shard, "Write", len(ids))
    return _applied(shard, ids, engine.UpdateOperation.delete_points(ids))


def create_index(shard: Shard, body: Json) -> int:
    """Make a payload index, or do nothing where it exists."""
    name, schema = body["field_name"], body.get("field_schema") or body.get("field_type")
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if kind not in KINDS:
        words = "Can't auto-detect field type, please specify `field_schema` in the request"
        raise Problem(400, f"Bad request: {words}")
    strict.check_index(shard)
    schema_type = getattr(engine.PayloadSchemaType, kind.capitalize())
    shard.remember()
    number = shard.write(engine.UpdateOperation.create_field_index(name, schema_type))
    shard.indexes[name] = schema
    return number


def _something(points: list[Any]) -> None:
    if not points:
        raise Problem(400, "Bad request: Empty update request")


def _applied(shard: Shard, ids: list[Any], change: Any) -> int:
    shard.note(ids)
    number = shard.write(change)
    shard.versions.update(dict.fromkeys(ids, number))
    return number
