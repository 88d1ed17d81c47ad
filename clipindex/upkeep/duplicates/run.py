"""A whole search for duplicates: points, embeddings that are near, pictures that look the same.

The collection is held while a slice of points is read, never while vectors are compared or files
are read. Nothing is written but perceptual hashes, into the catalogue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.collection.status import open_catalogue
from clipindex.collection.verdicts import Verdicts
from clipindex.errors import DiskFull, StoreError
from clipindex.files.identity import display_path, resolve_root
from clipindex.pictures import likeness
from clipindex.upkeep.duplicates.contents import Contents, File, Wanted, read_contents
from clipindex.upkeep.duplicates.findings import (
    MOST_DIFFERENT,
    DuplicateFile,
    DuplicateGroup,
    DuplicatesEvent,
    DuplicatesFinished,
    DuplicatesOptions,
    DuplicatesSummary,
    NotCompared,
    Role,
    Unread,
)
from clipindex.upkeep.duplicates.groups import (
    Edge,
    best_first,
    grouped,
    oldest_first,
    separated,
)
from clipindex.upkeep.duplicates.hashing import Hashed, hashed
from clipindex.upkeep.duplicates.nearest import near_pairs
from clipindex.upkeep.duplicates.pairs import without_pairs
from clipindex.upkeep.verify.points import reader

Events = Generator[DuplicatesEvent, None, None]


def duplicates(
    place: Place, paths: Sequence[AnyPath], options: DuplicatesOptions, *, cores: int = 1
) -> Events:
    """Find duplicates at or below `paths` (none: in the whole collection), step by step: the work
    is done while the events are read. Memory: 4 kB for each picture of 512 numbers.

    Raises StoreError when there is no collection, UsageError for a path at or below which nothing
    is indexed, CollectionBusy when a run holds the collection for more than ten seconds.
    """
    started = time.monotonic()
    located = place.locate()
    stored = located.require()
    folders = [resolve_root(path) for path in paths]
    wanted = Wanted(folders, stored.contract.dimension, with_vectors=not options.exact)
    with reader(located.place, stored, "duplicates") as opened:
        contents = yield from read_contents(opened, wanted)
    with open_catalogue(located) as catalogue:
        verdicts = Verdicts() if catalogue is None else catalogue.verdicts()
        looked = _Looked(options.min_score)
        if not options.exact:
            source = located.place.source
            looked = yield from _look(source, contents, catalogue, options, cores)
            if catalogue is not None and not folders:
                with suppress(DiskFull, StoreError):  # they are dropped another time
                    catalogue.drop_likenesses(contents.digests)
    groups = _groups(contents, verdicts, looked, located.place.source)
    if options.pairs:
        groups = without_pairs(groups)
    yield from groups
    spare = [file for group in groups for file in group.files if file.spare]
    summary = DuplicatesSummary(
        collection=located.place.collection,
        files=sum(map(len, contents.files)),
        pictures=len(contents.digests),
        groups=len(groups),
        duplicates=sum(len(group.files) - 1 for group in groups),
        spare=len(spare),
        spare_bytes=sum(file.bytes for file in spare),
        candidates=looked.candidates,
        hashed=looked.read,
        away=looked.unread[Unread.AWAY],
        elsewhere=looked.unread[Unread.ELSEWHERE],
        changed=looked.unread[Unread.CHANGED],
        unreadable=looked.unread[Unread.UNREADABLE],
        damaged_points=contents.damaged,
        verdicts=separated(looked.edges, contents.digests, verdicts.different),
        min_score=round(looked.bound, 4),
        mirrored=options.mirrored,
        seconds=round(time.monotonic() - started, 3),
    )
    yield DuplicatesFinished(summary)


@dataclass(slots=True)
class _Looked:
    """What looking at the pictures brought: hashes by the number of their content, pairs that
    look the same, and how many could not be read."""

    bound: float
    hashes: dict[int, bytes] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    unread: Counter[Unread] = field(default_factory=Counter)
    candidates: int = 0
    read: int = 0


def _look(
    source: str,
    contents: Contents,
    catalogue: Catalogue | None,
    options: DuplicatesOptions,
    cores: int,
) -> Generator[DuplicatesEvent, None, _Looked]:
    """Compare embeddings, then the perceptual hashes of those that are near."""
    near = yield from near_pairs(contents.vectors, options.min_score, cores)
    looked = _Looked(near.bound, candidates=len(near.pairs))
    numbers = np.unique(near.pairs).tolist()
    reading = hashed(contents, numbers, catalogue, source, cores)
    result = yield from _counted(reading, looked.unread)
    looked.hashes, looked.read = result.hashes, result.read
    known = np.zeros(len(contents.digests), bool)
    known[list(result.hashes)] = True
    pairs = near.pairs[known[near.pairs].all(axis=1)]
    least = _least_differences(result.hashes, pairs, mirrored=options.mirrored)
    same = least <= MOST_DIFFERENT
    looked.edges = [
        (difference, one, other)
        for difference, (one, other) in zip(least[same].tolist(), pairs[same].tolist(), strict=True)
    ]
    return looked


def _counted(
    reading: Generator[DuplicatesEvent, None, Hashed], unread: Counter[Unread]
) -> Generator[DuplicatesEvent, None, Hashed]:
    """The same events; what could not be read is counted."""
    while True:
        try:
            event = next(reading)
        except StopIteration as end:
            result: Hashed = end.value
            return result
        if isinstance(event, NotCompared):
            unread[event.why] += 1
        yield event


def _least_differences(
    hashes: dict[int, bytes], pairs: likeness.Pairs, *, mirrored: bool
) -> likeness.Shares:
    """Of each pair of contents, in the best alignment; mirrored ones too where they count."""
    if not len(pairs):
        return np.empty(0, np.float32)
    numbers = np.fromiter(hashes, np.int64)
    rows = np.zeros(int(numbers.max()) + 1, np.int64)
    rows[numbers] = np.arange(len(numbers))
    values, pairs = likeness.unpacked(list(hashes.values())), rows[pairs]
    least = likeness.differences(values, pairs)
    if mirrored:
        least = np.minimum(least, likeness.differences(values, pairs, mirrored=True))
    return least


def _groups(
    contents: Contents, verdicts: Verdicts, looked: _Looked, source: str
) -> list[DuplicateGroup]:
    """Groups of contents that look the same, and of files that share one; by the best's path."""
    numbers = grouped(looked.edges, contents.digests, verdicts.different)
    in_groups = {number for group in numbers for number in group}
    for number, files in enumerate(contents.files):
        if len(files) > 1 and number not in in_groups:
            numbers.append([number])
    groups = []
    for group in numbers:
        ordered = best_first(group, contents, verdicts.keep)
        shown = [
            file
            for number in ordered
            for file in _files(number, ordered[0], contents, verdicts, looked, source)
        ]
        groups.append(DuplicateGroup(files=tuple(shown)))
    return sorted(groups, key=lambda group: group.files[0].exact_path)


