"""What a search asks for, read from its parameters.

They come from a query string, from JSON or from a form. All three are first brought to one shape,
name -> texts, and then read by the one table of `parameters`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipindex.errors import UsageError
from clipindex.files.addresses import is_address
from clipindex.search.filter_texts import picture_filter
from clipindex.search.query import QueryOptions
from clipindex.search.scoped import Scope
from clipindex.search.terms import Term, TermKind, parse_term
from clipindex.serve.parameters import MOST, PARAMETERS, Parameter
from clipindex.serve.problems import Problem, check_parameters
from clipindex.stores.search_method import Accuracy

MISSING = "Missing query"

Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A search that was asked for: `offset` pictures down the list, `options.limit` of them."""

    terms: tuple[Term, ...]
    options: QueryOptions
    offset: int


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
    values = {
        name: _value(parameter, fields.get(name, ())) for name, parameter in PARAMETERS.items()
    }
    check_parameters(fields, PARAMETERS)
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
        pairs=values["pairs"],
        scope=scope,
    )
    return Wanted(terms=terms, options=options, offset=values["offset"])


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
        if not Path(text).is_absolute() and not is_address(os.fsencode(text)):
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
