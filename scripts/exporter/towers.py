"""Towers in the form that onnxruntime runs fastest.

A tower is built from the parts of a model and computes what that model computes. What differs is
the form, chosen by measuring on onnxruntime (one thread, ViT-B/32):

- pictures come in as uint8 (batch, height, width, colour): scaling to 0..1, mean and standard
  deviation are folded into the patch embedding and the position table;
- queries, keys and values come from one MatMul, attention is plain MatMul and Softmax
  (onnxruntime's fused Attention operators were slower);
- where one token stands for the picture, the last layer is computed for it alone: -6.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exporter.attention import AttentionPool, ClassTokenAttention, Perceptron, SelfAttention
from exporter.parts import AttentionPoolParts, LayerParts, TextParts, VisionParts


class PatchTower(nn.Module):
    """uint8 pixels (batch, size, size, 3) to states (batch, tokens, width), before the layers."""

    def __init__(self, parts: VisionParts, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = parts.size
        self.patch = parts.filters.shape[-1]
        self.grid = parts.size // self.patch
        self.prefix = len(parts.prefix)
        self.length = self.prefix + self.grid**2
        weight, positions = fold_pixel_scaling(parts, mean, std)
        self.embed_patches = PatchEmbedding(weight)
        self.positions = nn.Parameter(positions)
        self.norm_before = parts.norm_before
        self.norm_after = parts.norm_after
        self.projection = parts.projection

    def embed(self, pixels: Tensor) -> Tensor:
        states = self.embed_patches(self.cut_patches(pixels))  # (B, patches, width)
        if self.prefix:  # empty rows: these tokens are constants, and stand in the position table
            states = nn.functional.pad(states, (0, 0, self.prefix, 0))
        embedded: Tensor = self.norm_before(states + self.positions)
        return embedded

    def cut_patches(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) to (B, patches, patch * patch * 3), as uint8: a quarter of the bytes."""
        grid, patch = self.grid, self.patch
        if grid * patch < self.size:  # a convolution leaves such a rest out
            pixels = pixels[:, : grid * patch, : grid * patch]
        rows = pixels.reshape(-1, grid, patch, grid, patch, 3)
        return rows.permute(0, 1, 3, 2, 4, 5).reshape(-1, grid * grid, patch * patch * 3)


