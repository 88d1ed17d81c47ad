"""Compacting an embedded collection: its points move into a fresh shard, which takes its place.

The old shard is only read, and answers queries, until the new one is complete, durable, opened
anew and compared point by point. Contract and catalogue are not touched.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clipindex.collection.contract import StoredContract
from clipindex.collection.endings import noted_refusal
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.place import Place
from clipindex.collection.sharing.hold import Hold, held
from clipindex.errors import CollectionBusy, DiskFull, UsageError, VerificationFailed
from clipindex.files.durable import MORE_ROOM, disk_errors, free_space
from clipindex.files.replacing import built_beside, go_back, replace, settle, size_on_disk
from clipindex.stores.edge import HEADROOM, EdgePoints
from clipindex.stores.points import POINTS_AT_ONCE
from clipindex.stores.shard_size import needed, note_compacted, shard_size

Progress = Callable[[int, int], object]  # called with the points done, and with their total


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What a compaction did; sizes are bytes on the disk."""

    points: int
    bytes_before: int
    bytes_after: int
    seconds: float


def compact(
    place: Place, progress: Progress = lambda _done, _total: None, *, yielding: bool = False
) -> Compaction | None:
    """Copy all points into a new shard and put it in the old one's place.

    With `yielding` it is done only where it is worthwhile (else None), and stops for any process
    that wants to write. Raises UsageError on a server, DiskFull before anything is written,
    CollectionBusy, and VerificationFailed for a point that cannot be copied; the collection is
    then as it was.
    """
    if not isinstance(place, FolderPlace):
        raise UsageError(
            "a Qdrant server reclaims space by itself",
            hint="only an embedded store (--store) is compacted",
        )
    located = place.locate(for_writing=True)
    stored, place = located.require(), located.place
    assert isinstance(place, FolderPlace)  # as before
    wanted = threading.Event()

    def hand_over() -> bool:
        if yielding:
            wanted.set()
        return yielding

    started = time.monotonic()
    with (
        nullcontext() if yielding else noted_refusal(located, "compact"),
        held(place.lock, "compact", place.patience, hand_over) as hold,
    ):
        before = size_on_disk(place.shard)

        def step(done: int, total: int) -> None:
            if wanted.is_set():
                raise CollectionBusy("another process wants to write", path=str(place.folder))
            progress(done, total)

        points = _compacted(place, stored, hold, step, only_worthwhile=yielding)
        if points is None:
            return None
        return Compaction(
            points=points,
            bytes_before=before,
            bytes_after=size_on_disk(place.shard),
            seconds=time.monotonic() - started,
        )


def _compacted(
    place: FolderPlace,
    stored: StoredContract,
    hold: Hold,
    progress: Progress,
    *,
    only_worthwhile: bool,
) -> int | None:
    """How many points the new shard has; None where it is not worthwhile."""
    shard, dimension = place.shard, stored.contract.dimension
    with disk_errors(shard, "the collection cannot be compacted"):
        opened = place.open(stored, create=False).points
        assert isinstance(opened, EdgePoints)
        with closing(opened) as old:
            count = old.count()
            if only_worthwhile and not shard_size(shard, count, dimension).is_worth_compacting:
                return None
            _check_room(shard, count, dimension)
            with built_beside(shard) as new:
                with hold.answer_from(old):
                    copy_shard(old, new, dimension, progress)
                old.close()
                replace(shard)
    with disk_errors(shard, "the compacted collection cannot be put in place"):
        try:
            with closing(EdgePoints(shard, dimension, make=not count)) as opened_anew:
                _compare_counts(count, opened_anew)
        except BaseException:
            go_back(shard)
            raise
        settle(shard)
        note_compacted(shard, count)
    return count


def copy_shard(old: EdgePoints, folder: Path, dimension: int, progress: Progress) -> None:
    """Copy every point into a new shard in `folder`, durably; then open that anew and compare
    every point, vectors bit for bit. `progress` counts both passes.

    Raises VerificationFailed where the copy differs, or the engine does not take a point.
    """
    count = old.count()
    done = 0
    with closing(EdgePoints(folder, dimension)) as new:
        remaining = iter(old.scroll())
        while page := list(islice(remaining, POINTS_AT_ONCE)):
            new.upsert(list(old.retrieve([name for name, _ in page]).values()))
            done += len(page)
            progress(done, 2 * count)
        new.flush()
    with closing(EdgePoints(folder, dimension, make=not count)) as new:
        _compare_counts(count, new)
        remaining = iter(old.scroll())
        while page := list(islice(remaining, POINTS_AT_ONCE)):
            names = [name for name, _ in page]
            originals, copies = old.retrieve(names), new.retrieve(names)
            for name in names:
                if name not in copies or not new.same(originals[name], copies[name]):
                    raise _differs(f"the copy of point {name} differs from it", new)
            done += len(page)
            progress(done, 2 * count)


def _check_room(shard: Path, count: int, dimension: int) -> None:
    need = HEADROOM + min(needed(count, dimension), 2 * size_on_disk(shard))
    if (free := free_space(shard)) < need:
        raise DiskFull(
            f"compacting writes a copy beside the collection: {need >> 20} MiB are needed, "
            f"{free >> 20} are free",
            path=str(shard),
            hint=MORE_ROOM,
        )


def _compare_counts(count: int, copy: EdgePoints) -> None:
    if (copied := copy.count()) != count:
        raise _differs(f"the copy has {copied:,} points instead of {count:,}", copy)


def _differs(message: str, points: EdgePoints) -> VerificationFailed:
    return VerificationFailed(
        message,
        path=points.location,
        hint="the collection is as it was; look at it with clipindex verify",
    )
