"""A collection's sample for `judging`, kept between queries.

Ids are hashes, so the points with the smallest ids are a random sample that is the same for
everybody who asks. It is kept in the user's state folder, which costs a query 5 ms where reading
it from the store costs 150, and read again once the collection has grown or shrunk by a twentieth,
or one of its first points is another one.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice

import numpy as np

from clipindex.collection.contract import StoredContract
from clipindex.collection.place import Place
from clipindex.files.private_cache import PrivateCache
from clipindex.search.judging import Sample
from clipindex.stores.points import POINTS_AT_ONCE, Point, ReadablePoints

CACHE = PrivateCache("samples", most=50)  # 4 MB each at 512 numbers
VERSION = 1  # of what a file holds
SIZE = 2000  # points: z is then off by 0.08 on average, from 10,000 points
COMPARED = 16  # points of the sample that are compared with the collection's
GROWTH = 0.05  # share by which the number of points may differ
SAME = 1e-3  # difference of two numbers of a vector; a server may round them


def sample_of(points: ReadablePoints, place: Place, stored: StoredContract) -> Sample:
    """A sample of the collection; of a small one all of it."""
    count = points.estimate()
    key = _key(place, stored)
    dimension = stored.contract.dimension
    kept = _read(CACHE.get(key), dimension)
    if kept is not None and _is_still_true(*kept, points, count):
        return kept[0]
    ids, vectors = _drawn(points)
    sample = Sample(vectors.reshape(-1, dimension), count)
    CACHE.put(key, _written(sample, ids[:COMPARED]))
    return sample


def vectors_of(points: ReadablePoints, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
    """Points by id, some at a time: a run that writes meanwhile waits for no long request."""
    stored: dict[uuid.UUID, Point] = {}
    for start in range(0, len(ids), POINTS_AT_ONCE):
        stored |= points.retrieve(ids[start : start + POINTS_AT_ONCE])
    return stored


def _drawn(
    points: ReadablePoints,
) -> tuple[list[uuid.UUID], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """The first points by id, each content once."""
    contents: dict[object, uuid.UUID] = {}
    for name, payload in islice(points.scroll(), SIZE):
        contents.setdefault(payload.get("sha256"), name)
    stored = vectors_of(points, list(contents.values()))
    ids = [name for name in contents.values() if name in stored]
    return ids, np.array([stored[name].vector for name in ids], np.float32)


def _is_still_true(
    sample: Sample, ids: list[uuid.UUID], points: ReadablePoints, count: int
) -> bool:
    if abs(count - sample.points) > GROWTH * sample.points:
        return False
    stored = points.retrieve(ids)
    return all(
        name in stored and np.allclose(stored[name].vector, vector, rtol=0, atol=SAME)
        for name, vector in zip(ids, sample.vectors, strict=False)
    )


def _key(place: Place, stored: StoredContract) -> str:
    facts = [VERSION, place.name, place.collection, asdict(stored.contract), stored.noted]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _written(sample: Sample, ids: list[uuid.UUID]) -> bytes:
    """A line of JSON, then the vectors as little-endian float32."""
    head = {"points": sample.points, "ids": list(map(str, ids))}
    return json.dumps(head).encode() + b"\n" + sample.vectors.astype("<f4").tobytes()


def _read(data: bytes | None, dimension: int) -> tuple[Sample, list[uuid.UUID]] | None:
    """The inverse of `_written`; None for anything else."""
    if data is None:
        return None
    line, _, numbers = data.partition(b"\n")
    try:
        head = json.loads(line)
        ids = [uuid.UUID(name) for name in head["ids"]]
        vectors = np.frombuffer(numbers, "<f4").reshape(-1, dimension)
        sample = Sample(vectors.astype(np.float32, copy=False), int(head["points"]))
    except (ValueError, KeyError, TypeError):
        return None
    return sample, ids
