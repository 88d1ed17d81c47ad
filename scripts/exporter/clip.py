"""CLIP as transformers has it: OpenAI's, LAION's, DataComp's, TinyCLIP's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import ImageSpec, TextSpec
from exporter import preprocessors
from exporter.parity import Vocabulary
from exporter.parts import AttentionParts, LayerParts, PerceptronParts, TextParts, VisionParts
from exporter.source import (
    Checkpoint,
    Source,
    TextSide,
    VisionSide,
    pooled,
    reference_of_pictures,
    reference_of_texts,
)
from exporter.tokens import library_tokenizer
from exporter.towers import TextTower, vision_tower

with guarded_import():
    from transformers import CLIPModel
    from transformers.models.clip.modeling_clip import CLIPEncoderLayer
    from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

# Before a fix in transformers every CLIP configuration said 2 here and meant the highest token id.
MISSTATED_END_OF_TEXT = 2
PAD_ID = 0  # as OpenAI pads; what follows the end of a text cannot matter


def read(checkpoint: Checkpoint, licence: str) -> Source:
    """The model in a folder that CLIPModel.save_pretrained wrote."""
    tokenizer = checkpoint.require("tokenizer.json")
    model = CLIPModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    size = model.config.vision_config.image_size
    stated = checkpoint.json("preprocessor_config.json")
    spec = preprocessors.from_transformers(stated, preprocessors.CLIP_DEFAULTS, model_size=size)
    text = text_side(model, tokenizer)
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=architecture(model),
        dimension=model.config.projection_dim,
        vision=vision_side(model, spec),
        text=replace(text, tokenize=library_tokenizer(checkpoint, text.spec.context_length)),
    )


def vision_side(model: CLIPModel, spec: ImageSpec) -> VisionSide:
    return VisionSide(
        tower=vision_tower(vision_parts(model), spec.mean, spec.std),
        reference=reference_of_pictures(
            lambda pixels: pooled(model.get_image_features(pixels)), spec.mean, spec.std
        ),
        spec=spec,
    )


def text_side(model: CLIPModel, tokenizer: Path) -> TextSide:
    """Without an attention mask, as OpenAI runs the tower: it is causal."""
    config = model.config.text_config
    end = end_of_text_id(model)
    return TextSide(
        tower=TextTower(text_parts(model)),
        reference=reference_of_texts(lambda ids: pooled(model.get_text_features(ids))),
        spec=TextSpec(
            context_length=config.max_position_embeddings,
            pad_id=PAD_ID,
            pad="longest",
            cleaning="openai",
        ),
        vocabulary=Vocabulary(size=config.vocab_size, start=end - 1, end=end, pad=PAD_ID),
        tokenizer=tokenizer,
    )


def vision_parts(model: CLIPModel) -> VisionParts:
    source, config = model.vision_model, model.config.vision_config
    embeddings = source.embeddings
    positions = embeddings.position_embedding.weight
    return VisionParts(
        size=config.image_size,
        filters=embeddings.patch_embedding.weight,
        filters_bias=embeddings.patch_embedding.bias,
        prefix=positions[:1] + embeddings.class_embedding,
        positions=positions[1:],
        norm_before=source.pre_layrnorm,
        layers=[layer_parts(layer) for layer in source.encoder.layers],
        norm_after=source.post_layernorm,
        pool=None,
        projection=model.visual_projection,
    )


def text_parts(model: CLIPModel) -> TextParts:
    source = model.text_model
    return TextParts(
        tokens=source.embeddings.token_embedding,
        positions=source.embeddings.position_embedding.weight,
        layers=[layer_parts(layer) for layer in source.encoder.layers],
        causal=True,
        norm_after=source.final_layer_norm,
        pool="first end",
        end_of_text=end_of_text_id(model),
        projection=model.text_projection,
    )


def layer_parts(layer: CLIPEncoderLayer | SiglipEncoderLayer) -> LayerParts:
    """CLIP and SigLIP have the same layers in transformers."""
    attention, perceptron = layer.self_attn, layer.mlp
    return LayerParts(
        norm_attention=layer.layer_norm1,
        attention=AttentionParts(
            heads=attention.num_heads,
            query=attention.q_proj,
            key=attention.k_proj,
            value=attention.v_proj,
            output=attention.out_proj,
        ),
        norm_perceptron=layer.layer_norm2,
        perceptron=PerceptronParts(
            widen=perceptron.fc1,
            activation=perceptron.config.hidden_act,
            narrow=perceptron.fc2,
        ),
    )


def end_of_text_id(model: CLIPModel) -> int:
    """The token at which the text tower pools."""
    stated = model.config.text_config.eos_token_id
    if stated == MISSTATED_END_OF_TEXT:
        return int(model.config.text_config.vocab_size) - 1
    return int(stated)


def architecture(model: CLIPModel) -> str:
    """clip-vit-b-32 for the one everybody knows, width x layers for any other."""
    vision = model.config.vision_config
    size = (vision.hidden_size, vision.num_hidden_layers)
    letter = "b" if size == (768, 12) else f"{size[0]}x{size[1]}"
    return f"clip-vit-{letter}-{vision.patch_size}"
