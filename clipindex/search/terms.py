"""The terms of a query, and the one vector that they add up to."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clipindex.errors import FileFault, ModelError, UsageError
from clipindex.files.access import exists, is_file, is_folder
from clipindex.files.addresses import is_address, name_host
from clipindex.files.identity import display_path, resolve_root
from clipindex.model.averaging import encode_pictures
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Embeddings
from clipindex.pictures.formats import HEAD, picture_format
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search.prompts import mean_vector, sentences
from clipindex.stores.points import Vector, is_unit

if TYPE_CHECKING:
    from clipindex.pictures.decode import Pixels

SMALLEST_SUM = 1e-6  # length of a sum of unit vectors below which they cancel each other out
LARGEST_WEIGHT = 1_000_000
# All that a number may look like, whether it can be a weight or not.
WEIGHTED = re.compile(
    r"([+-]?(?:nan|inf(?:inity)?|[.,]?\d[\d.,]*(?:e[+-]?\d+)?))\*(.*)", re.DOTALL | re.IGNORECASE
)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Embedded terms. A single picture also has its digest and path: its own copies come first."""

    vector: Vector
    sha256: bytes | None = None
    path: bytes | None = None
    contents: frozenset[bytes] = frozenset()  # digests of all pictures in it
    texts: float = 0.0  # how often the vector contains a text: 1 for a text, 0 for a picture
    is_text: bool = False  # whether there is nothing in it but texts that are added


