"""CLIP with random weights that behaves: a stand-in where the true weights must not be needed.

Freshly initialised transformers are nearly blind: every picture gets almost the same vector. Here
weights are scaled so that activations stay alive through all layers and different pictures get
clearly different vectors, while a picture that changes by a grey level keeps its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clipindex.model.imports import guarded_import

with guarded_import():
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.modeling_clip import CLIPEncoder

VOCABULARY = 49_408
CONTEXT = 77
START_OF_TEXT, END_OF_TEXT = 49_406, 49_407
POOLED_TOKEN = 0.1  # quiet, so that what it reads, not what it is, makes the embedding
OUTLIER_CHANNELS = 1 / 128  # trained towers have a few channels far louder than the rest


def vit_b_32() -> CLIPConfig:
    """The full-size architecture of OpenAI's ViT-B/32."""
    return clip_config(
        vision={"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        text={"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
    )


def tiny() -> CLIPConfig:
    """The same interface in under 4 MB: the vocabulary's embedding takes most of it."""
    return clip_config(
        vision={"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
        text={"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2},
    )


def clip_config(vision: dict[str, int], text: dict[str, int]) -> CLIPConfig:
    """A CLIP of these sizes with CLIP's own picture size, patch, vocabulary and context."""
    return CLIPConfig(
        projection_dim=512,
        vision_config={
            **vision,
            "intermediate_size": 4 * vision["hidden_size"],
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": "quick_gelu",
        },
        text_config={
            **text,
            "intermediate_size": 4 * text["hidden_size"],
            "vocab_size": VOCABULARY,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": START_OF_TEXT,
            "eos_token_id": END_OF_TEXT,
            "hidden_act": "quick_gelu",
        },
    )


def random_clip(config: CLIPConfig, seed: int) -> CLIPModel:
    """The model of this configuration with weights that depend on the seed alone."""
    model = CLIPModel(config).eval()
    draw = Draw(seed)
    with torch.no_grad():
        draw_vision(model, draw)
        draw_text(model, draw)
    return model


class Draw:
    """Normally distributed numbers written into parameters, from one generator."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, parameter: Tensor, std: float, mean: float = 0.0) -> None:
        parameter.normal_(mean, std, generator=self.generator)

    def linear(self, layer: nn.Linear, gain: float) -> None:
        """Weights that multiply the size of a unit-size input by `gain`."""
        self.normal(layer.weight, gain / math.sqrt(layer.in_features))
        if layer.bias is not None:
            self.normal(layer.bias, 0.1)

    def layer_norm(self, layer: nn.LayerNorm) -> None:
        width = layer.normalized_shape[0]
        self.normal(layer.weight, 0.2, mean=1.0)
        loud = torch.randperm(width, generator=self.generator)[: int(width * OUTLIER_CHANNELS)]
        layer.weight[loud] *= 5
        self.normal(layer.bias, 0.1)


def draw_vision(model: CLIPModel, draw: Draw) -> None:
    tower = model.vision_model
    draw_smooth_filters(tower.embeddings.patch_embedding, draw)
    draw.normal(tower.embeddings.class_embedding, POOLED_TOKEN)
    draw.normal(tower.embeddings.position_embedding.weight, 0.3)
    draw.layer_norm(tower.pre_layrnorm)
    draw_layers(tower.encoder, draw)
    draw.layer_norm(tower.post_layernorm)
    draw.linear(model.visual_projection, 1.0)


def draw_text(model: CLIPModel, draw: Draw) -> None:
    tower = model.text_model
    draw.normal(tower.embeddings.token_embedding.weight, 1.0)
    tower.embeddings.token_embedding.weight[END_OF_TEXT] *= POOLED_TOKEN
    draw.normal(tower.embeddings.position_embedding.weight, 0.3)
    draw_layers(tower.encoder, draw)
    draw.layer_norm(tower.final_layer_norm)
    draw.linear(model.text_projection, 1.0)


def draw_layers(encoder: CLIPEncoder, draw: Draw) -> None:
    """Queries and keys loud enough that attention chooses, the rest near the size it was given."""
    reading = 0.8 if len(encoder.layers) > 4 else 1.2  # few layers have to say more each
    for layer in encoder.layers:
        draw.layer_norm(layer.layer_norm1)
        draw.linear(layer.self_attn.q_proj, 1.6)
        draw.linear(layer.self_attn.k_proj, 1.6)
        draw.linear(layer.self_attn.v_proj, reading)
        draw.linear(layer.self_attn.out_proj, reading)
        draw.layer_norm(layer.layer_norm2)
        draw.linear(layer.mlp.fc1, 1.2)
        draw.linear(layer.mlp.fc2, 0.8)


def draw_smooth_filters(embedding: nn.Conv2d, draw: Draw) -> None:
    """4 x 4 fields enlarged to the patch: like trained filters they ignore single-pixel noise."""
    width, colours, patch, _ = embedding.weight.shape
    coarse = torch.empty(width, colours, 4, 4)
    draw.normal(coarse, 1.0)
    smooth = nn.functional.interpolate(coarse, size=(patch, patch), mode="bilinear")
    embedding.weight.copy_(smooth / smooth.flatten(1).norm(dim=1)[:, None, None, None] / patch)
