"""The points of a collection by content: the files that share it, and its embedding."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from clipindex.errors import UsageError
from clipindex.files.identity import display_path, is_below
from clipindex.stores.payload import Payload, mtime_of
from clipindex.stores.points import POINTS_AT_ONCE, ReadablePoints, is_unit
from clipindex.upkeep.duplicates.findings import DuplicatesProgress, Step
from clipindex.upkeep.verify.points import Opening, path_in

SLICE = 10_000  # points of one opening: 2 s, after which whoever waits gets the collection

Vectors = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [pictures, dimension], length 1


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One indexed file."""

    path: bytes
    source: str
    id: uuid.UUID
    width: int
    height: int
    bytes: int
    mtime_ns: int
    taken: str | None


@dataclass(slots=True)
class Contents:
    """The different contents, in the order of the points. `vectors` has a row for each where
    embeddings were asked for."""

    digests: list[bytes] = field(default_factory=list)
    files: list[list[File]] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))
    damaged: int = 0  # points that are left out


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which points are read: at or below the folders, or all; with their embeddings or without."""

    folders: Sequence[bytes]
    dimension: int
    with_vectors: bool


def read_contents(opened: Opening, wanted: Wanted) -> Generator[DuplicatesProgress, None, Contents]:
    """Read the points a slice at a time; a run may write in between.

    Raises UsageError for a folder at or below which nothing is indexed.
    """
    contents = Contents()
    numbers: dict[bytes, int] = {}
    seen: set[uuid.UUID] = set()
    blocks: list[Vectors] = []
    hit: set[bytes] = set()
    last: uuid.UUID | None = None
    while True:
        with opened() as points:
            total = points.count()
            page = list(islice(points.scroll(start=last), SLICE))
            new = [(point, payload) for point, payload in page if point not in seen]
            seen.update(point for point, _ in new)
            unread = _add(contents, numbers, new, wanted, hit)
            if wanted.with_vectors:
                blocks.append(_vectors(points, unread, wanted.dimension))
        yield DuplicatesProgress(Step.POINTS, len(seen), max(total, len(seen)))
        if not new or len(page) < SLICE:
            break
        last = page[-1][0]
    for folder in wanted.folders:
        if folder not in hit:
            raise UsageError(
                "nothing is indexed at or below this path",
                path=display_path(folder),
                hint="correct the path, or ingest it first; `clipindex status` lists the folders",
            )
    return _with_vectors(contents, blocks) if wanted.with_vectors else contents


def _add(
    contents: Contents,
    numbers: dict[bytes, int],
    page: Sequence[tuple[uuid.UUID, Payload]],
    wanted: Wanted,
    hit: set[bytes],
) -> list[uuid.UUID]:
    """Add the files of a page; returns a point of each content that is new. `hit` collects the
    folders that have files."""
    first = []
    for point, payload in page:
        path = path_in(payload)
        above = [folder for folder in wanted.folders if is_below(path, folder)]
        if wanted.folders and not above:
            continue
        try:
            digest, file = bytes.fromhex(str(payload["sha256"])), _file(point, path, payload)
        except (KeyError, ValueError, TypeError):
            contents.damaged += 1
            continue
        hit.update(above)
        if digest not in numbers:
            numbers[digest] = len(contents.digests)
            contents.digests.append(digest)
            contents.files.append([])
            first.append(point)
        contents.files[numbers[digest]].append(file)
    return first


def _file(point: uuid.UUID, path: bytes, payload: Payload) -> File:
    """Raises KeyError, ValueError or TypeError for a payload that is not ours."""
    if not path:
        raise ValueError("it has no path")
    taken = payload.get("taken")
    return File(
        path=path,
        source=str(payload["source"]),
        id=point,
        width=int(str(payload["width"])),
        height=int(str(payload["height"])),
        bytes=int(str(payload["bytes"])),
        mtime_ns=mtime_of(payload),
        taken=None if taken is None else str(taken),
    )


def _vectors(points: ReadablePoints, ids: Sequence[uuid.UUID], dimension: int) -> Vectors:
    """A row for each point; zeros, which resemble nothing, for one that is gone or not valid."""
    rows = np.zeros((len(ids), dimension), np.float32)
    for start in range(0, len(ids), POINTS_AT_ONCE):
        batch = ids[start : start + POINTS_AT_ONCE]
        stored = points.retrieve(batch)
        for number, name in enumerate(batch, start):
            point = stored.get(name)
            if point is not None and point.vector.shape == (dimension,) and is_unit(point.vector):
                rows[number] = point.vector
    return rows


def _with_vectors(contents: Contents, blocks: list[Vectors]) -> Contents:
    """The blocks as one array: each is freed as it is copied."""
    dimension = blocks[0].shape[1] if blocks else 0
    vectors = np.empty((len(contents.digests), dimension), np.float32)
    start = 0
    while blocks:
        block = blocks.pop(0)
        vectors[start : start + len(block)] = block
        start += len(block)
    contents.vectors = vectors
    contents.damaged += int((~vectors.any(axis=1)).sum())
    return contents
