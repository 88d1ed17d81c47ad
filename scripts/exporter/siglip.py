"""SigLIP and SigLIP 2 of fixed resolution, as transformers has them (both are its SiglipModel)."""

from __future__ import annotations

import torch

from clipindex.model.imports import guarded_import
from clipindex.model.manifest import Cleaning, TextSpec
from exporter import preprocessors
from exporter.bundle import BundleRefused
from exporter.clip import layer_parts
from exporter.parity import Vocabulary
from exporter.parts import (
    AttentionPoolParts,
    PerceptronParts,
    TextParts,
    VisionParts,
    multihead_parts,
)
from exporter.source import (
    Checkpoint,
    Source,
    TextSide,
    VisionSide,
    pooled,
    reference_of_pictures,
    reference_of_texts,
)
from exporter.tokens import library_tokenizer, token_id
from exporter.towers import TextTower, vision_tower

with guarded_import():
    from transformers import SiglipModel

# How texts were cleaned in training, by the class of the checkpoint's tokenizer: SigLIP took the
# punctuation out, SigLIP 2 (Gemma's tokenizer) only wrote them in lower case.
CLEANINGS: dict[str, Cleaning] = {
    "SiglipTokenizer": "canonical",
    "Siglip2Tokenizer": "lower",
    "GemmaTokenizer": "lower",
    "GemmaTokenizerFast": "lower",
}


def read(checkpoint: Checkpoint, licence: str) -> Source:
    """The model in a folder that SiglipModel.save_pretrained wrote."""
    checkpoint.require("tokenizer.json")
    model = SiglipModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    vision, text = model.config.vision_config, model.config.text_config
    if text.projection_size != vision.hidden_size:
        raise BundleRefused(
            f"texts of {text.projection_size} numbers, pictures of {vision.hidden_size}"
        )
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=f"siglip-vit-{vision.hidden_size}x{vision.num_hidden_layers}"
        f"-{vision.patch_size}",
        dimension=vision.hidden_size,
        vision=vision_side(model, checkpoint),
        text=text_side(model, checkpoint),
    )


def vision_side(model: SiglipModel, checkpoint: Checkpoint) -> VisionSide:
    spec = preprocessors.from_transformers(
        checkpoint.json("preprocessor_config.json"),
        preprocessors.SIGLIP_DEFAULTS,
        model_size=model.config.vision_config.image_size,
    )
    return VisionSide(
        tower=vision_tower(vision_parts(model), spec.mean, spec.std),
        reference=reference_of_pictures(
            lambda pixels: pooled(model.get_image_features(pixels)), spec.mean, spec.std
        ),
        spec=spec,
    )


def text_side(model: SiglipModel, checkpoint: Checkpoint) -> TextSide:
    """Always as long as the context, and without a mask: the model was trained so."""
    config = model.config.text_config
    stated = checkpoint.json("tokenizer_config.json")
    kind = stated.get("tokenizer_class", "")
    if kind not in CLEANINGS:
        raise BundleRefused(
            f"tokenizer_config.json names the tokenizer {kind!r}: how its texts were cleaned is"
            f" known for {', '.join(CLEANINGS)}"
        )
    pad, end = special_ids(checkpoint)
    cleaning = CLEANINGS[kind]
    length = config.max_position_embeddings
    return TextSide(
        tower=TextTower(text_parts(model, end)),
        reference=reference_of_texts(lambda ids: pooled(model.get_text_features(ids))),
        spec=TextSpec(context_length=length, pad_id=pad, pad="max", cleaning=cleaning),
        vocabulary=Vocabulary(size=config.vocab_size, start=None, end=end, pad=pad),
        tokenizer=checkpoint.folder / "tokenizer.json",
        tokenize=library_tokenizer(checkpoint, length, lower=cleaning == "lower"),
    )


def vision_parts(model: SiglipModel) -> VisionParts:
    source, config = model.vision_model, model.config.vision_config
    if not getattr(config, "vision_use_head", True):
        raise BundleRefused("a SigLIP without its attention head has no vector of a picture")
    head, embeddings = source.head, source.embeddings
    return VisionParts(
        size=config.image_size,
        filters=embeddings.patch_embedding.weight,
        filters_bias=embeddings.patch_embedding.bias,
        prefix=torch.zeros(0, config.hidden_size),
        positions=embeddings.position_embedding.weight,
        norm_before=torch.nn.Identity(),
        layers=[layer_parts(layer) for layer in source.encoder.layers],
        norm_after=source.post_layernorm,
        pool=AttentionPoolParts(
            probe=head.probe,
            attention=multihead_parts(head.attention),
            norm=head.layernorm,
            perceptron=PerceptronParts(
                widen=head.mlp.fc1, activation=config.hidden_act, narrow=head.mlp.fc2
            ),
        ),
        projection=torch.nn.Identity(),
    )


def text_parts(model: SiglipModel, end_of_text: int) -> TextParts:
    source = model.text_model
    return TextParts(
        tokens=source.embeddings.token_embedding,
        positions=source.embeddings.position_embedding.weight,
        layers=[layer_parts(layer) for layer in source.encoder.layers],
        causal=False,
        norm_after=source.final_layer_norm,
        pool="last",
        end_of_text=end_of_text,
        projection=source.head,
    )


def special_ids(checkpoint: Checkpoint) -> tuple[int, int]:
    """The ids of padding and of the end of a text, by the names in tokenizer_config.json."""
    stated = checkpoint.json("tokenizer_config.json")
    tokens = (stated.get(name) for name in ("pad_token", "eos_token"))
    contents = [token.get("content") if isinstance(token, dict) else token for token in tokens]
    pad, end = (token_id(checkpoint.folder / "tokenizer.json", token) for token in contents)
    return pad, end
