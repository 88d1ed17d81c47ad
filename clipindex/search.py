"""A query: terms to one vector, the vector to hits, copies folded into one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from clipindex.content import read_content
from clipindex.errors import FileFault, ModelError, UsageError
from clipindex.identity import path_from_payload, resolve_root, shown
from clipindex.images import Geometry, Preprocessing, decode
from clipindex.model import Encoder
from clipindex.payload import tags_of
from clipindex.stores import Filter, Store, Vector, is_unit
from clipindex.walk import FileRecord

PAGE = 100


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


def embed_term(
    term: str | os.PathLike[str], encoder: Encoder, preprocessing: Preprocessing
) -> Query:
    """A text, or a picture where the term names an existing file.

    Raises UsageError when the picture cannot be read.
    """
    if os.path.isfile(os.fsencode(term)):
        return embed_picture(term, encoder, preprocessing)
    (vector,) = encoder.encode_texts([os.fspath(term)])
    return _checked(Query(vector))


def embed_picture(
    picture: str | os.PathLike[str], encoder: Encoder, preprocessing: Preprocessing
) -> Query:
    """A picture file as a query. Raises UsageError when it cannot be read."""
    path = resolve_root(picture)
    spec = encoder.bundle.manifest.image
    try:
        content = read_content(FileRecord(path, 0, 0, 0))
        pixels, _ = decode(content.data, Geometry(spec.size, spec.fit), preprocessing)
    except FileFault as fault:
        raise UsageError(
            f"the query picture cannot be read: {fault.reason}",
            path=shown(path),
            hint="name a picture file, or a text to search for",
        ) from fault
    (vector,) = encoder.encode_images(pixels[np.newaxis])
    return _checked(Query(vector, content.sha256, path))


def search(store: Store, query: Query, options: QueryOptions) -> list[Hit]:
    """The best different pictures: own content first, then by score, then by path."""
    only = Filter()
    if options.under is not None:
        only = Filter((("folders", shown(resolve_root(options.under))),))
    scores = _best_contents(store, query, only, options.limit)
    hits = [
        hit
        for content, score in scores.items()
        if options.min_score is None or score >= options.min_score
        if (hit := _hit(store, query, only, content, score)) is not None
    ]
    own = query.sha256.hex() if query.sha256 is not None else None
    hits.sort(key=lambda hit: (hit.sha256 != own, -hit.score, hit.path))
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits[: options.limit], 1)]


def _best_contents(store: Store, query: Query, only: Filter, wanted: int) -> dict[str, float]:
    """Digest -> score of at least `wanted` different pictures, as far as there are so many."""
    scores: dict[str, float] = {}
    if query.sha256 is not None:  # found by content too, for an index that only approximates
        same = Filter((*only.equals, ("sha256", query.sha256.hex())))
        copies = [id for id, _ in store.scroll(same)]
        for point in store.retrieve(copies[:1]).values():
            scores[query.sha256.hex()] = _cosine(float(point.vector @ query.vector))
    offset, page = 0, max(wanted, PAGE)
    while True:
        found = store.search(query.vector, limit=page, only=only, offset=offset)
        for hit in found:
            scores.setdefault(str(hit.payload["sha256"]), _cosine(hit.score))
        if len(scores) >= wanted or len(found) < page:
            return scores
        offset, page = offset + page, 2 * page


def _hit(store: Store, query: Query, only: Filter, content: str, score: float) -> Hit | None:
    """All copies of one content as one hit; the query file itself stands for them if it can."""
    copies = sorted(
        store.scroll(Filter((*only.equals, ("sha256", content)))),
        key=lambda copy: (path_from_payload(copy[1]) != query.path, str(copy[1]["path"])),
    )
    if not copies:
        return None
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
        tags=tags_of(payload),
        sha256=content,
    )


def _cosine(score: float) -> float:
    """To four places, within [-1, 1]: float32 products stray a little beyond."""
    return min(1.0, max(-1.0, round(score, 4)))


def _checked(query: Query) -> Query:
    if not is_unit(query.vector):
        raise ModelError("the model gave no embedding for the query")
    return query
