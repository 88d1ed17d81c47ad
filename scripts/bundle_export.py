"""What every script that makes a model bundle needs: export a tower, check it, write the manifest.

A bundle is a folder with `vision.onnx`, `text.onnx`, `tokenizer.json` and `model.json`. The towers'
interface is fixed: `pixels` uint8 (batch, 224, 224, 3) to `image_embeds`, `input_ids` int64 (batch,
sequence) to `text_embeds`, both float32 (batch, 512) and not normalised.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clipindex.model.bundle import MANIFEST, PROBE
from clipindex.model.imports import guarded_import
from clipindex.model.manifest import SCHEMA, Manifest
from clipindex.model.saturation import make_exact

with guarded_import():
    import onnxruntime

OPSET = 17  # the first with LayerNormalization as one operator
IMAGE_SIZE = 224
DIMENSION = 512
PAD_ID = 0

BATCH_SIZES = (1, 2, 7, 25)
TEXT_LENGTHS = (2, 3, 8, 31)  # and the full context
SMALLEST_COSINE = 0.999999
LARGEST_MOVE = 1e-6  # of a unit vector's component, when its batch changes

# Protobuf ends at 2 GB and is read whole; weights in a file of their own are mapped into memory.
EXTERNAL_DATA_FROM_BYTES = 64 * 1024 * 1024

Array = NDArray[Any]
Tower = Callable[[Array], Array]  # a batch of pixels or token ids to embeddings (batch, 512)


class BundleRefused(Exception):
    """The bundle cannot be made, or must not be used; the message says why."""


@contextmanager
def finished_or_nothing(output: Path) -> Iterator[Path]:
    """A hidden folder beside `output` that takes its name only if the block succeeds."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BundleRefused(f"{output} exists and is not an empty folder; name another --output")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        if output.exists():
            output.rmdir()
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def export_tower(
    tower: nn.Module,
    example: Tensor,
    path: Path,
    *,
    input_name: str,
    output_name: str,
    dynamic_axes: Mapping[int, str],
    fold_constants: bool = True,
) -> None:
    """Write the tower as ONNX; `dynamic_axes` names the axes of its input that may vary.

    `fold_constants` must be off for weights stored as int8: folding widens them in the file.

    The older, tracing exporter is used on purpose: it keeps the graph in the form in which the
    tower was written, and needs nothing beside torch and onnx.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
        torch.onnx.export(
            tower.eval(),
            (example,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=fold_constants,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: dict(dynamic_axes), output_name: {0: "batch"}},
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    weights = path.with_name(f"{path.name}.data")
    external = len(buffer.getvalue()) >= EXTERNAL_DATA_FROM_BYTES
    onnx.save_model(model, path, save_as_external_data=external, location=weights.name)
    if external:  # onnx makes this file readable for its owner alone
        weights.chmod(path.stat().st_mode)
    onnx.checker.check_model(path)


def export_vision(tower: nn.Module, path: Path, *, fold_constants: bool = True) -> None:
    """`pixels` to `image_embeds`."""
    export_tower(
        tower,
        torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, 3, dtype=torch.uint8),
        path,
        input_name="pixels",
        output_name="image_embeds",
        dynamic_axes={0: "batch"},
        fold_constants=fold_constants,
    )


def export_text(tower: nn.Module, path: Path, *, fold_constants: bool = True) -> None:
    """`input_ids` to `text_embeds`."""
    export_tower(
        tower,
        torch.zeros(2, 8, dtype=torch.int64),
        path,
        input_name="input_ids",
        output_name="text_embeds",
        dynamic_axes={0: "batch", 1: "sequence"},
        fold_constants=fold_constants,
    )


def load_tower(path: Path) -> Tower:
    """The exported tower on onnxruntime's CPU provider with one thread.

    With a probe beside it, 8-bit products are summed as exactly as clipindex has them summed.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    probe = path.with_name(PROBE)
    options = make_exact(options, probe if probe.exists() else None, load_session)
    session = load_session(path, options)
    input_name = session.get_inputs()[0].name
    output_name = session.get_outputs()[0].name

    def run(batch: Array) -> Array:
        embeddings: Array = session.run([output_name], {input_name: batch})[0]
        return embeddings

    return run


