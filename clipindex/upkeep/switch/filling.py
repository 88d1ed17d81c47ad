"""Filling a collection from the live one beside it, and comparing all of both."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from clipindex.collection.following import bring_along, remove, write
from clipindex.files.access import exists
from clipindex.files.identity import display_path, is_below
from clipindex.stores.filter import Filter
from clipindex.stores.payload import with_vector_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points, ReadablePoints
from clipindex.stores.validation import healed_payload, payload_fault
from clipindex.upkeep.switch.embedding import Embedding
from clipindex.upkeep.switch.report import Progress, RootCount, Unembedded
from clipindex.upkeep.verify.points import path_in

PAGE = 100  # points brought along at once: a deadline is met within some seconds
ELSEWHERE = "it is of source '{}': run the same command on the machine that has its files"


@dataclass(slots=True)
class Filled:
    """What came along, and what could not."""

    embedded: int = 0
    lacking: dict[uuid.UUID, Unembedded] = field(default_factory=dict)
    left: int = 0  # not looked at before the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Filler:
    """Brings points of the live collection along into the one beside it."""

    live: ReadablePoints
    beside: Points
    dimension: int  # of the one beside
    embedding: Embedding
    only_source: str | None = None  # whose files this machine has; None: everybody's

    def fill(self, ids: Sequence[uuid.UUID], deadline: float | None, moved: Progress) -> Filled:
        """Bring points along, page by page, each verified; `deadline` is a time.monotonic() value.
        Raises VerificationFailed, DiskFull, and as the model does."""
        result = Filled()
        for start in range(0, len(ids), PAGE):
            if deadline is not None and time.monotonic() >= deadline:
                result.left = len(ids) - start
                break
            page = ids[start : start + PAGE]
            lacking = bring_along(self.live, self.beside, self.dimension, page).lacking
            self._embed(lacking, result)
            moved(min(start + PAGE, len(ids)), len(ids))
        return result

    def _embed(self, lacking: Sequence[Point], result: Filled) -> None:
        faults = {point.id: self._fault(point) for point in lacking}
        here = [point for point in lacking if faults[point.id] is None]
        embedded = self.embedding.embed(here)
        batch = [
            replace(
                point,
                vector=embedded.vectors[digest],
                payload=with_vector_of(point.payload, embedded.ways[digest]),
            )
            for point in here
            if (digest := str(point.payload["sha256"])) in embedded.vectors
        ]
        write(self.beside, batch)
        result.embedded += len(embedded.vectors)
        written = {point.id for point in batch}
        for point in lacking:
            if point.id not in written:
                digest = str(point.payload.get("sha256"))
                reason = faults[point.id] or embedded.faults[digest]
                path = display_path(path_in(point.payload))
                result.lacking[point.id] = Unembedded(path, reason)

    def _fault(self, point: Point) -> str | None:
        """Why this machine cannot embed it."""
        fault = payload_fault(healed_payload(point.payload))
        if fault is not None:
            return f"its point is damaged: {fault}; see `clipindex verify`"
        source = str(point.payload["source"])
        if self.only_source not in (None, source):
            return ELSEWHERE.format(source)
        return None

    def lacking_ids(self) -> list[uuid.UUID]:
        """The points of this machine that the collection beside lacks, or has of other bytes."""
        only = Filter()
        if self.only_source is not None:
            only = Filter(equals=(("source", self.only_source),))
        known = self.known()
        return [
            name
            for name, payload in self.live.scroll(only)
            if known.get(name) != payload.get("sha256")
        ]

    def known(self) -> dict[uuid.UUID, object]:
        """The digests of the contents beside, by point."""
        return {name: payload.get("sha256") for name, payload in self.beside.scroll()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Both collections after all of them was compared."""

    filled: Filled
    pictures: int  # in the collection beside
    of: int  # in the live one
    roots: list[RootCount]
    left_out: list[tuple[str, bytes]]  # source and path of those that are not in the one beside


def bring_all_along(
    filler: Filler,
    roots: Sequence[bytes],
    moved: Progress,
    *,
    exactly: bool,
    deadline: float | None = None,
) -> Compared:
    """Compare every point with its counterpart, and put right what differs: payload, vector, or
    that it is there at all. The caller holds the locks.

    With `exactly` what the live one does not have is deleted. Otherwise only what moved away: the
    live one may have lost points, and then the one beside is where they are.
    """
    owners: dict[uuid.UUID, tuple[str, bytes]] = {}
    known, new, old = filler.known(), list[uuid.UUID](), list[uuid.UUID]()
    for name, payload in filler.live.scroll():
        owners[name] = str(payload.get("source")), path_in(payload)
        (old if known.get(name) == payload.get("sha256") else new).append(name)
    filled = filler.fill([*new, *old], deadline, moved)
    if not filled.left:
        _remove_others(filler, owners.keys(), exactly=exactly)
    left = max(0, filled.left - len(old))
    return Compared(
        filled=filled,
        pictures=len(owners) - len(filled.lacking) - left,
        of=len(owners),
        roots=_counts(owners, filled.lacking.keys(), roots),
        left_out=[owners[name] for name in filled.lacking],
    )


def _remove_others(filler: Filler, known: Set[uuid.UUID], *, exactly: bool) -> None:
    """Delete points that the live collection does not have."""
    others = [(name, payload) for name, payload in filler.beside.scroll() if name not in known]
    for start in range(0, len(others), POINTS_AT_ONCE):
        page = others[start : start + POINTS_AT_ONCE]
        if not exactly:
            digests = sorted({str(payload.get("sha256")) for _, payload in page})
            copies = filler.live.scroll(Filter().also_among("sha256", digests))
            existing = {payload.get("sha256") for _, payload in copies}
            page = [
                (name, payload)
                for name, payload in page
                if payload.get("sha256") in existing and not exists(path_in(payload))
            ]
        remove(filler.beside, [name for name, _ in page])


def _counts(
    owners: Mapping[uuid.UUID, tuple[str, bytes]], lacking: Set[uuid.UUID], roots: Sequence[bytes]
) -> list[RootCount]:
    """Pictures below each root, in both; one below two roots counts for the inner one."""
    inner_first = sorted(roots, key=len, reverse=True)
    before, after = Counter[bytes](), Counter[bytes]()
    for name, (_, path) in owners.items():
        root = next((root for root in inner_first if is_below(path, root)), b"")
        before[root] += 1
        after[root] += name not in lacking
    return [
        RootCount(display_path(root), before[root], after[root])
        for root in [*roots, *([b""] if before[b""] else [])]
    ]
