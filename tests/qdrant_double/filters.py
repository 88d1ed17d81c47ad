"""Filters from Qdrant's REST spelling to the engine's, independently of clipindex's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import qdrant_edge

from qdrant_double.protocol import Json, Problem

engine: Any = qdrant_edge
MATCHES: dict[str, Callable[[Any], Any]] = {
    # The engine's Python API takes True for the number 1.
    "value": lambda value: engine.MatchValue(np.bool_(value) if type(value) is bool else value),
    "any": engine.MatchAny,
    "except": engine.MatchExcept,
    "text": engine.MatchText,
}
CONDITIONS: dict[str, Callable[[Any], Any]] = {
    "has_id": lambda ids: engine.HasIdCondition({point_id(name) for name in ids}),
    "is_empty": lambda field: engine.IsEmptyCondition(field["key"]),
    "is_null": lambda field: engine.IsNullCondition(field["key"]),
}


def point_id(name: Any) -> uuid.UUID | int:
    """A point's id, a UUID or a number, as the engine takes it."""
    try:
        return uuid.UUID(name) if isinstance(name, str) else int(name)
    except (ValueError, TypeError) as error:
        raise unknown_variant("PointId") from error


def unknown_variant(kind: str) -> Problem:
    """The 400 of a JSON body that fits none of a type's forms."""
    words = f"data did not match any variant of untagged enum {kind}"
    return Problem(400, f"Format error in JSON body: {words}")


def engine_filter(conditions: Json | None) -> Any:
    """The engine's filter; None for the empty one. Raises Problem for what it cannot do."""
    clauses: dict[str, Any] = {}
    for clause, inside in (conditions or {}).items():
        if clause not in ("must", "must_not", "should"):
            raise Problem(400, f"Format error in JSON body: unknown field `{clause}`")
        if inside:
            listed = inside if isinstance(inside, list) else [inside]
            clauses[clause] = [_condition(condition) for condition in listed]
    return engine.Filter(**clauses) if clauses else None


def also(conditions: Json | None, **clauses: list[Json]) -> Json:
    """A filter with further conditions."""
    merged = dict(conditions or {})
    for clause, more in clauses.items():
        before = merged.get(clause) or []
        merged[clause] = [*(before if isinstance(before, list) else [before]), *more]
    return merged


def _condition(condition: Json) -> Any:
    for kind, build in CONDITIONS.items():
        if kind in condition:
            return build(condition[kind])
    if "key" not in condition:
        return engine_filter(condition) or engine.Filter()
    if bounds := condition.get("range"):
        is_date = any(isinstance(bound, str) for bound in bounds.values())
        kind = engine.RangeDateTime if is_date else engine.RangeFloat
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        return engine.FieldCondition(condition["key"], range=kind(**given))
    if circle := condition.get("geo_radius"):
        center = engine.GeoPoint(circle["center"]["lon"], circle["center"]["lat"])
        radius = engine.GeoRadius(center, circle["radius"])
        return engine.FieldCondition(condition["key"], geo_radius=radius)
    match = condition.get("match") or {}
    if len(match) != 1 or next(iter(match)) not in MATCHES:
        raise unknown_variant("Condition")
    ((name, value),) = match.items()
    return engine.FieldCondition(condition["key"], match=MATCHES[name](value))
