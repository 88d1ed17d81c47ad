"""The fields that people made: tags and metadata, with their values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from clipindex.stores.filter import Value
from clipindex.stores.payload import META, TAG, Payload

MOST_VALUES = 10_000  # of one field, that a server is asked for


class Kind(StrEnum):
    """What a field contains. A date is text in ISO 8601; a server has another index for it."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"


INDEX_KINDS = {  # kind -> the index that a server makes, by Qdrant's name for it
    Kind.TEXT: "keyword",
    Kind.NUMBER: "float",
    Kind.BOOLEAN: "bool",
    Kind.DATE: "datetime",
}
LISTED = (Kind.TEXT, Kind.BOOLEAN)  # whose index lists its values
KINDS_OF_INDEXES = {index: kind for kind, index in INDEX_KINDS.items()} | {"integer": Kind.NUMBER}

DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")

Stored = Iterable[tuple[object, Payload]]


def is_label(field: str) -> bool:
    """Whether people made the field."""
    return field.startswith((TAG, META))


def kind_of(value: Value) -> Kind:
    """What a field with this value contains."""
    if isinstance(value, bool):
        return Kind.BOOLEAN
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def label_index(field: str, value: object) -> str:
    """The index that a server makes for a field with this value, by Qdrant's name for it; tags
    are text."""
    if field.startswith(TAG):
        return INDEX_KINDS[Kind.TEXT]
    if isinstance(value, bool | int | float):
        return INDEX_KINDS[kind_of(value)]
    is_date = isinstance(value, str) and DATE.fullmatch(value) is not None
    return INDEX_KINDS[Kind.DATE if is_date else Kind.TEXT]


def labels_by_reading(points: Stored) -> dict[str, Kind]:
    """The names of such fields in the payloads of all points, and what they contain."""
    return {
        field: kind_of(value)
        for _, payload in points
        for field, values in payload.items()
        if is_label(field)
        for value in (values[:1] if isinstance(values, list) else [values])
        if isinstance(value, str | int | float)
    }


def values_by_reading(points: Stored, field: str) -> dict[Value, int]:
    """How many of the points have each value of a field; of a list, each value counts."""
    counts: Counter[Value] = Counter()
    for _, payload in points:
        value = payload.get(field)
        several = value if isinstance(value, list) else [value]
        counts.update(one for one in several if isinstance(one, str | int | float))
    return dict(counts)
