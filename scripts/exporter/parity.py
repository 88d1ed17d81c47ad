"""A tower must say what the library says that it came from, or no bundle is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipindex.model.bundle import PROBE
from clipindex.model.imports import guarded_import
from clipindex.model.saturation import make_exact
from exporter.bundle import BundleRefused

with guarded_import():
    import onnxruntime

BATCH_SIZES = (1, 2, 7, 25)
TEXT_LENGTHS = (2, 3, 8, 31)  # and the full context
SMALLEST_COSINE = 0.999999
LARGEST_MOVE = 1e-6  # of a unit vector's component, when its batch changes

Array = NDArray[Any]
Tower = Callable[[Array], Array]  # a batch of pixels or token ids to embeddings (batch, dimension)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How a text looks to the text tower: words between `start`, where there is one, and `end`."""

    size: int
    start: int | None
    end: int
    pad: int


def load_tower(path: Path) -> Tower:
    """The exported tower on onnxruntime's CPU provider with one thread.

    With a probe beside it, 8-bit products are summed as exactly as clipindex has them summed.
    """
    session = open_session(path)
    input_name = session.get_inputs()[0].name
    output_name = session.get_outputs()[0].name

    def run(batch: Array) -> Array:
        embeddings: Array = session.run([output_name], {input_name: batch})[0]
        return embeddings

    return run


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """See `load_tower`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    probe = path.with_name(PROBE)
    options = make_exact(options, probe if probe.exists() else None, load_session)
    return load_session(path, options)


def load_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Agreement:
    """How close two sets of embeddings (batch, dimension) are, each brought to length 1 first."""

    largest_difference: float
    smallest_cosine: float

    @classmethod
    def between(cls, first: Array, second: Array) -> Agreement:
        first, second = unit_length(first), unit_length(second)
        cosines = (first * second).sum(axis=1)
        return cls(float(np.abs(first - second).max()), float(cosines.min()))

    def __str__(self) -> str:
        return (
            f"max |diff| {self.largest_difference:.1e}, smallest cosine {self.smallest_cosine:.9f}"
        )


def check_vision(reference: Tower, path: Path, *, size: int) -> None:
    """Refuse unless the exported tower says what the reference says, whatever the batch."""
    tower = load_tower(path)
    pictures = trial_pictures(max(BATCH_SIZES), size=size)
    for count in BATCH_SIZES:
        batch = pictures[:count]
        check_agreement(f"{path.name}, batch {count}", reference(batch), tower(batch))
    check_independence(tower, pictures, path.name)


def check_text(
    reference: Tower, path: Path, vocabulary: Vocabulary, *, context_length: int, any_length: bool
) -> None:
    """Refuse unless the exported tower agrees, where texts may have any length at every one of
    them and whatever follows the text."""
    tower = load_tower(path)
    lengths = [length for length in TEXT_LENGTHS if length < context_length]
    for length in (*lengths, context_length) if any_length else (context_length,):
        texts = trial_texts(max(BATCH_SIZES), length, vocabulary)
        expected = reference(texts)
        for size in BATCH_SIZES if length == context_length else BATCH_SIZES[-1:]:
            what = f"{path.name}, batch {size}, {length} tokens"
            check_agreement(what, expected[:size], tower(texts[:size]))
        if any_length:
            ends = [list(text).index(vocabulary.end) + 1 for text in texts]
            cut = [tower(text[None, :end]) for text, end in zip(texts, ends, strict=True)]
            what = f"{path.name}, {length} tokens, padding cut off"
            check_agreement(what, expected, np.concatenate(cut))


def check_agreement(what: str, expected: Array, actual: Array) -> None:
    """Print how far the embeddings are from those expected, and refuse if it is too far."""
    if expected.shape != actual.shape:
        raise BundleRefused(f"{what}: shape {actual.shape}, expected {expected.shape}")
    agreement = Agreement.between(expected, actual)
    print(f"{what}: {agreement}")
    if not agreement.smallest_cosine >= SMALLEST_COSINE:  # written so that NaN is refused too
        raise BundleRefused(
            f"{what}: cosine {agreement.smallest_cosine:.9f} to the reference is below "
            f"{SMALLEST_COSINE}; nothing was written"
        )


def check_independence(
    tower: Tower,
    pictures: Array,
    name: str,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    largest_move: float = LARGEST_MOVE,
) -> None:
    """Refuse if a picture's vector depends on the pictures beside it or on its place among them."""
    alone = unit_length(np.concatenate([tower(picture[None]) for picture in pictures]))
    largest = 0.0
    forwards = np.arange(len(pictures))
    for order in (forwards, forwards[::-1]):
        for size in batch_sizes[1:]:
            for first in range(0, len(pictures), size):
                chosen = order[first : first + size]
                moved = np.abs(unit_length(tower(pictures[chosen])) - alone[chosen])
                largest = max(largest, float(moved.max()))
    print(f"{name}, a picture's vector in any batch: max |diff| {largest:.1e}")
    if not largest <= largest_move:
        raise BundleRefused(
            f"{name}: a picture's vector moves by {largest:.1e} with its batch, more than "
            f"{largest_move:.0e}; nothing was written"
        )


def trial_pictures(count: int, seed: int = 0, *, size: int) -> Array:
    """Pictures as hard as photographs: from flat to noisy, black and white among them.

    uint8 (count, size, size, 3).
    """
    random = np.random.default_rng(seed)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for number in range(count):
        cells = 2 ** (1 + number % 5)  # 2 to 32 coloured squares a side
        squares = random.integers(0, 256, (cells, cells, 3))
        side = -(-size // cells)
        picture = squares.repeat(side, axis=0).repeat(side, axis=1)[:size, :size]
        noise = random.normal(0, 2 * number, picture.shape)
        pictures[number] = np.clip(picture + noise, 0, 255)
    pictures[1:3] = np.array([0, 255], dtype=np.uint8)[:, None, None, None]
    return pictures


def trial_texts(count: int, length: int, vocabulary: Vocabulary, seed: int = 0) -> Array:
    """Texts of up to `length` tokens, padded behind their end: int64 (count, length)."""
    random = np.random.default_rng(seed)
    special = (vocabulary.start, vocabulary.end, vocabulary.pad)
    words = np.setdiff1d(
        np.arange(vocabulary.size), [token for token in special if token is not None]
    )
    texts = np.full((count, length), vocabulary.pad, dtype=np.int64)
    for number in range(count):
        # The first fills its row, so that even a batch of one reaches the full length.
        end = length - 1 if number == 0 else int(random.integers(1, length))
        texts[number, :end] = random.choice(words, end)
        texts[number, end] = vocabulary.end
        if vocabulary.start is not None:
            texts[number, 0] = vocabulary.start
    return texts


def unit_length(embeddings: Array) -> Array:
    """Each row divided by its length, in double precision so that the check adds no error."""
    exact = embeddings.astype(np.float64)
    unit: Array = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return unit
