"""Rehearsing a switch: a sample is embedded with the new model, and both are asked the same.

Nothing is changed. The sample are the contents with the smallest digests: as good as drawn by
chance, and the same each time. Both models rank these pictures alone.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from clipindex.collection.contract import recipe_of
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.place import Place, is_shared
from clipindex.errors import UsageError
from clipindex.files.identity import display_path
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Encoder
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search.terms import embed_query, parse_term
from clipindex.stores.points import POINTS_AT_ONCE, Point, ReadablePoints, Vector
from clipindex.stores.shard_size import needed
from clipindex.stores.validation import healed_payload, payload_fault
from clipindex.upkeep.switch.embedding import Embedded, Embedding, Load
from clipindex.upkeep.switch.report import Progress, no_progress
from clipindex.upkeep.switch.run import contract_for, is_same
from clipindex.upkeep.verify.points import path_in

SAMPLE, HITS = 500, 10
AT_ONCE = 50  # contents embedded between two steps of the progress bar


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseOptions:
    """How a switch is rehearsed. Raises UsageError for a value that is out of range."""

    preprocessing: Preprocessing | None = None  # None: that of the live collection
    sample: int = SAMPLE  # pictures
    hits: int = HITS  # of each query that are compared
    cores: int = 1  # threads that read and embed

    def __post_init__(self) -> None:
        for name in ("sample", "hits", "cores"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedQuery:
    """One query: hits of both models, of the new one alone, of the old one alone; and the first
    hit of each."""

    query: str
    kept: int
    won: list[str]
    lost: list[str]
    first_before: str
    first_after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What both models answered, and what the whole would take. `contents`: different pictures
    that the collection has; `sampled`: of them, those that were embedded."""

    model: str
    preprocessing: str
    before: str
    preprocessing_before: str
    queries: list[RehearsedQuery]
    sampled: int
    unreadable: int  # of the sample
    pictures: int
    contents: int
    hits: int
    cpu_seconds: float  # of the sample, measured
    cpu_seconds_in_all: float
    wall_seconds_in_all: float
    bytes_in_all: int

    @property
    def kept(self) -> int:
        """Hits that both models give."""
        return sum(query.kept for query in self.queries)

    @property
    def won(self) -> int:
        """Hits that the new model alone gives."""
        return sum(len(query.won) for query in self.queries)

    @property
    def lost(self) -> int:
        """Hits that the old model alone gives."""
        return sum(len(query.lost) for query in self.queries)


def rehearse(
    place: Place,
    new: str,
    queries: Sequence[str],
    options: RehearseOptions,
    load: Load,
    moved: Progress = no_progress,
) -> Rehearsal:
    """Ask both models the queries, texts or picture files, over a sample; nothing is changed.

    Raises UsageError without a query or a readable picture, ModelError, CollectionBusy.
    """
    if not queries:
        raise UsageError("there is no query to rehearse", hint="write one on each line of the file")
    located = place.locate()
    stored, place = located.require(), located.place
    bundle = find_bundle(new)
    contract = contract_for(bundle, stored, options.preprocessing)
    if is_same(stored.contract, contract):
        raise UsageError(
            f"the collection has the model '{contract.model}' already", hint="name another model"
        )
    with place.open_for_reading(stored, "switch-model") as points:
        sample, pictures, contents = _sample(points, place, options.sample)
    recipe = Preprocessing(contract.preprocessing)
    embedding = Embedding(lambda: bundle, load, recipe, options.cores)
    embedding.embed(sample[:1])  # loads the model: that is not counted below
    started, used = time.monotonic(), time.process_time()
    embedded = _embed(embedding, sample, moved)
    cpu, wall = time.process_time() - used, time.monotonic() - started
    both = [point for point in sample if str(point.payload["sha256"]) in embedded.vectors]
    if not both:
        raise UsageError(
            "no picture of the sample can be read", hint="is the disk mounted? Try `verify --files`"
        )
    before = np.stack([point.vector for point in both])
    after = np.stack([embedded.vectors[str(point.payload["sha256"])] for point in both])
    paths = [display_path(path_in(point.payload)) for point in both]
    asked_new = _vectors(queries, load(bundle), recipe)
    asked_old = _vectors(queries, load(bundle_for(stored, None)), recipe_of(stored.contract))
    return Rehearsal(
        model=contract.model,
        preprocessing=contract.preprocessing,
        before=stored.contract.model,
        preprocessing_before=stored.contract.preprocessing,
        queries=[
            _compare(text, paths, before @ old, after @ now, options.hits)
            for text, old, now in zip(queries, asked_old, asked_new, strict=True)
        ],
        sampled=len(both),
        unreadable=len(sample) - len(both),
        pictures=pictures,
        contents=contents,
        hits=min(options.hits, len(both)),
        cpu_seconds=round(cpu, 2),
        cpu_seconds_in_all=round(cpu / len(both) * contents, 1),
        wall_seconds_in_all=round(wall / len(both) * contents, 1),
        bytes_in_all=needed(pictures, contract.dimension),
    )


def _sample(points: ReadablePoints, place: Place, size: int) -> tuple[list[Point], int, int]:
    """The points of the sample, one for each content, in the order of their digests; how many
    points and how many contents there are."""
    first: dict[str, tuple[str, uuid.UUID]] = {}
    pictures = 0
    for name, payload in points.scroll():
        pictures += 1
        own = not is_shared(place) or payload.get("source") == place.source
        if own and payload_fault(healed_payload(payload)) is None:
            candidate = str(payload["path"]), name
            digest = str(payload["sha256"])
            first[digest] = min(first.get(digest, candidate), candidate, key=lambda one: one[0])
    chosen = [first[digest][1] for digest in nsmallest(size, first)]
    read: list[Point] = []
    for start in range(0, len(chosen), POINTS_AT_ONCE):
        ids = chosen[start : start + POINTS_AT_ONCE]
        stored = points.retrieve(ids)
        read += [stored[name] for name in ids if name in stored]
    return read, pictures, len(first)


def _embed(embedding: Embedding, sample: Sequence[Point], moved: Progress) -> Embedded:
    result = Embedded()
    for start in range(0, len(sample), AT_ONCE):
        part = embedding.embed(sample[start : start + AT_ONCE])
        result.vectors |= part.vectors
        result.faults |= part.faults
        moved(min(start + AT_ONCE, len(sample)), len(sample))
    return result


def _vectors(queries: Sequence[str], encoder: Encoder, recipe: Preprocessing) -> list[Vector]:
    return [embed_query([parse_term(text)], encoder, recipe).vector for text in queries]


def _compare(
    text: str, paths: Sequence[str], before: Vector, after: Vector, hits: int
) -> RehearsedQuery:
    """The first hits of both, by score and then by path, as a query gives them."""
    old, new = _best(paths, before, hits), _best(paths, after, hits)
    return RehearsedQuery(
        query=text,
        kept=len(set(old) & set(new)),
        won=[path for path in new if path not in old],
        lost=[path for path in old if path not in new],
        first_before=old[0],
        first_after=new[0],
    )


def _best(paths: Sequence[str], scores: Vector, hits: int) -> list[str]:
    order = sorted(range(len(paths)), key=lambda n: (-round(float(scores[n]), 4), paths[n]))
    return [paths[number] for number in order[:hits]]
