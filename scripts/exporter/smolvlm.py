"""SmolVLM, SmolVLM2 and Idefics3: vision-language models whose hidden states become vectors.

A picture becomes a fixed number of states between two marks, as the model's processor sets them for
a picture that is not cut into tiles; a text follows it, or stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import ImageSpec, MergedSpec, Pooling, TextSpec
from exporter import preprocessors
from exporter.attention import SelfAttention
from exporter.bundle import BundleRefused
from exporter.clip import layer_parts
from exporter.decoder import MOST_LAYERS, Decoder
from exporter.merged import MergedSide
from exporter.parity import Array
from exporter.parts import VisionParts
from exporter.source import Checkpoint, Source
from exporter.tokens import library_tokenizer, token_id
from exporter.towers import Layer, PatchTower

with guarded_import():
    from transformers import AutoModel

MAX_LENGTH = 512
BEFORE = ("<fake_token_around_image>", "<global-img>")
BEHIND = ("<fake_token_around_image>",)


def read(checkpoint: Checkpoint, licence: str, pooling: Pooling = "mean") -> Source:
    """The model in a folder that save_pretrained of its class wrote."""
    tokenizer = checkpoint.require("tokenizer.json")
    model = AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    config, decoder = model.config, model.text_model
    if decoder.config.model_type != "llama":
        raise BundleRefused(f"a decoder of the kind {decoder.config.model_type!r}; only llama")
    frame = [[token_id(tokenizer, token) for token in tokens] for tokens in (BEFORE, BEHIND)]
    spec = image_spec(checkpoint, config.vision_config.image_size)
    with torch.no_grad():
        pictures = PictureStates(model, vision_parts(model), spec, frame)
    length = min(MAX_LENGTH, decoder.config.max_position_embeddings)
    pad = decoder.config.pad_token_id or 0
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=f"{config.model_type}-{decoder.config.hidden_size}"
        f"x{decoder.config.num_hidden_layers}",
        dimension=decoder.config.hidden_size,
        vision=None,
        text=None,
        merged=MergedSide(
            pictures=pictures,
            words=decoder.embed_tokens,
            decoder=Decoder(decoder, length),
            reference=Reference(model, frame, pictures.count),
            image=spec,
            text=TextSpec(context_length=length, pad_id=pad, pad="longest", cleaning="none"),
            spec=MergedSpec(
                pooling=pooling,
                max_length=length,
                picture_length=pictures.count + sum(map(len, frame)),
            ),
            tokenizer=tokenizer,
            tokenize=library_tokenizer(checkpoint, 64),
        ),
    )


def image_spec(checkpoint: Checkpoint, size: int) -> ImageSpec:
    """The whole picture, squashed to the model's square, as its processor makes the one that it
    sets beside the tiles."""
    stated = checkpoint.json("preprocessor_config.json")
    longest = stated.get("max_image_size", {}).get("longest_edge", size)
    square = {"size": {"height": longest, "width": longest}, "do_center_crop": False}
    defaults = {**preprocessors.SIGLIP_DEFAULTS, "resample": 1}
    kept = {
        name: value
        for name, value in stated.items()
        if name in ("resample", "image_mean", "image_std", "rescale_factor", "do_rescale")
    }
    return preprocessors.from_transformers({**kept, **square}, defaults, model_size=size)


def vision_parts(model: Any) -> VisionParts:
    """The position table is what the model adds to an empty picture."""
    vision = model.vision_model
    embeddings, size = vision.embeddings, vision.config.image_size
    side = size // embeddings.patch_size
    width = vision.config.hidden_size
    mask = torch.ones(1, side, side, dtype=torch.bool)
    added = embeddings(torch.zeros(1, 3, size, size), patch_attention_mask=mask)[0]
    bias = embeddings.patch_embedding.bias
    return VisionParts(
        size=size,
        filters=embeddings.patch_embedding.weight,
        filters_bias=bias,
        prefix=torch.zeros(0, width),
        positions=added if bias is None else added - bias,
        norm_before=nn.Identity(),
        layers=[layer_parts(layer) for layer in vision.encoder.layers],
        norm_after=vision.post_layernorm,
        pool=None,
        projection=nn.Identity(),
    )


class PictureStates(PatchTower):
    """uint8 pixels (batch, size, size, 3) to what the decoder reads: (batch, tokens, width)."""

    marked: Tensor

    def __init__(
        self, model: Any, parts: VisionParts, spec: ImageSpec, frame: Sequence[Sequence[int]]
    ) -> None:
        super().__init__(parts, spec.mean, spec.std)
        self.layers = nn.ModuleList(
            Layer(layer, SelfAttention(layer.attention)) for layer in parts.layers
        )
        self.scale = model.connector.scale_factor
        self.connect = model.connector.modality_projection.proj
        self.count = (self.grid // self.scale) ** 2  # tokens of a picture, without the marks
        table = model.text_model.embed_tokens.weight.detach()
        before, behind = (table[list(ids)] for ids in frame)
        # One table to which the picture's states are added: a constant, whatever the batch.
        between = torch.zeros(self.count, table.shape[1])
        self.register_buffer("marked", torch.cat([before, between, behind]))
        self.around = (0, 0, len(before), len(behind))

    def forward(self, pixels: Tensor) -> Tensor:
        states = self.embed(pixels)
        for layer in self.layers:
            states = layer(states, self.length)
        tokens = self.connect(self.join_neighbours(self.norm_after(states)))
        framed: Tensor = nn.functional.pad(tokens, self.around) + self.marked
        return framed

    def join_neighbours(self, states: Tensor) -> Tensor:
        """(B, grid * grid, width) to (B, count, scale * scale * width): squares of patches, side
        by side."""
        grid, scale = self.grid, self.scale
        few, width = grid // scale, states.shape[2]
        squares = states.reshape(-1, few, scale, few, scale, width)
        return squares.permute(0, 1, 3, 2, 4, 5).reshape(-1, few * few, scale * scale * width)


class Reference:
    """The model itself, on pictures and ids that its own processor would have made."""

    def __init__(self, model: Any, frame: Sequence[Sequence[int]], count: int) -> None:
        self.model = model
        before, behind = frame
        self.picture = [*before, *[model.config.image_token_id] * count, *behind]

    def __call__(self, pictures: Array | None, ids: Array, mask: Array) -> dict[str, Array]:
        """`pictures` float32 (B, 3, size, size), scaled; ids and mask (B, S) of the texts."""
        given: dict[str, Any] = {}
        if pictures is not None:
            rows = np.tile(np.array(self.picture), (len(pictures), 1))
            ids = np.concatenate([rows, ids], axis=1)
            mask = np.concatenate([np.ones_like(rows), mask], axis=1)
            given["pixel_values"] = torch.from_numpy(pictures)[:, None]
        with torch.no_grad():
            made = self.model(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask),
                output_hidden_states=True,
                use_cache=False,
                **given,
            )
        states = made.last_hidden_state.numpy()
        rows, last = np.arange(len(ids)), mask.sum(1) - 1
        several = made.hidden_states[1:][-MOST_LAYERS:-1]
        layers = [*(layer.numpy() for layer in several), states]
        weights = mask[:, :, None]
        return {
            "cls": states[rows, last],
            "mean": (states * weights).sum(1) / weights.sum(1),
            "multi_layer": np.mean([layer[rows, last] for layer in layers], axis=0),
            "last_layer": states,
        }