class VisionTower(PatchTower):
    """uint8 pixels (batch, size, size, 3) to image embeddings (batch, dimension), not normalised.

    The class token is the picture's.
    """

    def __init__(self, parts: VisionParts, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(parts, mean, std)
        *full, last = parts.layers
        self.layers = nn.ModuleList(Layer(layer, SelfAttention(layer.attention)) for layer in full)
        self.last_layer = ClassTokenLayer(last, ClassTokenAttention(last.attention))

    def forward(self, pixels: Tensor) -> Tensor:
        states = self.embed(pixels)
        for layer in self.layers:
            states = layer(states, self.length)
        class_token = self.last_layer(states, self.length).flatten(1)  # (B, width)
        embeddings: Tensor = self.projection(self.norm_after(class_token))
        return embeddings


class PooledVisionTower(PatchTower):
    """The same for SigLIP, where a learnt token reads what the last layer says of all patches."""

    def __init__(
        self,
        parts: VisionParts,
        pool: AttentionPoolParts,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(parts, mean, std)
        self.layers = nn.ModuleList(
            Layer(layer, SelfAttention(layer.attention)) for layer in parts.layers
        )
        self.pool = AttentionPool(pool)

    def forward(self, pixels: Tensor) -> Tensor:
        states = self.embed(pixels)
        for layer in self.layers:
            states = layer(states, self.length)
        pooled = self.pool(self.norm_after(states), self.length).flatten(1)  # (B, width)
        embeddings: Tensor = self.projection(pooled)
        return embeddings


def vision_tower(parts: VisionParts, mean: Sequence[float], std: Sequence[float]) -> PatchTower:
    """The tower of these parts, for pictures whose colours have this mean and deviation."""
    if parts.pool is None:
        return VisionTower(parts, mean, std)
    return PooledVisionTower(parts, parts.pool, mean, std)


class PatchEmbedding(nn.Linear):
    """uint8 patches (B, patches, patch * patch * 3) to states (B, patches, width)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(*weight.shape, bias=False)
        self.weight = nn.Parameter(weight.T)

    def forward(self, patches: Tensor) -> Tensor:
        return super().forward(patches.float())


class TextTower(nn.Module):
    """Token ids (batch, sequence) to text embeddings (batch, dimension), not normalised."""

    causal_mask: Tensor

    def __init__(self, parts: TextParts) -> None:
        super().__init__()
        self.tokens = parts.tokens
        self.positions = nn.Parameter(parts.positions.detach().clone())
        self.width = self.positions.shape[1]
        self.layers = nn.ModuleList(
            Layer(layer, SelfAttention(layer.attention)) for layer in parts.layers
        )
        self.norm_after = parts.norm_after
        self.projection = parts.projection
        self.pool_at_end = parts.pool == "first end"
        self.end_of_text = parts.end_of_text
        self.causal = parts.causal
        if self.causal:
            context = len(self.positions)
            # Added to the scores; finite as in transformers, softmax makes 0 of it all the same.
            floor = torch.full((context, context), torch.finfo(torch.float32).min)
            self.register_buffer("causal_mask", floor.triu(1))

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[1]
        states = self.tokens(input_ids) + self.positions[:length]  # (B, S, width)
        mask = self.causal_mask[:length, :length] if self.causal else None
        for layer in self.layers:
            states = layer(states, length, mask)
        embeddings: Tensor = self.projection(self.norm_after(self.pool(states, input_ids)))
        return embeddings

    def pool(self, states: Tensor, input_ids: Tensor) -> Tensor:
        """The state at the first end-of-text token (argmax finds the first of equals), or at the
        last position: (B, width).

        Behind the end of a text stands padding; a causal tower cannot see it.
        """
        if not self.pool_at_end:
            return states[:, -1]
        first_end = (input_ids == self.end_of_text).int().argmax(dim=1)  # (B,)
        rows = first_end[:, None, None].expand(-1, 1, self.width)
        return states.gather(1, rows).flatten(1)


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, parts: LayerParts, attention: nn.Module) -> None:
        super().__init__()
        self.norm_attention = parts.norm_attention
        self.attention = attention
        self.norm_perceptron = parts.norm_perceptron
        self.perceptron = Perceptron(parts.perceptron)

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        states = states + self.attention(self.norm_attention(states), length, mask)
        return states + self.perceptron(self.norm_perceptron(states))


class ClassTokenLayer(Layer):
    """The last vision layer: all tokens are looked at, the class token (B, 1, width) leaves."""

    def forward(self, states: Tensor, length: int, mask: Tensor | None = None) -> Tensor:
        token = states[:, :1] + self.attention(self.norm_attention(states), length, mask)
        return token + self.perceptron(self.norm_perceptron(token))


def fold_pixel_scaling(
    parts: VisionParts, mean: Sequence[float], std: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The patch embedding for raw uint8 pixels, and the position table that goes with it.

    w * (x / 255 - mean) / std  =  (w / (255 * std)) * x  -  w * mean / std: the first factor is the
    new weight (patch * patch * 3, width), the rest a constant of every patch. In double precision,
    since the sums run over three thousand products.
    """
    filters = parts.filters.detach().double()  # (width, 3, patch, patch)
    means, stds = (torch.tensor(v, dtype=torch.double)[:, None, None] for v in (mean, std))
    weight = (filters / (255 * stds)).permute(2, 3, 1, 0).flatten(0, 2)
    offset = (filters * means / stds).sum(dim=(1, 2, 3))  # (width,)
    if parts.filters_bias is not None:
        offset -= parts.filters_bias.detach().double()
    patches = parts.positions.detach().double() - offset  # (patches, width)
    positions = torch.cat([parts.prefix.detach().double(), patches])
    return weight.float(), positions.float()
