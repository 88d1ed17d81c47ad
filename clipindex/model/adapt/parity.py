"""Whether an adapted tower says what its export says, and says it in any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from clipindex.errors import ModelError
from clipindex.model.encoder import unit_length
from clipindex.model.onnx_graph.graph import Array
from clipindex.model.onnxruntime_tower import load, session_options

SMALLEST_COSINE = 0.99999  # to the export's own output
LARGEST_MOVE = 1e-6  # of a unit vector's component, when its batch changes
BATCHES = (1, 4, 7)
PICTURES = 12
TEXTS = (
    "a dog",
    "Two cats asleep on a red sofa, in the evening sun!",
    "x",
    "the old harbour with fishing boats, gulls and a lighthouse behind them; 1987",
    "Ein Fahrrad lehnt an einer Mauer",
    "snow",
)

Run = Callable[[Array], Array]  # a batch to embeddings [batch, dimension]


def trial_pictures(size: int, count: int = PICTURES) -> Array:
    """Pictures from flat to noisy, one nearly black, one nearly white: uint8 [count, size, size,
    3]."""
    random = np.random.default_rng(0)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for number in range(count):
        cells = 2 ** (1 + number % 5)  # 2 to 32 coloured squares a side
        squares = random.integers(0, 256, (cells, cells, 3))
        side = -(-size // cells)
        picture = squares.repeat(side, axis=0).repeat(side, axis=1)[:size, :size]
        pictures[number] = np.clip(picture + random.normal(0, 2 * number, picture.shape), 0, 255)
    pictures[1:3] = np.array([1, 254], dtype=np.uint8)[:, None, None, None]
    return pictures


def tower_at(path: Path, input_name: str, output_name: str) -> Run:
    """A tower of ours on the CPU."""
    session = load(path, session_options())

    def run(batch: Array) -> Array:
        try:
            embeddings: Array = session.run([output_name], {input_name: batch})[0]
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise _wrong(path, f"it does not run: {str(error)[:400]}") from error
        return embeddings

    return run


def check_parity(path: Path, tower: Run, batch: Array, expected: Array) -> float:
    """The smallest cosine of the tower's vectors of a batch to those expected.

    Raises ModelError where it is too small, or a vector changes with the rows beside it.
    """
    alone = np.concatenate([tower(row[None]) for row in batch])
    if alone.shape != expected.shape:
        raise _wrong(path, f"its vectors have {alone.shape[1]} numbers, not {expected.shape[1]}")
    own, other = (unit_length(vectors).astype(np.float64) for vectors in (alone, expected))
    cosine = float((own * other).sum(axis=1).min())
    if not cosine >= SMALLEST_COSINE:  # written so that NaN is refused too
        raise _wrong(path, f"its vectors differ from the export's: cosine {cosine:.6f}")
    move = max(_moves(tower, batch, unit_length(alone), size) for size in BATCHES[1:])
    if not move <= LARGEST_MOVE:
        raise _wrong(path, f"a vector changes by {move:.1e} with the batch that it is in")
    return cosine


def check_padding(path: Path, tower: Run, batch: Array, lone: Sequence[Array]) -> None:
    """Raises ModelError where a text's vector depends on how far it is padded.

    `batch`: ids [texts, sequence]; `lone`: the same, each [1, sequence] as a query has it.
    """
    padded = unit_length(tower(batch)).astype(np.float64)
    alone = unit_length(np.concatenate([tower(ids) for ids in lone])).astype(np.float64)
    cosine = float((padded * alone).sum(axis=1).min())
    if not cosine >= SMALLEST_COSINE:
        raise _wrong(path, f"a text's vector depends on its padding: cosine {cosine:.6f}")


def _moves(tower: Run, batch: Array, alone: Array, size: int) -> float:
    starts: Sequence[int] = range(0, len(batch), size)
    together = np.concatenate([tower(batch[start : start + size]) for start in starts])
    return float(np.abs(unit_length(together) - alone).max())


def _wrong(path: Path, why: str) -> ModelError:
    return ModelError(
        f"the adapted {path.name} is not what was downloaded: {why}",
        path=str(path),
        hint="nothing was installed. Try another version of onnxruntime, or convert the checkpoint"
        " with scripts/convert_to_onnx.py",
    )
