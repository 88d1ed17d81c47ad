"""What a point may contain. Every point from outside (an import, another store) is checked before
it is written, and every point before an export vouches for it: the engine checks nothing, and one
deeply nested payload makes a shard unreadable."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from clipindex.files.identity import display_path, path_from_payload, point_id
from clipindex.files.times import EARLIEST, LATEST, storable_time
from clipindex.stores.payload import DECODED, META, PAYLOAD_SCHEMA, TAG, TAG_KEY, Payload
from clipindex.stores.points import Point, is_unit

LONGEST_NAME = 255  # characters in the name of a field

Rule = Callable[[object], bool]


def point_fault(point: Point, dimension: int) -> str | None:
    """Why a point is not valid, naming the field; None for a valid one."""
    if point.vector.dtype != np.float32 or point.vector.shape != (dimension,):
        return f"its vector is not {dimension} float32 numbers"
    if not is_unit(point.vector):
        return "its vector is not finite or not of length 1"
    fault = payload_fault(point.payload)
    if fault is not None:
        return fault
    source, path = str(point.payload["source"]), path_from_payload(point.payload)
    if point_id(source, path) != point.id:
        return "its id is not that of its source and path"
    return None


def payload_fault(payload: Mapping[str, object]) -> str | None:
    """Why a payload is not valid, naming the field; None for a valid one."""
    for name in REQUIRED:
        if name not in payload:
            return f"its payload lacks the field '{name}'"
    for name, value in payload.items():
        rule = _rule(name)
        if rule is None:
            return f"its payload has a field with an odd name, {name[:100]!r}"
        if not rule(value):
            return f"its payload has an invalid value in the field '{name[:100]}'"
    return _path_fault(payload)


def healed(point: Point) -> Point:
    """The point with its file time within 64 bits: earlier versions stored any time."""
    return replace(point, payload=healed_payload(point.payload))


def healed_payload(payload: Payload) -> Payload:
    """As `healed`, of a payload alone."""
    time = payload.get("mtime_ns")
    if isinstance(time, int | float) and not _integer(time) and math.isfinite(time):
        return {**payload, "mtime_ns": storable_time(time)}
    return payload


def _path_fault(payload: Mapping[str, object]) -> str | None:
    """The fields made from the path must agree with it, whatever system made them."""
    path, folders, name = str(payload["path"]), payload["folders"], str(payload["name"])
    exact = path_from_payload(dict(payload))
    if not exact or b"\0" in exact or display_path(exact) != path:
        return "its payload has an invalid value in the field 'path'"
    if not path.endswith(name):
        return "its payload has a field 'name' that is not the end of its path"
    if not isinstance(folders, list) or not all(map(path.startswith, folders)):
        return "its payload has a field 'folders' with a folder that is not above its path"
    return None


def _rule(field: str) -> Rule | None:
    """None for a name that no filter could find. A field that is not ours is kept while it is
    flat: a later version or another program on the same server may have put it there."""
    if rule := REQUIRED.get(field) or OPTIONAL.get(field):
        return rule
    if not TAG_KEY.fullmatch(field) or field in (TAG, META) or len(field) > LONGEST_NAME:
        return None
    return _text if field.startswith(TAG) else _plain


def _text(value: object) -> bool:
    """Whether it is text that UTF-8 can hold: no lone surrogates."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _integer(value: object) -> bool:
    return type(value) is int and EARLIEST <= value <= LATEST


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value <= LATEST


def _number(value: object) -> bool:
    return _integer(value) or (isinstance(value, float) and math.isfinite(value))


def _digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True))
    except ValueError:
        return False


def _location(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {"lat", "lon"}:
        return False
    latitude, longitude = value["lat"], value["lon"]
    return (
        _number(latitude) and _number(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    )


def _plain(value: object) -> bool:
    """Whether it is flat: text, number, truth value, or a list of texts."""
    return isinstance(value, bool) or _text(value) or _number(value) or _texts(value)


REQUIRED: dict[str, Rule] = {
    "source": _text,
    "path": _text,
    "folders": _texts,
    "name": _text,
    "sha256": _digest,
    "bytes": _count,
    "mtime_ns": _integer,
    "width": _count,
    "height": _count,
    "format": _text,
    "indexed_at": _text,
    "schema": lambda value: type(value) is int and value == PAYLOAD_SCHEMA,
}
OPTIONAL: dict[str, Rule] = {
    "path_b64": _base64,
    "taken": _text,
    "camera": _text,
    "location": _location,
    DECODED: lambda value: value in ("preview", "full"),
}
