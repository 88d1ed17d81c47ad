"""Which indexed pictures are meant: by path, by pattern, by what a query finds, by a filter.

What is chosen is a list that can be looked at before it is acted on.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clipindex.collection.lock import QUERY
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import ClipIndexWarning, UsageError
from clipindex.files.addresses import is_address
from clipindex.files.globs import Globs, glob_text
from clipindex.files.identity import display_path, path_from_payload, point_id, resolve_root
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.model.loading import open_model
from clipindex.search.filters import EVERY_PICTURE, PictureFilter, filter_of, unknown_values
from clipindex.search.hits import Hit
from clipindex.search.query import QueryOptions, find
from clipindex.search.terms import Term
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, ReadablePoints

MOST_HITS = 1000  # of a query, where nobody says how many
SIGNS = ("*", "?", "[")

Payloads = dict[uuid.UUID, Payload]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectOptions:
    """Which pictures are meant beside those that paths name; all that is given must hold.

    Of a query's `terms` the hits are meant that reach `min_score` and `min_z`, at most `limit`.
    There is always a nearest picture, so that one of the three must be given.
    """

    terms: Sequence[Term] = ()
    limit: int | None = None
    min_score: float | None = None
    min_z: float | None = None
    pictures: PictureFilter = EVERY_PICTURE

    def __post_init__(self) -> None:
        bounds = (self.limit, self.min_score, self.min_z)
        if self.terms and bounds == (None, None, None):
            raise UsageError(
                "a query has a nearest picture, whatever it asks for",
                hint="say what is near enough: --min-z 3, --min-score 0.3 or --limit 20",
            )
        if not self.terms and bounds != (None, None, None):
            raise UsageError(
                "a limit, a score or a z is that of a query",
                hint='name one: --query "a dog on a beach"',
            )


EVERYTHING = SelectOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A picture that was chosen. `score` and `z` are those of a query."""

    id: uuid.UUID
    path: str
    exact_path: bytes
    tags: Mapping[str, str]
    score: float | None = None
    z: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Pictures that were chosen, in the order of the query or of their paths."""

    pictures: tuple[Selected, ...]
    is_cut: bool = False  # a query had as many hits as it was asked for; there may be more


def is_pattern(path: AnyPath) -> bool:
    """Whether a path has a sign of a pattern; a file may have it in its name all the same."""
    return any(sign in os.fsdecode(os.fspath(path)) for sign in SIGNS)


def select(
    place: Place,
    paths: Sequence[AnyPath] = (),
    options: SelectOptions = EVERYTHING,
    *,
    model: str | None = None,
    load: Callable[[Bundle], Encoder] = open_model,
) -> Selection:
    """Choose pictures of the place's source; nothing is locked or changed.

    Raises UsageError where nothing is named, for a path with nothing at or below it, and as a
    query does.
    """
    if not paths and options == EVERYTHING:
        raise UsageError("no picture is named", hint="name a path, a pattern, a query or a filter")
    hits: list[Hit] = []
    limit = MOST_HITS if options.limit is None else options.limit
    if options.terms:
        wanted = QueryOptions(
            limit=limit, min_score=options.min_score, pictures=options.pictures, copies=True
        )
        hits = find(place, options.terms, wanted, model=model, load=load)
        _refuse_unjudged(hits, options)
    located = place.locate()
    with located.place.open_for_reading(located.require(), QUERY) as points:
        named = below(points, place.source, paths) if paths else None
        if options.terms:
            chosen = _of_source(points, place.source, [uuid.UUID(hit.id) for hit in hits])
        elif options.pictures != EVERY_PICTURE or named is None:
            chosen = _that_match(points, place.source, options.pictures)
        else:
            chosen = named
    kept = {name: payload for name, payload in chosen.items() if named is None or name in named}
    scores = {uuid.UUID(hit.id): hit for hit in hits}
    pictures = [_selected(name, payload, scores.get(name)) for name, payload in kept.items()]
    if options.terms:
        order = {uuid.UUID(hit.id): number for number, hit in enumerate(hits)}
        least = options.min_z
        pictures = [p for p in pictures if least is None or (p.z is not None and p.z >= least)]
        pictures.sort(key=lambda picture: order[picture.id])
    else:
        pictures.sort(key=lambda picture: picture.exact_path)
    is_cut = len(hits) == limit and options.limit is None
    return Selection(pictures=tuple(pictures), is_cut=is_cut)


def _refuse_unjudged(hits: Sequence[Hit], options: SelectOptions) -> None:
    """Raises UsageError where --min-z would leave out nothing: a query shows such hits, but they
    must not be acted on."""
    if options.min_z is not None and any(hit.z is None for hit in hits):
        raise UsageError(
            "these pictures are too few or too alike to judge a hit by its z",
            hint="say what is near enough with --min-score or --limit",
        )


def _that_match(points: ReadablePoints, source: str, pictures: PictureFilter) -> Payloads:
    only, notes = filter_of(points, pictures)
    payloads = dict(points.scroll(only.also(("source", source))))
    if not payloads:
        notes += unknown_values(points, pictures)
    for note in notes:
        warnings.warn(note, ClipIndexWarning, stacklevel=2)
    return payloads


def below(points: ReadablePoints, source: str, paths: Sequence[AnyPath]) -> Payloads:
    """The points of a source at or below any of the paths, or that match one as a pattern,
    whether their files still exist or not. Raises UsageError for a path with none."""
    payloads: Payloads = {}
    patterns: list[AnyPath] = []
    for path in paths:
        found = _at_or_below(points, source, resolve_root(path))
        if not found and is_pattern(path):
            patterns.append(path)
        elif not found:
            raise UsageError(
                "nothing is indexed at or below this path",
                path=display_path(resolve_root(path)),
                hint="correct the path, or ingest it first; `clipindex status` lists the folders",
            )
        payloads |= found
    return payloads | _matching(points, source, patterns) if patterns else payloads


def _at_or_below(points: ReadablePoints, source: str, path: bytes) -> Payloads:
    itself = points.retrieve([point_id(source, path)])
    only = Filter().also(("source", source), ("folders", display_path(path)))
    return {name: point.payload for name, point in itself.items()} | dict(points.scroll(only))


def _matching(points: ReadablePoints, source: str, patterns: Sequence[AnyPath]) -> Payloads:
    """Every path of the source is compared with every pattern. A pattern is what it is for
    `ingest --exclude`: without a slash it is one of names, in any folder."""
    globs = {path: _Pattern(path) for path in patterns}
    unmatched = dict.fromkeys(patterns)
    payloads: Payloads = {}
    for name, payload in points.scroll(Filter().also(("source", source))):
        folder, _, last = glob_text(path_from_payload(payload)).rpartition("/")
        matching = [path for path, glob in globs.items() if glob.matches(f"{folder}/", last)]
        if matching:
            payloads[name] = payload
            for path in matching:
                unmatched.pop(path, None)
    for path in unmatched:
        raise UsageError(
            "no indexed picture matches this pattern",
            path=display_path(os.fsencode(path)),
            hint="without a slash it is compared with names, with one with whole paths",
        )
    return payloads


class _Pattern:
    """A pattern as a test of paths; one with a slash begins in the current folder."""

    def __init__(self, typed: AnyPath) -> None:
        text = os.fsdecode(os.path.expanduser(os.fspath(typed)))
        if "/" in text.replace(os.sep, "/").rstrip("/"):
            is_remote = is_address(os.fsencode(text))
            parts = text.split("/") if is_remote else os.path.abspath(text).split(os.sep)
            first = next(number for number, part in enumerate(parts) if is_pattern(part))
            fixed = resolve_root("/".join(parts[:first]) or os.sep)
            text = os.path.join(os.fsdecode(fixed), *parts[first:])
        self._globs = Globs([_one_slash(text)], contents=True)

    def matches(self, folder: str, name: str) -> bool:
        below = _one_slash(folder).removeprefix("/")
        return bool(self._globs.matching(below, name, is_folder=False))


def _one_slash(path: str) -> str:
    """A path as globs take it: the two slashes of an address are no empty folder's."""
    return path.replace("://", ":/", 1)


def _of_source(points: ReadablePoints, source: str, ids: Sequence[uuid.UUID]) -> Payloads:
    return {
        name: point.payload
        for start in range(0, len(ids), POINTS_AT_ONCE)
        for name, point in points.retrieve(ids[start : start + POINTS_AT_ONCE]).items()
        if point.payload.get("source") == source
    }


def _selected(name: uuid.UUID, payload: Payload, hit: Hit | None) -> Selected:
    return Selected(
        id=name,
        path=str(payload["path"]),
        exact_path=path_from_payload(payload),
        tags=tags_of(payload),
        score=None if hit is None else hit.score,
        z=None if hit is None else hit.z,
    )
