"""DINOv2, with registers or without: a picture model that knows no texts."""

from __future__ import annotations

from typing import Any

import torch

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import ImageSpec
from exporter import preprocessors
from exporter.bundle import BundleRefused
from exporter.parts import AttentionParts, LayerParts, PerceptronParts, VisionParts, scaled
from exporter.source import Checkpoint, Source, VisionSide, pooled, reference_of_pictures
from exporter.towers import vision_tower

with guarded_import():
    from transformers import AutoModel


def read(checkpoint: Checkpoint, licence: str) -> Source:
    """The model in a folder that save_pretrained of its class wrote."""
    model = AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    config = model.config
    if config.use_swiglu_ffn:
        raise BundleRefused("a DINOv2 with SwiGLU layers (the giant one) is not supported")
    stated = checkpoint.json("preprocessor_config.json")
    if not stated:
        raise BundleRefused(f"{checkpoint.name} has no preprocessor_config.json")
    spec = preprocessors.from_transformers(stated, {}, model_size=None)
    if spec.size % config.patch_size:
        raise BundleRefused(f"pictures of {spec.size} pixels do not divide into patches")
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=f"dinov2-{config.hidden_size}x{config.num_hidden_layers}-{config.patch_size}",
        dimension=config.hidden_size,
        vision=vision_side(model, spec),
        text=None,
    )


def vision_side(model: Any, spec: ImageSpec) -> VisionSide:
    """The class token behind the last norm, transformers' `pooler_output`."""
    with torch.no_grad():
        parts = vision_parts(model, spec.size)
    return VisionSide(
        tower=vision_tower(parts, spec.mean, spec.std),
        reference=reference_of_pictures(lambda pixels: pooled(model(pixels)), spec.mean, spec.std),
        spec=spec,
    )


def vision_parts(model: Any, size: int) -> VisionParts:
    """The position table, made for larger pictures, is brought to `size` as the model does it."""
    embeddings, width = model.embeddings, model.config.hidden_size
    patches = (size // model.config.patch_size) ** 2
    table = embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + patches, width), size, size)[0]
    prefix = embeddings.cls_token[0] + table[:1]
    registers = getattr(embeddings, "register_tokens", None)
    if registers is not None:  # which have no position
        prefix = torch.cat([prefix, registers[0]])
    projection = embeddings.patch_embeddings.projection
    return VisionParts(
        size=size,
        filters=projection.weight,
        filters_bias=projection.bias,
        prefix=prefix,
        positions=table[1:],
        norm_before=torch.nn.Identity(),
        layers=[layer_parts(layer) for layer in model.encoder.layer],
        norm_after=model.layernorm,
        pool=None,
        projection=torch.nn.Identity(),
    )


def layer_parts(layer: Any) -> LayerParts:
    """The scale of each branch is folded into the branch's last map."""
    attention, perceptron = layer.attention, layer.mlp
    return LayerParts(
        norm_attention=layer.norm1,
        attention=AttentionParts(
            heads=attention.num_attention_heads,
            query=attention.q_proj,
            key=attention.k_proj,
            value=attention.v_proj,
            output=scaled(attention.o_proj, layer.layer_scale1.lambda1),
        ),
        norm_perceptron=layer.norm2,
        perceptron=PerceptronParts(
            widen=perceptron.fc1,
            activation=perceptron.config.hidden_act,
            narrow=scaled(perceptron.fc2, layer.layer_scale2.lambda1),
        ),
    )