class TermKind(StrEnum):
    """How a term is read; `auto`: a picture if it names an existing file, else a text."""

    AUTO = "auto"
    TEXT = "text"
    IMAGE = "image"
    POINT = "point"  # an indexed picture, by the id of its point


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a query. `value` is a text, a path or a point's id; bytes are the contents of a
    picture or a text in UTF-8. `query`: the term as it is embedded already."""

    value: str | bytes
    kind: TermKind = TermKind.AUTO
    weight: float = 1.0
    query: Query | None = None


def parse_term(text: str, is_file: Callable[[bytes], bool] = is_file) -> Term:
    """`2*dog` is the text `dog` with weight 2, unless a file has that very name. A service, whose
    files are not its callers', has its own `is_file`.

    Raises UsageError for a number that is no weight (`nan*dog`), and for a weight without a term.
    """
    match = WEIGHTED.fullmatch(text)
    if match is None or is_file(os.fsencode(text)):
        return Term(text)
    weight = _number(match[1])
    if not 0 < weight <= LARGEST_WEIGHT:
        raise UsageError(
            f"'{text}' has no usable weight",
            hint=f"weights are numbers such as 2 or 0.5, above 0 and at most {LARGEST_WEIGHT:,}; "
            "--minus subtracts a term, --text takes a text as it is",
        )
    term = match[2]
    if not term or (WEIGHTED.fullmatch(term) and not is_file(os.fsencode(term))):
        raise UsageError(
            f"'{text}' has {'two weights' if term else 'a weight and no term'}",
            hint='a weight stands right before its term: "2*a dog"; --text takes a text as it is',
        )
    return Term(term, weight=weight)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # such as 1,5
        return math.nan


def check_is_file(path: bytes, name: str) -> None:
    """Raises UsageError when there is no file to be read as a picture at `path`, called `name`."""
    if is_file(path):
        return
    if is_folder(path):
        what, hint = "this is a folder, not a picture", "name a picture in it"
    elif exists(path):
        what = "this is not a regular file, but a pipe, a device, a socket or a broken link"
        hint = "name a picture, or pipe one in: clipindex query -"
    else:
        what, hint = "there is no such picture", "correct the path"
    raise UsageError(what, path=name, hint=f"{hint}, or search for it as a text with --text")


class QueryEncoder(Protocol):
    """What a query needs of a model."""

    @property
    def bundle(self) -> Bundle: ...
    def encode_images(self, pixels: Pixels) -> Embeddings: ...
    def encode_texts(self, texts: list[str]) -> Embeddings: ...


def embed_query(
    terms: Sequence[Term],
    encoder: QueryEncoder,
    preprocessing: Preprocessing,
    *,
    ensemble: bool = False,
) -> Query:
    """The weighted sum of the terms' embeddings, scaled to length 1. With `ensemble` a text of a
    few words is put into several sentences (see `prompts`).

    Raises UsageError when the sum is zero or too large, or a picture cannot be read.
    """
    return combined(terms, [embed_term(term, encoder, preprocessing, ensemble) for term in terms])


def combined(terms: Sequence[Term], queries: Sequence[Query]) -> Query:
    """Each term as a query of its own -> their sum by the terms' weights. Raises as `embed_query`
    does."""
    if len(queries) == 1 and terms[0].weight > 0:
        return queries[0]
    weights = np.array([term.weight for term in terms])
    vectors = np.stack([query.vector.astype(np.float64) for query in queries])
    total = weights @ vectors
    length = float(np.linalg.norm(total))
    if not np.isfinite(length):
        raise UsageError("a term's weight is too large", hint="weights compare terms: 2 is twice 1")
    if length < SMALLEST_SUM:
        raise UsageError(
            "the terms cancel each other out", hint="change a term or give it another weight"
        )
    texts = sum(weight * query.texts for weight, query in zip(weights, queries, strict=True))
    only_texts = bool((weights > 0).all()) and all(query.is_text for query in queries)
    return Query(
        (total / length).astype(np.float32),
        contents=frozenset[bytes]().union(*(query.contents for query in queries)),
        texts=texts / length,
        is_text=only_texts,
    )


def embed_picture(
    picture: str | os.PathLike[str], encoder: QueryEncoder, preprocessing: Preprocessing
) -> Query:
    """A picture file as a query. Raises UsageError when it cannot be read."""
    from clipindex.pictures.content import read_content  # a text reads no picture

    path = resolve_root(picture)
    check_is_file(path, display_path(path))
    try:
        content = read_content(path)
    except FileFault as fault:
        raise _unreadable(fault, display_path(path)) from fault
    query = _embed_bytes(content.data, display_path(path), encoder, preprocessing)
    return replace(query, path=path)


def picture_path(term: Term) -> bytes | None:
    """The path of a term that is a picture file, or is said to be one; else None."""
    if isinstance(term.value, bytes) or term.kind is TermKind.TEXT:
        return None
    name = os.fsencode(term.value)
    if is_address(name):
        name_host(path := resolve_root(term.value))
        return path
    if term.kind is TermKind.IMAGE or is_file(name):
        return resolve_root(term.value)
    return None


def embed_term(
    term: Term, encoder: QueryEncoder, preprocessing: Preprocessing, ensemble: bool
) -> Query:
    """One term as a query of its own. Raises UsageError where it is empty or cannot be read."""
    if term.query is not None:
        return term.query
    value = term.value
    if isinstance(value, bytes):
        if term.kind is not TermKind.TEXT and picture_format(value[:HEAD]) is not None:
            return _embed_bytes(value, "standard input", encoder, preprocessing)
        value = value.decode("utf-8", "replace").strip()
    elif picture_path(term) is not None:
        return embed_picture(value, encoder, preprocessing)
    if not value.strip():
        raise UsageError("a term is an empty text", hint="name something to search for")
    if term.kind is TermKind.AUTO and exists(os.fsencode(value)):
        check_is_file(os.fsencode(value), value)
    vector = mean_vector(encoder.encode_texts(sentences(value) if ensemble else [value]))
    return _checked(Query(vector, texts=1.0, is_text=True))


def _embed_bytes(
    data: bytes, name: str, encoder: QueryEncoder, preprocessing: Preprocessing
) -> Query:
    from clipindex.pictures.decode import decode  # a text needs no image library

    try:
        pixels, _ = decode(data, encoder.bundle.image.geometry, preprocessing)
    except FileFault as fault:
        raise _unreadable(fault, name) from fault
    (vector,) = encode_pictures(encoder, [pixels])
    digest = hashlib.sha256(data).digest()
    return _checked(Query(vector, digest, contents=frozenset((digest,))))


def _unreadable(fault: FileFault, name: str) -> UsageError:
    return UsageError(
        f"the query picture cannot be read: {fault.reason}",
        path=name,
        hint="name a picture file, or a text to search for",
    )


def _checked(query: Query) -> Query:
    if not is_unit(query.vector):
        raise ModelError("the model returned no valid embedding for the query")
    return query
