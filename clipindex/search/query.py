"""Searching: an embedded query to hits, with the copies of a picture folded into one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from pathlib import Path

from clipindex.collection.kept import Kept, opened_for_reading
from clipindex.collection.lock import QUERY
from clipindex.collection.place import Located, Place
from clipindex.errors import ClipIndexWarning, Switched, UsageError
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.model.loading import open_model
from clipindex.search.embedded_terms import embed_terms
from clipindex.search.filters import (
    EVERY_PICTURE,
    PictureFilter,
    check_folder,
    check_group,
    filter_of,
    unknown_values,
)
from clipindex.search.grouping import best_of_groups
from clipindex.search.hits import Copy, Hit, hits_of
from clipindex.search.judge import at_least
from clipindex.search.order import ORDER, Sort
from clipindex.search.pairs import best_of_pairs
from clipindex.search.scoped import Scope, scoped
from clipindex.search.similar import with_vectors
from clipindex.search.terms import Query, Term, TermKind
from clipindex.stores.filter import Filter
from clipindex.stores.payload import TAG
from clipindex.stores.points import ReadablePoints
from clipindex.stores.search_method import Accuracy, SearchMethod

CONTENTS_AT_ONCE = 100
TIE_MARGIN = 10  # contents fetched beyond the limit: among equal scores the first path wins


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """Which hits are wanted."""

    limit: int = 10
    min_score: float | None = None
    min_z: float | None = None
    under: Path | Sequence[Path] | None = None  # of several folders, any
    pictures: PictureFilter = EVERY_PICTURE
    where: tuple[tuple[str, str], ...] = ()  # tags that a picture must have
    where_not: tuple[tuple[str, str], ...] = ()  # tags that it must not have
    accuracy: Accuracy = Accuracy.AUTO
    ensemble: bool = False  # put a text of a few words into several sentences
    sort: Sort = Sort.SCORE  # the order of the best hits
    group_by: str | None = None  # a tag or metadata: the best picture of each of its values
    exclude_self: bool = False  # leave out the pictures that were asked with
    copies: bool = False  # each copy of a picture is a hit
    pairs: bool = False  # a camera raw file and the JPEG beside it are one hit
    scope: Scope = ()  # conditions without which a picture does not exist for this query


def find(
    place: Place,
    terms: Sequence[Term],
    options: QueryOptions = QueryOptions(),
    *,
    model: str | None = None,
    load: Callable[[Bundle], Encoder] = open_model,
    kept: Kept | None = None,
) -> list[Hit]:
    """The pictures of a collection nearest to the weighted sum of the terms.

    `model` names the bundle's folder where it was moved, or a text tower made for its vectors;
    `load` opens the bundle; `kept` holds a collection open between queries. Raises UsageError for
    terms that give no query, CollectionBusy, StoreError, ModelError and their kin.
    """
    if not terms:
        place.locate().require()
        raise UsageError("a query needs a term")
    while True:
        located = place.locate()
        try:
            return _find(located, terms, options, model, load, kept)
        except Switched:  # to another model, while this query was embedded or waited
            continue


def _find(
    located: Located,
    terms: Sequence[Term],
    options: QueryOptions,
    model: str | None,
    load: Callable[[Bundle], Encoder],
    kept: Kept | None,
    *,
    trusting: bool = True,
) -> list[Hit]:
    """With `trusting`, pictures that are indexed take their stored vectors."""
    if any(term.kind is TermKind.POINT for term in terms):
        with opened_for_reading(located, QUERY, kept) as points:
            terms = with_vectors(terms, scoped(points, options.scope))
    asked = embed_terms(located, terms, model, load, ensemble=options.ensemble, trusting=trusting)
    with opened_for_reading(located, QUERY, kept) as points:
        query = asked.query(points)
        if query is not None:
            hits = search(scoped(points, options.scope), query, options)
            return at_least(asked.judge(query).judged(hits, points), options.min_z)
    return _find(located, terms, options, model, load, kept, trusting=False)


def search(points: ReadablePoints, query: Query, options: QueryOptions) -> list[Hit]:
    """The best different pictures: own content first, then by score, then by path.

    Warns of what a filter leaves out for lack of a date or place, and of a tag that no picture
    has. Raises UsageError when nothing is indexed below a folder that the options name.
    """
    only, notes = filter_for(points, options)
    method = points.search_method(options.accuracy, only)

    def fetch(count: int) -> list[Hit]:
        return _best(points, query, only, replace(options, limit=count), method)

    if options.group_by is not None:
        check_group(points, options.group_by)
        hits = best_of_groups(fetch, options.group_by, options.limit)
    elif options.pairs:
        own = _asked_with(points, query) if options.exclude_self else []
        hits = best_of_pairs(fetch, options.limit, own)
    else:
        hits = fetch(options.limit)
    if not hits:
        notes += unknown_values(points, options.pictures)
        for folder in _folders(options):
            check_folder(points, folder)
    for note in notes:
        warnings.warn(note, ClipIndexWarning, stacklevel=2)
    hits.sort(key=ORDER[options.sort])
    return [
        replace(hit, rank=rank, search=method.name, ef=method.ef)
        for rank, hit in enumerate(hits, 1)
    ]


def _best(
    points: ReadablePoints, query: Query, only: Filter, options: QueryOptions, method: SearchMethod
) -> list[Hit]:
    scores = _best_contents(points, query, only, options, method)
    copies = _copies(points, only, scores)
    hits = [
        hit
        for content, score in scores.items()
        if content in copies
        for hit in hits_of(query.path, copies[content], content, score, apart=options.copies)
    ]
    own = query.sha256.hex() if query.sha256 is not None else None
    hits.sort(key=lambda hit: (hit.sha256 != own, -hit.score, hit.path))
    return hits[: options.limit]


def filter_for(points: ReadablePoints, options: QueryOptions) -> tuple[Filter, list[str]]:
    """The options as a filter, and notes on what it leaves out."""
    only, notes = filter_of(points, options.pictures, _folders(options))
    only = replace(
        only,
        equals=(*only.equals, *((TAG + key, value) for key, value in options.where)),
        differs=(*only.differs, *((TAG + key, value) for key, value in options.where_not)),
    )
    return only, notes


def _folders(options: QueryOptions) -> Sequence[Path]:
    if options.under is None:
        return ()
    return (options.under,) if isinstance(options.under, str | os.PathLike) else options.under


def _best_contents(
    points: ReadablePoints,
    query: Query,
    only: Filter,
    options: QueryOptions,
    method: SearchMethod,
) -> dict[str, float]:
    """Digest -> score of the contents that may be hits: the best, and those with the same score
    as the last of them."""
    own: dict[str, float] = {}
    if query.sha256 is not None:  # looked up as well: the index of a server is approximate
        digest = query.sha256.hex()
        if any(True for _ in points.scroll(only.also(("sha256", digest)))):
            own[digest] = 1.0  # even where a GPU or bfloat16 embedded it
    if options.exclude_self and query.contents:
        own = {}
        only = only.also_outside("sha256", sorted(digest.hex() for digest in query.contents))
    most = options.limit + TIE_MARGIN
    nearest = points.search(query.vector, limit=most, only=only, method=method)
    scores = {content.sha256: _cosine(content.score) for content in nearest} | own
    last = min(nlargest(options.limit, scores.values()), default=1.0)
    least = -1.0 if options.min_score is None else options.min_score
    return {
        content: score
        for content, score in scores.items()
        if score >= least and (score >= last or content in own)
    }


def _asked_with(points: ReadablePoints, query: Query) -> list[Hit]:
    """The indexed pictures that are terms of the query themselves."""
    digests = sorted(digest.hex() for digest in query.contents)
    copies = _copies(points, Filter(), digests)
    return [
        hit
        for digest in copies
        for hit in hits_of(query.path, copies[digest], digest, 1.0, apart=False)
    ]


def _copies(points: ReadablePoints, only: Filter, contents: Iterable[str]) -> dict[str, list[Copy]]:
    """All points of each content, a hundred contents a request: a server may be far away."""
    copies: dict[str, list[Copy]] = {}
    remaining = iter(contents)
    while digests := list(islice(remaining, CONTENTS_AT_ONCE)):
        for copy in points.scroll(only.also_among("sha256", digests)):
            if isinstance(copy[1].get("path"), str):  # else another program wrote it
                copies.setdefault(str(copy[1]["sha256"]), []).append(copy)
    return copies


def _cosine(score: float) -> float:
    """To four places, within [-1, 1]: a product of float32 vectors may be slightly beyond."""
    return min(1.0, max(-1.0, round(score, 4)))
