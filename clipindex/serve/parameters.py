"""The parameters of a search: every option of `clipindex query`, by the same names, in one table.

A test compares the table with the options of the command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from clipindex.errors import UsageError
from clipindex.search.filter_texts import WITHIN, Orientation
from clipindex.search.order import Sort

MOST = 10_000  # pictures down a list that a page may reach
MOST_AT_ONCE = 1_000
FIRST = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter: `read` makes a value of a text and raises UsageError; `schema` is that of one
    value in OpenAPI's words."""

    name: str
    words: str
    read: Callable[[str], Any] = str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})
    many: bool = False
    default: Any = None


def _integer(name: str, least: int, most: int) -> dict[str, Any]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= most):
            raise UsageError(
                f"{name} is a whole number from {least} to {most:,}, not {text[:40]!r}"
            )
        return int(text)

    return {"read": read, "schema": {"type": "integer", "minimum": least, "maximum": most}}


def _number(name: str, least: float, most: float) -> dict[str, Any]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise UsageError(f"{name} is a number from {least:g} to {most:g}, not {text[:40]!r}")
        return number

    return {"read": read, "schema": {"type": "number", "minimum": least, "maximum": most}}


def _flag(name: str) -> dict[str, Any]:
    words = {"true": True, "1": True, "": True, "false": False, "0": False}

    def read(text: str) -> bool:
        if text.lower() not in words:
            raise UsageError(f"{name} is true or false, not {text[:40]!r}")
        return words[text.lower()]

    return {"read": read, "schema": {"type": "boolean"}, "default": False}


def _like(pattern: str) -> dict[str, Any]:
    """Texts of this form, for the description: whoever reads one says more about it."""
    return {"schema": {"type": "string", "pattern": pattern}}


def _choice(name: str, choices: type[StrEnum]) -> dict[str, Any]:
    values = [choice.value for choice in choices]

    def read(text: str) -> StrEnum:
        if text not in values:
            raise UsageError(f"{name} is one of {', '.join(values)}, not {text[:40]!r}")
        return choices(text)

    return {"read": read, "schema": {"type": "string", "enum": values}}


CONDITION = _like(r"^[A-Za-z0-9_]+(<=|>=|<|>|=).+$")
DATE = _like(r"^(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|1\d|2[0-8]))?)?$")
TERMS = (
    Parameter(name="q", many=True, words="A text. Several are added; 2*TEXT counts twice."),
    Parameter(name="text", many=True, words="A text as it is, without a weight."),
    Parameter(name="minus", many=True, words="A text that is subtracted."),
    Parameter(name="like", many=True, words="The id of an indexed picture. 2*ID counts twice."),
    Parameter(name="url", many=True, words="The URL of a picture on a host that is allowed."),
    Parameter(name="unlike", many=True, words="The id of an indexed picture that is subtracted."),
)
FILTERS = (
    Parameter(name="under", many=True, words="Only pictures below this folder, or any of several."),
    Parameter(
        name="where",
        many=True,
        words="Only pictures with this tag or metadata: KEY=VALUE, or a comparison such as "
        "price<50. Several values of one key mean any of them.",
        **CONDITION,
    ),
    Parameter(
        name="where_not",
        many=True,
        words="Only pictures without this tag or metadata.",
        **CONDITION,
    ),
    Parameter(
        name="taken", words="Only pictures taken in this year, month or on this day.", **DATE
    ),
    Parameter(name="after", words="Only pictures taken since the beginning of this date.", **DATE),
    Parameter(name="before", words="Only pictures taken before this date.", **DATE),
    Parameter(name="camera", many=True, words="Only cameras with this in their name."),
    Parameter(
        name="near",
        words="Only pictures taken near this place: LAT,LON in degrees.",
        **_like(r"^-?\d{1,2}(\.\d+)?,-?\d{1,2}(\.\d+)?$"),
    ),
    Parameter(
        name="within",
        words="How near: 10km, 500m, 3mi.",
        default=WITHIN,
        **_like(r"^[1-9]\d{0,8}(m|km|mi)$"),
    ),
    Parameter(name="type", many=True, words="Only this format: jpeg, png, heic, raw, ..."),
    Parameter(
        name="min_size",
        words="Only pictures of at least this size: 2MB, 1920x1080.",
        **_like(r"^(\d{1,6}x\d{1,6}|\d{1,12}(k|M|G)?B)$"),
    ),
    Parameter(
        name="orientation",
        many=True,
        words="Only pictures that are this way up.",
        **_choice("orientation", Orientation),
    ),
)
HITS = (
    Parameter(
        name="limit",
        words="At most so many pictures.",
        default=FIRST,
        **_integer("limit", 1, MOST_AT_ONCE),
    ),
    Parameter(
        name="offset",
        words="Leave out so many of the best pictures: for the next page.",
        default=0,
        **_integer("offset", 0, MOST),
    ),
    Parameter(
        name="min_score",
        words="Leave out pictures below this score.",
        **_number("min_score", -1, 1),
    ),
    Parameter(
        name="min_z",
        words="Leave out pictures that stand out less than this.",
        **_number("min_z", -1000, 1000),
    ),
    Parameter(name="exact", words="Compare with every picture.", **_flag("exact")),
    Parameter(
        name="approximate", words="Ask the server's index, which is faster.", **_flag("approximate")
    ),
    Parameter(name="ensemble", words="Put a short text into seven sentences.", **_flag("ensemble")),
    Parameter(
        name="exclude_self",
        words="Leave out the pictures that are searched with.",
        **_flag("exclude_self"),
    ),
    Parameter(name="group_by", words="The best picture of each value of this tag or metadata."),
    Parameter(name="copies", words="Each copy of a picture by itself.", **_flag("copies")),
    Parameter(
        name="pairs", words="A raw file and the JPEG beside it are one picture.", **_flag("pairs")
    ),
    Parameter(
        name="sort",
        words="The order in which the pictures of a page are shown.",
        default=Sort.SCORE,
        **_choice("sort", Sort),
    ),
)
PARAMETERS = {each.name: each for each in (*TERMS, *FILTERS, *HITS)}
