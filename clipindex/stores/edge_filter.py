"""A filter as the embedded engine's own classes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clipindex.model.imports import guarded_import
from clipindex.stores.filter import Conditions

with guarded_import():  # interrupted, the engine's own import panics
    import qdrant_edge

engine: Any = qdrant_edge


def engine_filter(conditions: Conditions | None) -> Any:
    """Converts a filter from Qdrant's REST spelling. Raises KeyError or TypeError for conditions
    that `Filter` cannot produce."""
    if not conditions:
        return None
    clauses = {
        clause: [_condition(condition) for condition in conditions[clause]] for clause in conditions
    }
    return engine.Filter(**clauses)


def among_ids(names: Iterable[uuid.UUID], conditions: Conditions | None = None) -> Any:
    """These points alone, where the conditions hold as well."""
    further = engine_filter(conditions)
    ids = engine.HasIdCondition(set(names))
    return engine.Filter(must=[ids] if further is None else [ids, further])


def _condition(condition: Mapping[str, Any]) -> Any:
    if "is_empty" in condition:
        return engine.IsEmptyCondition(condition["is_empty"]["key"])
    key = condition["key"]
    if "match" in condition:
        ((kind, value),) = condition["match"].items()
        if isinstance(value, bool):
            value = np.bool_(value)  # the engine takes Python's own for the number 1
        matches = {"value": engine.MatchValue, "any": engine.MatchAny}
        return engine.FieldCondition(key, match=matches[kind](value))
    if "range" in condition:
        bounds = condition["range"]
        is_date = any(isinstance(bound, str) for bound in bounds.values())
        kind = engine.RangeDateTime if is_date else engine.RangeFloat
        return engine.FieldCondition(key, range=kind(**bounds))
    circle = condition["geo_radius"]
    center = engine.GeoPoint(circle["center"]["lon"], circle["center"]["lat"])
    return engine.FieldCondition(key, geo_radius=engine.GeoRadius(center, circle["radius"]))
