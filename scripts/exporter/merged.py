"""The bundle of a vision-language model: three graphs, and their parity with the model itself.

`vision.onnx`: `pixels` to `picture_states`; `text.onnx`: `input_ids` to `word_states`;
`decoder.onnx`: `states` and `mask` to the four kinds of embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clipindex.model.manifest import ImageSpec, MergedSpec, TextSpec
from clipindex.model.text import TextTokenizer
from exporter.bundle import BundleRefused, export_graph, write_tokenizer
from exporter.parity import Array, check_agreement, open_session, trial_pictures
from exporter.source import scaled_pictures
from exporter.tokens import SAMPLES

VISION_INPUT = "pixels"
OUTPUTS = ("cls", "mean", "multi_layer", "last_layer")
LONGEST_SAMPLE = 60  # tokens of a text that is compared with the library's


@dataclass(frozen=True, kw_only=True)
class MergedSide:
    """What is exported of a vision-language model, and the model's own answer."""

    pictures: nn.Module  # uint8 (batch, size, size, 3) to (batch, picture tokens, width)
    words: nn.Embedding
    decoder: nn.Module
    reference: Callable[[Array | None, Array, Array], dict[str, Array]]
    image: ImageSpec
    text: TextSpec
    spec: MergedSpec
    tokenizer: Path
    tokenize: Callable[[list[str]], Array]


class Words(nn.Module):
    """Token ids (batch, sequence) to states (batch, sequence, width)."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self.table(input_ids)
        return states


def write_merged(side: MergedSide, folder: Path) -> None:
    """Write the graphs and the tokenizer. Raises BundleRefused unless they say what the model and
    its tokenizer say."""
    size, width = side.image.size, side.words.embedding_dim
    both = {0: "batch", 1: "sequence"}
    export_graph(
        side.pictures,
        {VISION_INPUT: torch.zeros(2, size, size, 3, dtype=torch.uint8)},
        folder / "vision.onnx",
        output_names=["picture_states"],
        dynamic_axes={VISION_INPUT: {0: "batch"}, "picture_states": {0: "batch"}},
    )
    export_graph(
        Words(side.words),
        {"input_ids": torch.zeros(2, 3, dtype=torch.int64)},
        folder / "text.onnx",
        output_names=["word_states"],
        dynamic_axes={"input_ids": both, "word_states": both},
    )
    pooled = {name: {0: "batch"} for name in OUTPUTS[:3]}
    export_graph(
        side.decoder,
        {"states": torch.zeros(2, 3, width), "mask": torch.ones(2, 3, dtype=torch.int64)},
        folder / "decoder.onnx",
        output_names=OUTPUTS,
        dynamic_axes={"states": both, "mask": both, **pooled, "last_layer": both},
    )
    write_tokenizer(side.tokenizer, folder / "tokenizer.json")
    check_samples(side, folder / "tokenizer.json")
    check_merged(side, folder)


def check_samples(side: MergedSide, path: Path) -> None:
    """Refuse unless every sample gets the library's ids."""
    ours = TextTokenizer(path, side.text)
    texts = [text for text in SAMPLES if len(ours.encode(text).ids) < LONGEST_SAMPLE]
    for text, row in zip(texts, side.tokenize(texts), strict=True):
        ids = ours.encode(text).ids
        if list(map(int, row))[: len(ids)] != ids:
            raise BundleRefused(f"the text {text[:40]!r} becomes other tokens than in the library")


def check_merged(side: MergedSide, folder: Path) -> None:
    """Refuse unless texts, pictures, and pictures with texts get the model's own embeddings, alone
    and beside longer ones."""
    sessions = {path.stem: open_session(path) for path in folder.glob("*.onnx")}
    pixels = trial_pictures(7, seed=3, size=side.image.size)
    ids, mask = trial_sequences(side, 7, 12)
    nothing = np.zeros((7, 0), dtype=np.int64)
    cases = {
        "texts": (None, ids, mask),
        "pictures": (pixels, nothing, nothing),
        "pictures with texts": (pixels, ids, mask),
    }
    for what, (seen, tokens, kept) in cases.items():
        pictures = None if seen is None else scaled_pictures(seen, side.image.mean, side.image.std)
        expected = side.reference(pictures, tokens, kept)
        parts, masks = [], []
        if seen is not None:
            parts.append(sessions["vision"].run(None, {VISION_INPUT: seen})[0])
            masks.append(np.ones(parts[-1].shape[:2], dtype=np.int64))
        if tokens.shape[1]:
            parts.append(sessions["text"].run(None, {"input_ids": tokens})[0])
            masks.append(kept)
        whole = {"states": np.concatenate(parts, 1), "mask": np.concatenate(masks, 1)}
        together = dict(zip(OUTPUTS, sessions["decoder"].run(list(OUTPUTS), whole), strict=True))
        real = whole["mask"].astype(bool)
        for name in OUTPUTS:
            pairs = expected[name], together[name]
            if name == "last_layer":
                pairs = expected[name][real], together[name][real]
            check_agreement(f"{name} of {what}", *pairs)
        for row in range(len(pixels)):
            length = int(real[row].sum())
            single = {name: value[row : row + 1, :length] for name, value in whole.items()}
            alone = sessions["decoder"].run(list(OUTPUTS[:3]), single)
            for name, one in zip(OUTPUTS, alone, strict=False):
                check_agreement(f"{name} of {what}, alone", expected[name][row : row + 1], one)


def trial_sequences(side: MergedSide, count: int, length: int) -> tuple[Array, Array]:
    """Ids of texts of 1 to `length` tokens, and their mask: two int64 (count, length)."""
    random = np.random.default_rng(5)
    known = json.loads(side.tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    size = min(len(known), side.words.num_embeddings)
    ends = np.array([length, 1, *random.integers(1, length, count - 2)])
    mask = (np.arange(length)[None] < ends[:, None]).astype(np.int64)
    ids = np.where(mask == 1, random.integers(0, size, (count, length)), side.text.pad_id)
    return ids, mask
