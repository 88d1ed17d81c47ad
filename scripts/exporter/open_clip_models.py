"""Checkpoints of open_clip: OpenCLIP, SigLIP, MobileCLIP and whatever else it builds.

A folder holds `open_clip_config.json` and the weights, as open_clip pushes them to the hub.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import Cleaning, ImageSpec, TextSpec
from exporter import preprocessors, timm_trunks
from exporter.bundle import BundleRefused
from exporter.parity import Array, Vocabulary
from exporter.parts import (
    LayerParts,
    PerceptronParts,
    TextParts,
    VisionParts,
    activation_of,
    multihead_parts,
    projection,
    scaled,
)
from exporter.source import (
    Checkpoint,
    Source,
    TextSide,
    VisionSide,
    reference_of_pictures,
    reference_of_texts,
)
from exporter.tokens import token_id
from exporter.towers import TextTower, vision_tower

with guarded_import():
    import open_clip

CONFIGURATION = "open_clip_config.json"
# CLIP's own vocabulary, for the checkpoints that leave it to open_clip.
CLIP_TOKENIZER = Path(__file__).parents[2] / "tests" / "data" / "tiny" / "tokenizer.json"
# open_clip's names of its text cleanings; `lower` repairs and unescapes too, as OpenAI's does.
CLEANINGS: dict[str, Cleaning] = {"lower": "openai", "canonicalize": "canonical"}


def read(checkpoint: Checkpoint, licence: str) -> Source:
    """The model in a folder in open_clip's form."""
    stated = checkpoint.json(CONFIGURATION).get("model_cfg", {})
    where = f"local-dir:{checkpoint.folder}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of open_clip, on what it does with its own files
        model = open_clip.create_model(where, precision="fp32").eval()
        tokenizer = open_clip.get_tokenizer(where)
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=architecture(stated),
        dimension=int(stated["embed_dim"]),
        vision=vision_side(model),
        text=text_side(model, tokenizer, checkpoint),
    )


def architecture(stated: dict[str, Any]) -> str:
    vision = stated["vision_cfg"]
    if "timm_model_name" in vision:
        return str(vision["timm_model_name"])
    return f"open-clip-vit-{vision['width']}x{vision['layers']}-{vision.get('patch_size', 'n')}"


def vision_side(model: Any) -> VisionSide:
    """In the fast form where the tower is a plain vision transformer, otherwise as it is."""
    spec = preprocessors.from_open_clip(open_clip.get_model_preprocess_cfg(model))
    parts = vision_parts(model.visual)
    return VisionSide(
        tower=vision_tower(parts, spec.mean, spec.std)
        if parts is not None
        else timm_trunks.ScaledPictures(model.visual, spec.mean, spec.std),
        reference=reference_of_pictures(model.encode_image, spec.mean, spec.std),
        spec=check_size(spec, model.visual.image_size),
    )


def check_size(spec: ImageSpec, image_size: tuple[int, int]) -> ImageSpec:
    if tuple(image_size) != (spec.size, spec.size):
        raise BundleRefused(f"pictures of {spec.size} pixels; the vision tower takes {image_size}")
    return spec


def vision_parts(visual: Any) -> VisionParts | None:
    """None for a tower that is no plain vision transformer."""
    if type(visual).__name__ == "TimmModel":
        return timm_trunks.siglip_parts(visual)
    if type(visual).__name__ != "VisionTransformer" or visual.attn_pool is not None:
        return None
    if visual.pool_type != "tok":
        return None
    positions = visual.positional_embedding
    return VisionParts(
        size=visual.image_size[0],
        filters=visual.conv1.weight,
        filters_bias=visual.conv1.bias,
        prefix=positions[:1] + visual.class_embedding,
        positions=positions[1:],
        norm_before=visual.ln_pre,
        layers=layer_parts(visual.transformer),
        norm_after=visual.ln_post,
        pool=None,
        projection=projection(visual.proj),
    )


def layer_parts(transformer: Any) -> list[LayerParts]:
    """Raises BundleRefused for blocks of another kind than CLIP's."""
    parts = []
    for block in transformer.resblocks:
        if type(block).__name__ != "ResidualAttentionBlock":
            raise BundleRefused(f"layers of the kind {type(block).__name__} are not supported")
        attention = multihead_parts(block.attn)
        narrow = block.mlp.c_proj
        if not isinstance(block.ls_1, nn.Identity):
            attention = replace(attention, output=scaled(attention.output, block.ls_1.gamma))
            narrow = scaled(narrow, block.ls_2.gamma)
        parts.append(
            LayerParts(
                norm_attention=block.ln_1,
                attention=attention,
                norm_perceptron=block.ln_2,
                perceptron=PerceptronParts(
                    widen=block.mlp.c_fc, activation=activation_of(block.mlp.gelu), narrow=narrow
                ),
            )
        )
    return parts