def load_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Agreement:
    """How close two sets of embeddings (batch, 512) are, each brought to length 1 first."""

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


def check_vision(reference: Tower, path: Path) -> None:
    """Refuse unless the exported tower says what the reference says, whatever the batch."""
    tower = load_tower(path)
    pictures = trial_pictures(max(BATCH_SIZES))
    for size in BATCH_SIZES:
        batch = pictures[:size]
        check_agreement(f"{path.name}, batch {size}", reference(batch), tower(batch))
    check_independence(tower, pictures, path.name)


def check_text(reference: Tower, path: Path, *, context_length: int, end_of_text: int) -> None:
    """Refuse unless the exported tower agrees at every length, and whatever follows the text."""
    tower = load_tower(path)
    for length in (*TEXT_LENGTHS, context_length):
        texts = trial_texts(max(BATCH_SIZES), length, end_of_text)
        expected = reference(texts)
        for size in BATCH_SIZES if length == context_length else BATCH_SIZES[-1:]:
            what = f"{path.name}, batch {size}, {length} tokens"
            check_agreement(what, expected[:size], tower(texts[:size]))
        cut_alone = [tower(text[None, : list(text).index(end_of_text) + 1]) for text in texts]
        what = f"{path.name}, {length} tokens, padding cut off"
        check_agreement(what, expected, np.concatenate(cut_alone))


def check_agreement(what: str, expected: Array, actual: Array) -> None:
    """Print how far the embeddings are from those expected, and refuse if it is too far."""
    if expected.shape != actual.shape or actual.shape[1:] != (DIMENSION,):
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


def trial_pictures(count: int, seed: int = 0) -> Array:
    """Pictures as hard as photographs: from flat to noisy, black and white among them.

    uint8 (count, 224, 224, 3).
    """
    random = np.random.default_rng(seed)
    pictures = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for number in range(count):
        cells = 2 ** (1 + number % 5)  # 2 to 32 coloured squares a side
        squares = random.integers(0, 256, (cells, cells, 3))
        side = IMAGE_SIZE // cells
        picture = squares.repeat(side, axis=0).repeat(side, axis=1)
        noise = random.normal(0, 2 * number, picture.shape)
        pictures[number] = np.clip(picture + noise, 0, 255)
    pictures[1:3] = np.array([0, 255], dtype=np.uint8)[:, None, None, None]
    return pictures


def trial_texts(count: int, length: int, end_of_text: int, seed: int = 0) -> Array:
    """Texts of up to `length` tokens, padded with 0 behind their end: int64 (count, length).

    CLIP's vocabulary ends with start-of-text and end-of-text, all below are words.
    """
    random = np.random.default_rng(seed)
    texts = np.full((count, length), PAD_ID, dtype=np.int64)
    for number in range(count):
        # The first fills its row, so that even a batch of one reaches the full length.
        end = length - 1 if number == 0 else int(random.integers(1, length))
        texts[number, 0] = end_of_text - 1
        texts[number, 1:end] = random.integers(0, end_of_text - 1, end - 1)
        texts[number, end] = end_of_text
    return texts


def unit_length(embeddings: Array) -> Array:
    """Each row divided by its length, in double precision so that the check adds no error."""
    exact = embeddings.astype(np.float64)
    unit: Array = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return unit


def write_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer.json with truncation and padding off: clipindex cuts and pads itself."""
    tokenizer = json.loads(source.read_text(encoding="utf-8"))
    tokenizer["truncation"] = None
    tokenizer["padding"] = None
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    target.write_text(compact, encoding="utf-8")


def write_manifest(folder: Path, fields: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write model.json, last of all: its presence says that the other files are complete.

    `fields` are those of Manifest but `schema` and `files`, as JSON has them.
    """
    described = {name: describe_file(folder / name) for name in files}
    manifest = Manifest.from_fields({"schema": SCHEMA, **fields, "files": described})
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def describe_file(path: Path) -> dict[str, int | str]:
    """Size and SHA-256, by which a damaged or exchanged file is known."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
