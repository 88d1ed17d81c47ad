"""Perceptual hashes of pictures: those that the catalogue has, and the rest from the files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from clipindex.collection.catalogue import Catalogue
from clipindex.errors import DiskFull, FileFault, StoreError
from clipindex.files.access import exists
from clipindex.files.identity import display_path
from clipindex.pictures import likeness
from clipindex.pictures.content import read_content
from clipindex.upkeep.duplicates.contents import Contents, File
from clipindex.upkeep.duplicates.findings import DuplicatesProgress, NotCompared, Step, Unread

AT_ONCE = 250  # hashes of one transaction: what an interruption loses


@dataclass(slots=True)
class Hashed:
    """Perceptual hashes by the number of their content. `read`: how many pictures were read."""

    hashes: dict[int, bytes] = field(default_factory=dict)
    read: int = 0


def hashed(
    contents: Contents,
    wanted: Sequence[int],
    catalogue: Catalogue | None,
    source: str,
    cores: int,
) -> Generator[DuplicatesProgress | NotCompared, None, Hashed]:
    """The hashes of contents. Files of `source` are read by `cores` threads, and what they give is
    kept in the catalogue, so that each content is read once."""
    known = {} if catalogue is None else catalogue.likenesses(likeness.VERSION)
    result = Hashed()
    missing = []
    for number in wanted:
        value = known.get(contents.digests[number])
        if value is not None and likeness.is_valid(value):
            result.hashes[number] = value
        else:
            missing.append(number)
    del known
    executor = ThreadPoolExecutor(cores, "duplicates")
    try:
        for start in range(0, len(missing), AT_ONCE):
            batch = missing[start : start + AT_ONCE]
            read = executor.map(
                lambda number: _hash(contents.digests[number], contents.files[number], source),
                batch,
            )
            yield from _take(batch, read, contents, catalogue, result, start, len(missing))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return result


def _take(
    batch: Sequence[int],
    read: Iterator[bytes | NotCompared],
    contents: Contents,
    catalogue: Catalogue | None,
    result: Hashed,
    done: int,
    total: int,
) -> Iterator[DuplicatesProgress | NotCompared]:
    """Take in a batch as it comes; what came is kept whatever ends it."""
    new: dict[bytes, bytes] = {}
    try:
        for done_now, (number, value) in enumerate(zip(batch, read, strict=True), done + 1):
            if isinstance(value, bytes):
                result.hashes[number] = new[contents.digests[number]] = value
                result.read += 1
            else:
                yield value
            yield DuplicatesProgress(Step.PICTURES, done_now, total)
    finally:
        if catalogue is not None and new:
            with suppress(DiskFull, StoreError):  # without them the next call reads the files
                catalogue.add_likenesses(likeness.VERSION, new)


def _hash(digest: bytes, files: Sequence[File], source: str) -> bytes | NotCompared:
    """The hash of a content, from the first of its files that still has it."""
    reason = NotCompared(
        path=display_path(files[0].path), why=Unread.ELSEWHERE, reason="on another machine"
    )
    for file in files:
        if file.source != source:
            continue
        try:
            content = read_content(file.path)
            if content.sha256 == digest:
                return likeness.perceptual_hash(content.data)
            why, text = Unread.CHANGED, "edited since it was indexed"
        except FileFault as fault:
            is_there = exists(file.path)
            why = Unread.UNREADABLE if is_there else Unread.AWAY
            text = fault.reason if is_there else "deleted or moved, or its disk is away"
        reason = NotCompared(path=display_path(file.path), why=why, reason=text)
    return reason