def text_side(model: Any, tokenizer: Any, checkpoint: Checkpoint) -> TextSide:
    """A causal tower that pools at the end of a text is indifferent to padding; any other gets
    texts as long as its context."""
    source = getattr(model, "text", model)  # the older of open_clip's classes is its own text tower
    if type(source).__name__ not in ("CLIP", "TextTransformer"):
        raise BundleRefused(f"a text tower of the kind {type(source).__name__} is not supported")
    if getattr(source, "cls_emb", None) is not None or getattr(source, "use_pad_mask", False):
        raise BundleRefused("a text tower with a class token or a mask of its own is not supported")
    stated = checkpoint.json(CONFIGURATION)["model_cfg"]["text_cfg"]
    path, end, pad = special_tokens(tokenizer, checkpoint)
    parts = text_parts(source, end)
    indifferent = parts.causal and parts.pool == "first end"
    return TextSide(
        tower=TextTower(parts),
        reference=reference_of_texts(lambda ids: model.encode_text(full_length(ids, source, pad))),
        spec=TextSpec(
            context_length=source.context_length,
            pad_id=pad,
            pad="longest" if indifferent else "max",
            cleaning=cleaning(stated),
        ),
        vocabulary=Vocabulary(size=source.vocab_size, start=None, end=end, pad=pad),
        tokenizer=path,
        tokenize=lambda texts: as_array(tokenizer(texts)),
    )


def as_array(ids: torch.Tensor) -> Array:
    array: Array = ids.numpy()
    return array


def full_length(ids: torch.Tensor, source: Any, pad: int) -> torch.Tensor:
    """The older class of open_clip takes nothing shorter than its context."""
    return nn.functional.pad(ids, (0, source.context_length - ids.shape[1]), value=pad)


def special_tokens(tokenizer: Any, checkpoint: Checkpoint) -> tuple[Path, int, int]:
    """The tokenizer's file, the id of the end of a text, and that of padding."""
    own = checkpoint.folder / "tokenizer.json"
    if type(tokenizer).__name__ == "SimpleTokenizer":
        return own if own.exists() else CLIP_TOKENIZER, tokenizer.eot_token_id, 0
    if tokenizer.tokenizer_mode or tokenizer.strip_sep_token:
        raise BundleRefused("a tokenizer with a mode of its own is not supported")
    path = checkpoint.require("tokenizer.json")
    pad, end = (token_id(path, getattr(tokenizer.tokenizer, f"{n}_token")) for n in ("pad", "eos"))
    return path, end, pad


def cleaning(stated: dict[str, Any]) -> Cleaning:
    """The default is that of the tokenizer's class: `lower` for CLIP's, `whitespace` for others."""
    given = stated.get("tokenizer_kwargs") or {}
    name = given.get("clean", "whitespace" if "hf_tokenizer_name" in stated else "lower")
    if name not in CLEANINGS or set(given) - {"clean"}:
        raise BundleRefused(f"texts are cleaned by {name!r} with {given}; only {list(CLEANINGS)}")
    return CLEANINGS[name]


def text_parts(source: Any, end_of_text: int) -> TextParts:
    pool = getattr(source, "text_pool_type", None) or source.pool_type
    if pool == "argmax" and end_of_text != source.vocab_size - 1:
        raise BundleRefused("the text tower pools at the highest token, which ends no text")
    pools = {"argmax": "first end", "eos": "first end", "last": "last"}
    if pool not in pools:
        raise BundleRefused(f"a text tower that pools by {pool!r} is not supported")
    to_space = source.text_projection
    return TextParts(
        tokens=source.token_embedding,
        positions=source.positional_embedding,
        layers=layer_parts(source.transformer),
        causal=source.attn_mask is not None,
        norm_after=source.ln_final,
        pool=pools[pool],  # type: ignore[arg-type]
        end_of_text=end_of_text,
        projection=to_space if isinstance(to_space, nn.Linear) else projection(to_space),
    )
