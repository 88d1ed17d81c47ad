"""Which embeddings resemble each other: every one compared with every other, exactly.

Products of blocks, each in a thread; only pairs above the bound are kept. Memory: a block's
product for each thread (16 MiB), and the pairs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from clipindex.upkeep.duplicates.contents import Vectors
from clipindex.upkeep.duplicates.findings import DuplicatesProgress, Step

BLOCK = 2048  # rows
MOST_PAIRS = 5_000_000  # 20 bytes each; above, the bound rises

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Cosines = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of pictures [pairs, 2], the smaller number first, with their cosines [pairs].
    `bound`: the cosine above which all pairs are among them."""

    pairs: Numbers
    cosines: Cosines
    bound: float


def near_pairs(
    vectors: Vectors, bound: float, cores: int, most: int = MOST_PAIRS
) -> Generator[DuplicatesProgress, None, Candidates]:
    """All pairs of rows whose cosine is at least `bound`. Where these are more than `most`, half
    as many are kept, those with the highest cosines, and the bound rises to the least of them."""
    count = len(vectors)
    starts = range(0, count, BLOCK)
    blocks = ((row, column) for row in starts for column in starts if column >= row)
    total, done = len(starts) * (len(starts) + 1) // 2, 0
    kept = Candidates(np.empty((0, 2), np.int64), np.empty(0, np.float32), bound)
    pending: list[Candidates] = []
    executor = ThreadPoolExecutor(cores, "duplicates")
    try:
        for part in _in_order(executor, vectors, blocks, bound, 2 * cores):
            pending.append(part)
            done += 1
            if len(kept.pairs) + sum(len(part.pairs) for part in pending) > most:
                kept, pending = _best(_joined([kept, *pending], kept.bound), most // 2), []
            yield DuplicatesProgress(Step.COMPARISONS, done, total)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return _joined([kept, *pending], kept.bound)


def _in_order(
    executor: ThreadPoolExecutor,
    vectors: Vectors,
    blocks: Iterator[tuple[int, int]],
    bound: float,
    ahead: int,
) -> Iterator[Candidates]:
    """The pairs of each two blocks; only so many are computed ahead."""
    queue: list[Future[Candidates]] = []

    def fill(number: int) -> None:
        for row, column in islice(blocks, number):
            queue.append(executor.submit(_pairs, vectors, row, column, bound))

    fill(ahead)
    while queue:
        yield queue.pop(0).result()
        fill(1)


def _pairs(vectors: Vectors, row: int, column: int, bound: float) -> Candidates:
    """The pairs of the blocks that begin at `row` and at `column`."""
    products = vectors[row : row + BLOCK] @ vectors[column : column + BLOCK].T
    one, other = np.nonzero(products >= bound)
    cosines = products[one, other]
    one, other = one + row, other + column
    ordered = one < other  # on the diagonal: once, and not with itself
    return Candidates(np.stack([one, other], axis=1)[ordered], cosines[ordered], bound)


def _joined(parts: Sequence[Candidates], bound: float) -> Candidates:
    """All parts; what lies below the bound, which rose meanwhile, is left out."""
    pairs = np.concatenate([part.pairs for part in parts])
    cosines = np.concatenate([part.cosines for part in parts])
    high = cosines >= bound
    return Candidates(pairs[high], cosines[high], bound)


def _best(candidates: Candidates, most: int) -> Candidates:
    """The `most` pairs with the highest cosines, and those that equal the last of them."""
    if len(candidates.pairs) <= most:
        return candidates
    bound = float(np.partition(candidates.cosines, -most)[-most])
    return _joined([candidates], bound)
