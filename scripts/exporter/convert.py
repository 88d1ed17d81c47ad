"""A whole conversion: which class a checkpoint is, and its bundle, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clipindex.errors import ModelError
from clipindex.model.bundle import Bundle, find_bundle
from clipindex.model.manifest import Pooling
from exporter import clip, dinov2, multilingual, siglip, smolvlm
from exporter.bundle import (
    OPSET,
    BundleRefused,
    export_text,
    export_vision,
    finished_or_nothing,
    write_manifest,
)
from exporter.merged import write_merged
from exporter.parity import check_text, check_vision
from exporter.source import Checkpoint, Source, TextSide, VisionSide, find_checkpoint
from exporter.tokens import NOTICE, add_tokenizer

# transformers' model_type -> what reads it
READERS: dict[str, Callable[[Checkpoint, str], Source]] = {
    "clip": clip.read,
    "siglip": siglip.read,
    "dinov2": dinov2.read,
    "dinov2_with_registers": dinov2.read,
}
VISION_LANGUAGE = ("smolvlm", "idefics3")
KNOWN = (
    "CLIP, SigLIP, SigLIP 2 of fixed resolution, DINOv2, SmolVLM, Idefics3, what open_clip loads,"
    " and DistilBERT text towers of sentence-transformers"
)


def read_source(
    name: str,
    *,
    revision: str | None,
    licence: str,
    mate: str | None = None,
    pooling: Pooling | None = None,
) -> Source:
    """The model of a checkpoint, read by the module of its class. Raises BundleRefused.

    `mate`: of a text tower alone, the bundle whose pictures it searches. `pooling`: of a
    vision-language model; None: the mean.
    """
    checkpoint = find_checkpoint(name, revision)
    if (checkpoint.folder / "modules.json").exists():
        if mate is None:
            raise BundleRefused(
                "a text tower alone searches the vectors of another model: name the bundle of that"
                " model with --mate"
            )
        return multilingual.read(checkpoint, licence, bundle_of(mate))
    if mate is not None:
        raise BundleRefused("--mate is for a text tower alone (a folder of sentence-transformers)")
    kind = checkpoint.json("config.json").get("model_type")
    if kind in VISION_LANGUAGE:
        return smolvlm.read(checkpoint, licence, pooling or "mean")
    if pooling is not None:
        raise BundleRefused("--pooling is for vision-language models, which have hidden states")
    if kind in READERS:
        return READERS[kind](checkpoint, licence)
    if (checkpoint.folder / "open_clip_config.json").exists():
        from exporter import open_clip_models  # heavy, and only these need it

        return open_clip_models.read(checkpoint, licence)
    if kind == "siglip2":
        raise BundleRefused(
            f"{name} takes pictures of any shape (NaFlex), clipindex squares: take a SigLIP 2 of"
            " fixed resolution, as google/siglip2-base-patch16-224"
        )
    what = f"of the kind {kind!r}" if kind else "without a config.json that says its kind"
    raise BundleRefused(f"{name} is a checkpoint {what}; known are {KNOWN}")


def bundle_of(name: str) -> Bundle:
    try:
        return find_bundle(name)
    except ModelError as error:
        raise BundleRefused(f"--mate {name}: {error}") from error


def convert(source: Source, output: Path) -> None:
    """Write the bundle, or nothing: the exported towers must agree with their references."""
    with finished_or_nothing(output) as folder, torch.no_grad():
        fields = manifest_fields(source)
        if source.merged is not None:
            write_merged(source.merged, folder)
        if source.text is not None:
            write_text(source.text, folder)
        if source.vision is not None:
            write_vision(source.vision, folder)
        files = sorted(path.name for path in folder.iterdir() if path.name != NOTICE)
        write_manifest(folder, fields, files)


def write_text(side: TextSide, folder: Path) -> None:
    add_tokenizer(side, folder)
    any_length = side.spec.pad == "longest"
    length = side.spec.context_length
    path = folder / "text.onnx"
    export_text(side.tower, path, length=None if any_length else length)
    check_text(side.reference, path, side.vocabulary, context_length=length, any_length=any_length)


def write_vision(side: VisionSide, folder: Path) -> None:
    path = folder / "vision.onnx"
    export_vision(side.tower, path, size=side.spec.size)
    check_vision(side.reference, path, size=side.spec.size)


def manifest_fields(source: Source) -> dict[str, Any]:
    """All of the manifest but the files."""
    merged = source.merged
    image = merged.image if merged is not None else source.vision and source.vision.spec
    text = merged.text if merged is not None else source.text and source.text.spec
    return {
        "model": source.name,
        "revision": source.revision,
        "architecture": source.architecture,
        "dimension": source.dimension,
        "precision": "fp32",
        "image": None if image is None else asdict(image),
        "text": None if text is None else asdict(text),
        **({} if source.mate is None else {"mate": asdict(source.mate)}),
        **({} if merged is None else {"merged": asdict(merged.spec)}),
        "opset": OPSET,
        "licence": source.licence,
        "source": source.origin,
    }
