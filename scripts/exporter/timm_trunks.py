"""Vision towers that open_clip takes from timm: SigLIP's transformer, MobileCLIP's convolutions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import
from exporter.parts import (
    AttentionParts,
    AttentionPoolParts,
    LayerParts,
    PerceptronParts,
    VisionParts,
    activation_of,
    linear,
)

with guarded_import():
    from timm.utils.model import reparameterize_model


class ScaledPictures(nn.Module):
    """Any tower for float pictures, with scaling, mean and deviation before it.

    MobileCLIP trains branches side by side and computes their sum: they are made one.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, visual: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.visual = reparameterize_model(copy.deepcopy(visual).eval())
        means, stds = (torch.tensor(v, dtype=torch.double)[:, None, None] for v in (mean, std))
        self.register_buffer("factor", (1 / (255 * stds)).float())
        self.register_buffer("offset", (means / stds).float())

    def forward(self, pixels: Tensor) -> Tensor:
        pictures = pixels.permute(0, 3, 1, 2).float() * self.factor - self.offset
        embeddings: Tensor = self.visual(pictures)
        return embeddings


def siglip_parts(visual: Any) -> VisionParts | None:
    """The parts of SigLIP's transformer; None for any other tower of timm."""
    trunk = visual.trunk
    pool: Any = getattr(trunk, "attn_pool", None)
    plain = (
        type(trunk).__name__ == "VisionTransformer"
        and type(pool).__name__ == "AttentionPoolLatent"
        and trunk.cls_token is None
        and trunk.reg_token is None
        and all(map(is_plain, trunk.blocks))
        and pool.pos_embed is None
        and pool.mlp is not None
        and isinstance(pool.q_norm, nn.Identity)
        and isinstance(pool.q, nn.Linear)
        and all(isinstance(part, nn.Identity) for part in (trunk.fc_norm, trunk.head))
        and not len(visual.head)
    )
    if not plain:
        return None
    filters = trunk.patch_embed.proj
    return VisionParts(
        size=visual.image_size[0],
        filters=filters.weight,
        filters_bias=filters.bias,
        prefix=torch.zeros(0, trunk.embed_dim),
        positions=trunk.pos_embed[0],
        norm_before=trunk.norm_pre,
        layers=[layer_parts(block) for block in trunk.blocks],
        norm_after=trunk.norm,
        pool=AttentionPoolParts(
            probe=pool.latent,
            attention=pool_attention(pool),
            norm=pool.norm,
            perceptron=perceptron_parts(pool.mlp),
        ),
        projection=nn.Identity(),
    )


def is_plain(block: Any) -> bool:
    """Whether a block has nothing beside two norms, attention and a perceptron."""
    extras = (block.ls1, block.ls2, block.attn.q_norm, block.attn.norm, block.mlp.norm)
    return (
        type(block).__name__ == "Block"
        and getattr(block.attn, "gate", None) is None
        and all(isinstance(extra, nn.Identity) for extra in extras)
    )


def layer_parts(block: Any) -> LayerParts:
    weights = block.attn.qkv.weight.chunk(3)
    biases = (None,) * 3 if block.attn.qkv.bias is None else block.attn.qkv.bias.chunk(3)
    query, key, value = (linear(*pair) for pair in zip(weights, biases, strict=True))
    return LayerParts(
        norm_attention=block.norm1,
        attention=AttentionParts(
            heads=block.attn.num_heads, query=query, key=key, value=value, output=block.attn.proj
        ),
        norm_perceptron=block.norm2,
        perceptron=perceptron_parts(block.mlp),
    )


def pool_attention(pool: Any) -> AttentionParts:
    weights = pool.kv.weight.chunk(2)
    biases = (None,) * 2 if pool.kv.bias is None else pool.kv.bias.chunk(2)
    key, value = (linear(*pair) for pair in zip(weights, biases, strict=True))
    return AttentionParts(
        heads=pool.num_heads, query=pool.q, key=key, value=value, output=pool.proj
    )


def perceptron_parts(mlp: Any) -> PerceptronParts:
    return PerceptronParts(widen=mlp.fc1, activation=activation_of(mlp.act), narrow=mlp.fc2)
