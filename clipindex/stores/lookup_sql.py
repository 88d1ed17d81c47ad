"""Pure: what the lookup table keeps of a payload, and a filter as a condition on that table."""

from __future__ import annotations

import math
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from clipindex.stores.filter import Filter, Near, Range, Value
from clipindex.stores.labels import is_label
from clipindex.stores.payload import Payload, orientation_of

NAME = "lookup.sqlite"  # in the shard's folder
EARTH = 6_371_008.8  # metres, the mean radius: Qdrant's own
COLUMNS = ("taken", "camera", "format", "orientation", "bytes", "width", "height")
FOLDERS, LOCATION, DIGEST = "folders", "location", "sha256"
COLUMN_OF = {FOLDERS: "folder", LOCATION: "x"}  # whose name is another one
SEPARATORS = ("/", "\\")

SQL = str
Parameters = list[Any]


def is_known(field: str) -> bool:
    """Whether conditions on a field can be answered from the table."""
    return field in COLUMNS or field in (FOLDERS, LOCATION, DIGEST) or is_label(field)


def row_of(name: bytes, payload: Payload) -> tuple[Any, ...]:
    """A point's row: id, SHA-256, the columns, its folder, its place on the unit sphere."""
    facts = {**payload, "orientation": payload.get("orientation") or orientation_of(payload)}
    columns = (_scalar(facts.get(column)) for column in COLUMNS)
    folders = payload.get(FOLDERS)
    folder = max(map(str, folders), key=len, default=None) if isinstance(folders, list) else None
    place = _place(payload.get(LOCATION))
    return name, _scalar(payload.get(DIGEST)), *columns, folder, *place


def labels_of(payload: Payload) -> list[tuple[str, Any]]:
    """The fields that people made, with each value of a list by itself."""
    return [
        (field, value)
        for field, values in payload.items()
        if is_label(field)
        for value in {*map(_stored, values if isinstance(values, list) else [values])}
        if value is not None
    ]


def _stored(value: object) -> object:
    """A truth value as an integer, every other number as a float: SQLite then tells them apart."""
    if isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, int | float) else _scalar(value)


def value_of(stored: object) -> Value:
    """The value of which `_stored` made this."""
    if isinstance(stored, int):
        return bool(stored)
    return stored if isinstance(stored, float) else str(stored)


LABELLED = "n IN (SELECT n FROM labels WHERE field = ? AND {})"  # read once for all points
LABELLED_EACH = "EXISTS (SELECT 1 FROM labels WHERE n = points.n AND field = ? AND {})"


def condition_of_few(only: Filter) -> tuple[SQL, Parameters]:
    """As `condition`, for a look at a few points: their labels are looked up one by one."""
    sql, parameters = condition(only)
    start, _ = LABELLED.split("{}")
    new_start, _ = LABELLED_EACH.split("{}")
    return sql.replace(start, new_start), parameters


def condition(only: Filter) -> tuple[SQL, Parameters]:
    """What follows WHERE. Every field of the filter must be known."""
    parts = [_one_of(field, (value,)) for field, value in only.equals]
    parts += [_one_of(field, values) for field, values in only.among]
    parts += [_between(each) for each in only.ranges]
    parts += [_within(each) for each in only.near]
    parts += [_absent(field) for field in only.absent]
    parts += [_negated(_one_of(field, (value,))) for field, value in only.differs]
    parts += [_negated(_one_of(field, values)) for field, values in only.outside]
    parts += [_negated(_between(each)) for each in only.beyond]
    parameters = [value for _, values in parts for value in values]
    return " AND ".join(sql for sql, _ in parts) or "1", parameters


def _negated(part: tuple[SQL, Parameters]) -> tuple[SQL, Parameters]:
    """True also where a field is missing, which makes a comparison NULL."""
    return f"NOT coalesce({part[0]}, 0)", part[1]


def _one_of(field: str, values: tuple[Any, ...]) -> tuple[SQL, Parameters]:
    if field == FOLDERS:
        below = [_below(str(folder)) for folder in values]
        parameters = [value for _, several in below for value in several]
        return f"({' OR '.join(sql for sql, _ in below) or '0'})", parameters
    marks = ",".join("?" * len(values))
    if is_label(field):
        return _labelled(f"value IN ({marks})", field, [*values])
    return f"{field} IN ({marks})", [*values]


def folders_above(folder: str) -> list[str]:
    """The folders above one, as payloads name them.

    >>> folders_above("/a/b")
    ['/a', '/']
    """
    path = PureWindowsPath if "/" not in folder else PurePosixPath
    return [str(above) for above in path(folder).parents]


def _below(folder: str) -> tuple[SQL, Parameters]:
    if folder.endswith(SEPARATORS):
        return "substr(folder, 1, ?) = ?", [len(folder), folder]
    tail = "/" if "/" in folder else "\\"
    return "(folder = ? OR substr(folder, 1, ?) = ?)", [folder, len(folder) + 1, folder + tail]


def _between(wanted: Range) -> tuple[SQL, Parameters]:
    signs = {"gte": ">=", "lte": "<=", "gt": ">", "lt": "<"}
    bounds = wanted.bounds()
    kind = "'text'" if any(isinstance(bound, str) for bound in bounds.values()) else "'real'"
    column = "value" if is_label(wanted.field) else wanted.field
    compared = [f"{column} {signs[name]} ?" for name in bounds]
    if is_label(wanted.field):
        sql = " AND ".join([*compared, f"typeof(value) = {kind}"])
        return _labelled(sql, wanted.field, [*bounds.values()])
    return f"({' AND '.join(compared) or '1'})", [*bounds.values()]


def _labelled(sql: SQL, field: str, parameters: Parameters) -> tuple[SQL, Parameters]:
    return LABELLED.format(sql), [field, *parameters]


def _absent(field: str) -> tuple[SQL, Parameters]:
    if is_label(field):
        return _negated(_labelled("1", field, []))
    return f"{COLUMN_OF.get(field, field)} IS NULL", []  # as the partial indexes spell it


def _within(near: Near) -> tuple[SQL, Parameters]:
    """By the chord between two places on the unit sphere: exact also for small distances."""
    x, y, z = _on_sphere(near.latitude, near.longitude)
    chord = 2 * math.sin(min(near.metres / EARTH, math.pi) / 2)
    squares = "(x - ?) * (x - ?) + (y - ?) * (y - ?) + (z - ?) * (z - ?)"
    return f"{squares} <= ?", [x, x, y, y, z, z, chord * chord]


def _place(location: object) -> tuple[float | None, ...]:
    if isinstance(location, dict):
        latitude, longitude = location.get("lat"), location.get("lon")
        if isinstance(latitude, int | float) and isinstance(longitude, int | float):
            return _on_sphere(latitude, longitude)
    return None, None, None


def _on_sphere(latitude: float, longitude: float) -> tuple[float, float, float]:
    north, east = math.radians(latitude), math.radians(longitude)
    flat = math.cos(north)
    return flat * math.cos(east), flat * math.sin(east), math.sin(north)


def _scalar(value: object) -> object:
    return value if isinstance(value, str | int | float) else None