def _files(
    number: int,
    best: int,
    contents: Contents,
    verdicts: Verdicts,
    looked: _Looked,
    source: str,
) -> list[DuplicateFile]:
    """The files of one content of a group. Of a content to be kept one file is no spare: the
    oldest that is on this machine."""
    digest = contents.digests[number]
    files = oldest_first(contents.files[number])
    files.sort(key=lambda file: file.source != source)
    keep = digest in verdicts.keep
    difference, mirrored = _difference(looked.hashes, best, number)
    score = 1.0 if number == best else _cosine(contents, best, number)
    role = Role.MIRRORED if mirrored else Role.NEAR
    return [
        _shown(
            file,
            digest,
            role=role if number != best else Role.COPY if place else Role.BEST,
            keep=keep,
            spare=file.source == source and (place > 0 or (number != best and not keep)),
            score=score,
            difference=difference,
        )
        for place, file in enumerate(files)
    ]


def _shown(file: File, digest: bytes, **facts: Any) -> DuplicateFile:
    return DuplicateFile(
        path=display_path(file.path),
        exact_path=file.path,
        source=file.source,
        id=str(file.id),
        sha256=digest.hex(),
        width=file.width,
        height=file.height,
        bytes=file.bytes,
        mtime_ns=file.mtime_ns,
        taken=file.taken,
        **facts,
    )


def _difference(hashes: dict[int, bytes], best: int, number: int) -> tuple[float | None, bool]:
    """How much a content differs from the best of its group, and whether it is mirrored."""
    if number == best:
        return 0.0, False
    if best not in hashes or number not in hashes:
        return None, False
    values, pair = likeness.unpacked([hashes[best], hashes[number]]), np.array([[0, 1]])
    plain = float(likeness.differences(values, pair)[0])
    mirrored = float(likeness.differences(values, pair, mirrored=True)[0])
    return round(min(plain, mirrored), 4), mirrored < plain and plain > MOST_DIFFERENT


def _cosine(contents: Contents, one: int, other: int) -> float:
    return min(1.0, round(float(contents.vectors[one] @ contents.vectors[other]), 4))
