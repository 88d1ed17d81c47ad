"""The parameters of a search: every option of `clipindex query`, by the same names.

They come from a query string, from JSON or from a form. All three are first brought to one shape,
name -> texts, and then read by the one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from clipindex.errors import UsageError
from clipindex.search.filter_texts import WITHIN, Orientation, picture_filter
from clipindex.search.order import Sort
from clipindex.search.query import QueryOptions
from clipindex.search.scoped import Scope
from clipindex.search.terms import Term, TermKind, parse_term
from clipindex.serve.problems import Problem
from clipindex.stores.search_method import Accuracy

MISSING = "Missing query"
MOST = 10_000  # pictures down a list that a page may reach
MOST_AT_ONCE = 1_000
FIRST = 24

Fields = Mapping[str, Sequence[str]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A search that was asked for: `offset` pictures down the list, `options.limit` of them."""

    terms: tuple[Term, ...]
    options: QueryOptions
    offset: int


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


def _choice(name: str, choices: type[StrEnum]) -> dict[str, Any]:
    values = [choice.value for choice in choices]

    def read(text: str) -> StrEnum:
        if text not in values:
            raise UsageError(f"{name} is one of {', '.join(values)}, not {text[:40]!r}")
        return choices(text)

    return {"read": read, "schema": {"type": "string", "enum": values}}


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
    ),
    Parameter(name="where_not", many=True, words="Only pictures without this tag or metadata."),
    Parameter(name="taken", words="Only pictures taken in this year, month or on this day."),
    Parameter(name="after", words="Only pictures taken since the beginning of this date."),
    Parameter(name="before", words="Only pictures taken before this date."),
    Parameter(name="camera", many=True, words="Only cameras with this in their name."),
    Parameter(name="near", words="Only pictures taken near this place: LAT,LON in degrees."),
    Parameter(name="within", words="How near: 10km, 500m, 3mi.", default=WITHIN),
    Parameter(name="type", many=True, words="Only this format: jpeg, png, heic, raw, ..."),
    Parameter(name="min_size", words="Only pictures of at least this size: 2MB, 1920x1080."),
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
        name="sort",
        words="The order in which the pictures of a page are shown.",
        default=Sort.SCORE,
        **_choice("sort", Sort),
    ),
)
PARAMETERS = {each.name: each for each in (*TERMS, *FILTERS, *HITS)}


def fields_of(body: object) -> dict[str, list[str]]:
    """The members of a JSON object as texts. Raises Problem for anything else."""
    if not isinstance(body, dict):
        raise Problem(400, "the body is not a JSON object")
    fields: dict[str, list[str]] = {}
    for name, value in body.items():
        several = value if isinstance(value, list) else [] if value is None else [value]
        fields[name] = [_text(name, one) for one in several]
    return fields


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise Problem(400, f"{name} is neither a text nor a number nor a list of them")


def wanted(fields: Fields, pictures: Sequence[Term], scope: Scope) -> Wanted:
    """What is asked for, with the pictures of the request as further terms.

    Raises Problem for a search without a term, UsageError for a value that is none, and for a
    parameter that there is not.
    """
    values = {name: _value(parameter, fields.get(name, ())) for name, parameter in ITEMS}
    for name in fields:
        if name not in PARAMETERS:
            raise UsageError(f"there is no parameter {name[:40]!r}")
    terms = (*_terms(values), *pictures)
    if not terms:
        raise Problem(400, MISSING, "name a text: q=a dog on a beach")
    if values["offset"] + values["limit"] > MOST:
        raise UsageError(f"a list ends after {MOST:,} pictures")
    if values["exact"] and values["approximate"]:
        raise UsageError("exact and approximate exclude each other")
    options = QueryOptions(
        limit=values["limit"],
        min_score=values["min_score"],
        min_z=values["min_z"],
        under=_folders(values["under"]),
        pictures=picture_filter(values),
        accuracy=_accuracy(values),
        ensemble=values["ensemble"],
        sort=values["sort"],
        group_by=values["group_by"],
        exclude_self=values["exclude_self"],
        copies=values["copies"],
        scope=scope,
    )
    return Wanted(terms=terms, options=options, offset=values["offset"])


ITEMS = tuple(PARAMETERS.items())


def _value(parameter: Parameter, texts: Sequence[str]) -> Any:
    if any("\0" in text for text in texts):
        raise UsageError(f"{parameter.name} contains a NUL character")
    if parameter.many:
        return [parameter.read(text) for text in texts if text]
    if len(texts) > 1:
        raise UsageError(f"{parameter.name} is given twice")
    if not texts or (not texts[0] and parameter.schema["type"] != "boolean"):
        return parameter.default
    return parameter.read(texts[0])


def _folders(texts: Sequence[str]) -> tuple[Path, ...]:
    for text in texts:
        if not Path(text).is_absolute():
            raise UsageError(f"under is a folder's whole path, not {text[:80]!r}")
    return tuple(map(Path, texts))


def _accuracy(values: Mapping[str, Any]) -> Accuracy:
    if values["approximate"]:
        return Accuracy.APPROXIMATE
    return Accuracy.EXACT if values["exact"] else Accuracy.AUTO


def _terms(values: Mapping[str, Any]) -> list[Term]:
    """The texts and the indexed pictures. A text never names a file of the service's machine."""
    terms = [_weighted(text, TermKind.TEXT) for text in values["q"] if text.strip()]
    terms += [Term(text, TermKind.TEXT) for text in values["text"] if text.strip()]
    terms += [_weighted(text, TermKind.POINT) for text in values["like"]]
    less = [_weighted(text, TermKind.TEXT) for text in values["minus"] if text.strip()]
    less += [_weighted(text, TermKind.POINT) for text in values["unlike"]]
    return terms + [replace(term, weight=-term.weight) for term in less]


def _weighted(text: str, kind: TermKind) -> Term:
    return replace(parse_term(text, is_file=lambda _: False), kind=kind)
