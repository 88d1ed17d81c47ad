"""A query: terms to one vector, the vector to hits, copies folded into one."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from heapq import nlargest
from itertools import islice
from pathlib import Path

import numpy as np

from clipindex.collection.contract import bundle_for, recipe_of
from clipindex.collection.place import Place
from clipindex.errors import FileFault, ModelError, UsageError
from clipindex.files.access import exists, is_file, is_folder
from clipindex.files.identity import display_path, path_from_payload, resolve_root
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder, Model
from clipindex.pictures.formats import HEAD, picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.stores.filter import Filter
from clipindex.stores.payload import TAG, Payload, tags_of
from clipindex.stores.points import Points, Vector, is_unit

CONTENTS_AT_ONCE = 100
TIE_MARGIN = 10  # contents looked at beyond the limit: of equal scores the first path wins
Found = tuple[uuid.UUID, Payload]
SMALLEST_SUM = 1e-6  # of unit vectors: below it they have cancelled out


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture found: the score is the cosine to the query, to four places, in [-1, 1]."""

    rank: int
    score: float
    path: str
    paths: tuple[str, ...]  # every copy that matches
    id: str
    width: int
    height: int
    taken: str | None
    tags: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    exact_path: bytes = b""  # as the file system has it


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A term, embedded. A picture also brings its digest and path: its own copies come first."""

    vector: Vector
    sha256: bytes | None = None
    path: bytes | None = None


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Which hits are wanted."""

    limit: int = 10
    min_score: float | None = None
    under: Path | None = None
    where: tuple[tuple[str, str], ...] = ()  # tags that a picture must have
    where_not: tuple[tuple[str, str], ...] = ()


