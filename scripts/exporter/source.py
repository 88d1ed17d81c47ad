"""What a checkpoint gives to its bundle, and where the checkpoint lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import ImageSpec, Mate, TextSpec
from exporter.bundle import BundleRefused
from exporter.parity import Array, Tower, Vocabulary

if TYPE_CHECKING:
    from exporter.merged import MergedSide

with guarded_import():
    import huggingface_hub

# Of a repository: everything that describes a model, and its weights in the first form there is.
DESCRIPTIONS = ("*.json", "*.txt", "*.model")
WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True, kw_only=True)
class VisionSide:
    """A vision tower to export, and what the checkpoint's own library says of the same pixels."""

    tower: nn.Module  # uint8 (batch, size, size, 3) to (batch, dimension)
    reference: Tower
    spec: ImageSpec


@dataclass(frozen=True, kw_only=True)
class TextSide:
    """A text tower to export, its tokenizer, and what the library says of both."""

    tower: nn.Module  # token ids (batch, sequence) to (batch, dimension)
    reference: Tower
    spec: TextSpec
    vocabulary: Vocabulary
    tokenizer: Path  # a tokenizer.json
    tokenize: Callable[[list[str]], Array] | None = None  # texts to padded ids, as the library does


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model with everything that its bundle says about it; a side that it lacks is None."""

    name: str
    revision: str
    licence: str
    origin: str
    architecture: str
    dimension: int
    vision: VisionSide | None
    text: TextSide | None
    mate: Mate | None = None  # the vision tower that a lone text tower was trained for
    merged: MergedSide | None = None  # in place of both sides: a vision-language model


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in a folder, and how its bundle shall name it."""

    folder: Path
    name: str
    revision: str
    origin: str

    def json(self, name: str) -> dict[str, Any]:
        """One of its files, {} where it has none. Raises BundleRefused for a damaged one."""
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BundleRefused(f"{name} of the checkpoint is damaged: {error}") from error
        if not isinstance(fields, dict):
            raise BundleRefused(f"{name} of the checkpoint is not an object")
        return fields

    def require(self, name: str) -> Path:
        """One of its files. Raises BundleRefused where it has none."""
        if not (self.folder / name).exists():
            raise BundleRefused(f"{self.name} has no {name}")
        return self.folder / name


def find_checkpoint(name: str, revision: str | None) -> Checkpoint:
    """A folder, or a repository of the Hugging Face hub, which is downloaded into its cache.

    `revision` is a branch, tag or commit; of a folder it is a label.
    """
    if Path(name).is_dir():
        folder = Path(name).resolve()
        return Checkpoint(
            folder=folder,
            name=folder.name,
            revision=revision or "unstated",
            origin=f"local folder {folder.name}",
        )
    for weights in WEIGHTS:
        folder = Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=[*DESCRIPTIONS, weights]
            )
        )
        if any(folder.rglob(weights)):
            break
    return Checkpoint(
        folder=folder,
        name=name.rpartition("/")[2],
        revision=folder.name,  # the commit
        origin=f"Hugging Face {name}",
    )


def reference_of_pictures(
    run: Callable[[Tensor], Tensor], mean: Sequence[float], std: Sequence[float]
) -> Tower:
    """A library's vision tower on pixels as its own processor hands them over: scaled, as
    (batch, 3, size, size)."""

    def see(pixels: Array) -> Array:
        with torch.no_grad():
            batch = torch.from_numpy(scaled_pictures(pixels, mean, std))
            embeddings: Array = run(batch).numpy()
        return embeddings

    return see


def scaled_pictures(pixels: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """uint8 (batch, size, size, 3) to float32 (batch, 3, size, size)."""
    scaled = (pixels / np.float32(255) - np.array(mean)) / np.array(std)
    return np.ascontiguousarray(scaled.astype(np.float32).transpose(0, 3, 1, 2))


def reference_of_texts(run: Callable[[Tensor], Tensor]) -> Tower:
    """A library's text tower on token ids (batch, sequence)."""

    def read(input_ids: Array) -> Array:
        with torch.no_grad():
            embeddings: Array = run(torch.from_numpy(input_ids)).numpy()
        return embeddings

    return read


def pooled(features: Any) -> Tensor:
    """The embeddings that get_image_features and get_text_features of transformers return; since
    its version 5 inside an object."""
    embeddings: Tensor = getattr(features, "pooler_output", features)
    return embeddings