class TermKind(StrEnum):
    """What a term is; `auto`: a picture where it names an existing file, else a text."""

    AUTO = "auto"
    TEXT = "text"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a query. `value` is a text or a path; bytes are a picture's or a text's."""

    value: str | bytes
    kind: TermKind = TermKind.AUTO
    weight: float = 1.0


WEIGHTED = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\*(.+)", re.DOTALL)


def parse_term(text: str) -> Term:
    """`2*dog` weighs a term; a file of that very name is a picture all the same."""
    match = WEIGHTED.fullmatch(text)
    if match is None or is_file(os.fsencode(text)):
        return Term(text)
    return Term(match[2], weight=float(match[1]))


def find(
    place: Place,
    terms: Sequence[Term],
    options: QueryOptions = QueryOptions(),
    *,
    model: str | None = None,
    load: Callable[[Bundle], Encoder] = Model,
) -> list[Hit]:
    """Pictures of a collection nearest to the weighted sum of the terms.

    `model` says where its bundle is now, should it have moved; `load` makes it an encoder.
    """
    place = place.resolve_alias()
    stored = place.require_contract()
    bundle, preprocessing = bundle_for(stored, model), recipe_of(stored.contract)
    if not terms:
        raise UsageError("a query needs a term")
    query = embed_query(terms, load(bundle), preprocessing)
    with place.open_for_reading(stored) as store:
        return search(store, query, options)


def embed_query(terms: Sequence[Term], encoder: Encoder, preprocessing: Preprocessing) -> Query:
    """The weighted sum of the terms' embeddings, brought back to length 1.

    Raises UsageError when the sum is zero, or a picture cannot be read.
    """
    embedded = [_embed_term(term, encoder, preprocessing) for term in terms]
    if len(embedded) == 1 and terms[0].weight > 0:
        return embedded[0]
    weights = np.array([term.weight for term in terms])
    total = weights @ np.stack([query.vector.astype(np.float64) for query in embedded])
    length = float(np.linalg.norm(total))
    if length < SMALLEST_SUM:
        raise UsageError(
            "the terms cancel each other out", hint="change a term or give it another weight"
        )
    return Query((total / length).astype(np.float32))


def _embed_term(term: Term, encoder: Encoder, preprocessing: Preprocessing) -> Query:
    value = term.value
    if isinstance(value, bytes):
        if term.kind is not TermKind.TEXT and picture_format(value[:HEAD]) is not None:
            return _embed_bytes(value, "standard input", encoder, preprocessing)
        value = value.decode("utf-8", "replace").strip()
    elif term.kind is TermKind.IMAGE or (
        term.kind is TermKind.AUTO and is_file(os.fsencode(value))
    ):
        return embed_picture(value, encoder, preprocessing)
    if not value.strip():
        raise UsageError("an empty text finds nothing", hint="name something to search for")
    if term.kind is TermKind.AUTO and is_folder(os.fsencode(value)):
        raise UsageError(
            "that is a folder", path=value, hint="name a picture in it, or say --text for a text"
        )
    (vector,) = encoder.encode_texts([value])
    return _checked(Query(vector))


def embed_picture(
    picture: str | os.PathLike[str], encoder: Encoder, preprocessing: Preprocessing
) -> Query:
    """A picture file as a query. Raises UsageError when it cannot be read."""
    from clipindex.pictures.content import read_content

    path = resolve_root(picture)
    if not exists(path):
        raise UsageError("no such picture", path=display_path(path), hint="mind the spelling")
    try:
        content = read_content(path)
    except FileFault as fault:
        raise _unreadable(fault, display_path(path)) from fault
    query = _embed_bytes(content.data, display_path(path), encoder, preprocessing)
    return replace(query, path=path)


def _embed_bytes(data: bytes, name: str, encoder: Encoder, preprocessing: Preprocessing) -> Query:
    from clipindex.pictures.decode import decode  # a text needs no image library

    spec = encoder.bundle.manifest.image
    try:
        pixels, _ = decode(data, Geometry(spec.size, spec.fit), preprocessing)
    except FileFault as fault:
        raise _unreadable(fault, name) from fault
    (vector,) = encoder.encode_images(pixels[np.newaxis])
    return _checked(Query(vector, hashlib.sha256(data).digest()))


def _unreadable(fault: FileFault, name: str) -> UsageError:
    return UsageError(
        f"the query picture cannot be read: {fault.reason}",
        path=name,
        hint="name a picture file, or a text to search for",
    )


def search(store: Points, query: Query, options: QueryOptions) -> list[Hit]:
    """The best different pictures: own content first, then by score, then by path."""
    only = Filter(
        tuple((TAG + key, value) for key, value in options.where),
        tuple((TAG + key, value) for key, value in options.where_not),
    )
    if options.under is not None:
        only = only.also(("folders", display_path(resolve_root(options.under))))
    scores = _best_contents(store, query, only, options)
    copies = _copies(store, only, scores)
    hits = [
        _hit(query, copies[content], content, score)
        for content, score in scores.items()
        if content in copies
    ]
    own = query.sha256.hex() if query.sha256 is not None else None
    hits.sort(key=lambda hit: (hit.sha256 != own, -hit.score, hit.path))
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits[: options.limit], 1)]


def _best_contents(
    store: Points, query: Query, only: Filter, options: QueryOptions
) -> dict[str, float]:
    """Digest -> score of every picture that may be a hit: the best, and those that tie with the
    last of them."""
    own: dict[str, float] = {}
    if query.sha256 is not None:  # found by content too, for an index that only approximates
        same = only.also(("sha256", query.sha256.hex()))
        if any(True for _ in store.scroll(same)):  # 1, even where a GPU or bfloat16 embedded it
            own[query.sha256.hex()] = 1.0
    found = store.search(query.vector, limit=options.limit + TIE_MARGIN, only=only)
    scores = {each.sha256: _cosine(each.score) for each in found} | own
    last = min(nlargest(options.limit, scores.values()), default=1.0)
    asked = -1.0 if options.min_score is None else options.min_score
    return {
        content: score
        for content, score in scores.items()
        if score >= asked and (score >= last or content in own)
    }


def _copies(store: Points, only: Filter, contents: Iterable[str]) -> dict[str, list[Found]]:
    """Every point of each content, a hundred contents a request: a server may be far away."""
    found: dict[str, list[Found]] = {}
    wanted = iter(contents)
    while some := list(islice(wanted, CONTENTS_AT_ONCE)):
        for id, payload in store.scroll(only.also_among("sha256", some)):
            found.setdefault(str(payload["sha256"]), []).append((id, payload))
    return found


def _hit(query: Query, found: Iterable[Found], content: str, score: float) -> Hit:
    """All copies of one content as one hit; the query file itself stands for them if it can."""
    copies = sorted(
        found, key=lambda copy: (path_from_payload(copy[1]) != query.path, str(copy[1]["path"]))
    )
    id, payload = copies[0]
    return Hit(
        rank=0,
        score=score,
        path=str(payload["path"]),
        paths=tuple(str(each["path"]) for _, each in copies),
        id=str(id),
        width=int(str(payload["width"])),
        height=int(str(payload["height"])),
        taken=None if payload.get("taken") is None else str(payload["taken"]),
        tags=dict(tags_of(payload)),
        sha256=content,
        exact_path=path_from_payload(payload),
    )


def _cosine(score: float) -> float:
    """To four places, within [-1, 1]: float32 products stray a little beyond."""
    return min(1.0, max(-1.0, round(score, 4)))


def _checked(query: Query) -> Query:
    if not is_unit(query.vector):
        raise ModelError("the model gave no embedding for the query")
    return query
