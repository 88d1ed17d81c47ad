"""Make a model bundle from a CLIP checkpoint, or from random weights.

    python scripts/convert_to_onnx.py openai/clip-vit-base-patch32 --output ./vit-b-32
    python scripts/convert_to_onnx.py path/to/checkpoint --output ./mine
    python scripts/convert_to_onnx.py --random-weights --tiny --seed 0 --output tests/data/tiny
    python scripts/convert_to_onnx.py openai/clip-vit-base-patch32 --output ./vit-b-32-int8 \\
        --precision int8 --calibrate ~/Pictures

The bundle is finished only if onnxruntime agrees with torch's own CLIPModel; otherwise nothing is
left behind. Needs the `convert` extra (torch, transformers, onnx).

--precision int8 makes the vision tower some three times as fast, and its vectors a little less
exact: how much is printed, and kept in model.json. It is calibrated on pictures of your own, 50 at
least, 200 at most; typical ones are best. The text tower stays fp32: a query runs it once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from bundle_export import (
    DIMENSION,
    IMAGE_SIZE,
    OPSET,
    PAD_ID,
    Array,
    BundleRefused,
    Tower,
    check_text,
    check_vision,
    export_text,
    export_vision,
    finished_or_nothing,
    write_manifest,
    write_tokenizer,
)
from calibration import read_pictures
from clip_towers import TextTower, VisionTower, end_of_text_id
from clipindex.model.imports import guarded_import
from clipindex.model.manifest import TextSpec
from fidelity import query_embeddings
from int8_vision import Int8, write_int8_vision
from random_clip import random_clip, tiny, vit_b_32

with guarded_import():
    from transformers import CLIPModel
    from transformers.utils import cached_file

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3  # Pillow's number for it, as preprocessor_config.json has it
COMMITTED_TOKENIZER = Path(__file__).parents[1] / "tests" / "data" / "tiny" / "tokenizer.json"
TOKENIZER_NOTICE = "LICENSE-tokenizer.txt"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A CLIP model with everything that its bundle says about it."""

    model: CLIPModel
    tokenizer: Path
    name: str
    revision: str
    licence: str
    origin: str
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        int8 = int8_plan(options)  # first: reading pictures is quick, and may be refused
        source = random_source(options) if options.random_weights else checkpoint_source(options)
        convert(source, options.output, int8=int8)
    except (BundleRefused, OSError) as error:
        print(f"convert_to_onnx: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {source.name} {source.revision}, opset {OPSET}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", help="Hugging Face name or local folder")
    parser.add_argument("--output", type=Path, required=True, help="folder, new or empty")
    parser.add_argument("--model-name", help="default: the last part of the checkpoint's name")
    parser.add_argument("--revision", help="branch, tag or commit; for a local folder a label")
    parser.add_argument("--licence", help="of the weights, as the manifest shall state it")
    parser.add_argument("--random-weights", action="store_true", help="instead of a checkpoint")
    parser.add_argument("--tiny", action="store_true", help="a small model (random weights only)")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default 0)")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json for random weights")
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="pictures, for int8")
    parser.add_argument(
        "--weight-bits",
        type=int,
        choices=[7, 8],
        default=8,
        help="of int8; 7 is for processors whose 8-bit arithmetic saturates, if clipindex says so",
    )
    options = parser.parse_args(arguments)
    if options.random_weights == bool(options.checkpoint):
        parser.error("give either a CHECKPOINT or --random-weights")
    if options.checkpoint and (options.tiny or options.tokenizer):
        parser.error("--tiny and --tokenizer go with --random-weights")
    if (options.precision == "int8") != bool(options.calibrate):
        parser.error("--precision int8 and --calibrate DIR go together")
    return options


def int8_plan(options: argparse.Namespace) -> Int8 | None:
    if options.precision == "fp32":
        return None
    return Int8(read_pictures(options.calibrate), options.weight_bits)


def random_source(options: argparse.Namespace) -> Source:
    """The stand-in model: no checkpoint, no network."""
    seed_label = f"seed-{options.seed}"
    return Source(
        model=random_clip(tiny() if options.tiny else vit_b_32(), options.seed),
        tokenizer=options.tokenizer or COMMITTED_TOKENIZER,
        name=options.model_name or ("tiny-clip" if options.tiny else "random-vit-b-32"),
        revision=options.revision or seed_label,
        licence=options.licence or "Apache-2.0; tokenizer.json MIT, Copyright (c) 2021 OpenAI",
        origin=f"random weights, {seed_label}",
    )


def checkpoint_source(options: argparse.Namespace) -> Source:
    """A trained model, from the Hugging Face hub or from a folder in its form."""
    checkpoint, revision = options.checkpoint, options.revision or "main"
    model = CLIPModel.from_pretrained(checkpoint, revision=revision, dtype=torch.float32).eval()
    mean, std = read_mean_and_std(checkpoint, revision)
    local = Path(checkpoint).is_dir()
    name = Path(checkpoint).resolve().name if local else checkpoint.rpartition("/")[2]
    commit = getattr(model.config, "_commit_hash", None)
    return Source(
        model=model,
        tokenizer=find_tokenizer(checkpoint, revision),
        name=options.model_name or name,
        revision=commit or options.revision or "unstated",
        licence=options.licence or "as its source states",
        origin=f"local folder {name}" if local else f"Hugging Face {checkpoint}",
        mean=mean,
        std=std,
    )


def find_tokenizer(checkpoint: str, revision: str) -> Path:
    found = cached_file(checkpoint, "tokenizer.json", revision=revision)
    if found is None:
        raise BundleRefused(f"{checkpoint} has no tokenizer.json")
    return Path(found)


def read_mean_and_std(checkpoint: str, revision: str) -> tuple[Sequence[float], Sequence[float]]:
    """The checkpoint's own mean and standard deviation, CLIP's where it does not state them."""
    found = cached_file(
        checkpoint,
        "preprocessor_config.json",
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
    )
    stated = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    if stated.get("resample", BICUBIC) != BICUBIC or not stated.get("do_center_crop", True):
        raise BundleRefused(f"{checkpoint} resizes its pictures in another way than CLIP does")
    return stated.get("image_mean", CLIP_MEAN), stated.get("image_std", CLIP_STD)


def convert(
    source: Source,
    output: Path,
    *,
    reference: CLIPModel | None = None,
    int8: Int8 | None = None,
) -> None:
    """Write the bundle, or nothing.

    The exported towers must agree with `reference`: the source's model, unless a test says else.
    """
    model = source.model
    judge = reference or model
    refuse_other_interfaces(model)
    with finished_or_nothing(output) as folder, torch.no_grad():
        write_tokenizer(source.tokenizer, folder / "tokenizer.json")
        check_tokenizer(folder / "tokenizer.json", model)
        copy_notice(source.tokenizer, folder)
        export_text(TextTower(model), folder / "text.onnx")
        check_text(
            text_reference(judge),
            folder / "text.onnx",
            context_length=model.config.text_config.max_position_embeddings,
            end_of_text=end_of_text_id(model),
        )
        vision = VisionTower(model, source.mean, source.std)
        see = image_reference(judge, source.mean, source.std)
        fields = manifest_fields(source)
        if int8 is None:
            export_vision(vision, folder / "vision.onnx")
            check_vision(see, folder / "vision.onnx")
        else:
            queries = query_embeddings(folder, TextSpec(**fields["text"]))
            quantisation = write_int8_vision(vision, see, int8, queries, folder)
            fields |= {"precision": "int8", "quantisation": asdict(quantisation)}
        files = sorted(path.name for path in folder.iterdir() if path.name != TOKENIZER_NOTICE)
        write_manifest(folder, fields, files)


def refuse_other_interfaces(model: CLIPModel) -> None:
    """Every bundle has the same inputs and outputs; a model with others cannot become one."""
    dimension = model.config.projection_dim
    if dimension != DIMENSION:
        raise BundleRefused(f"embeddings of {dimension} numbers; clipindex stores {DIMENSION}")
    size = model.config.vision_config.image_size
    if size != IMAGE_SIZE:
        raise BundleRefused(f"pictures of {size} pixels; clipindex prepares {IMAGE_SIZE}")


def check_tokenizer(path: Path, model: CLIPModel) -> None:
    """Refuse a tokenizer whose ids the text tower would misread."""
    tokenizer = Tokenizer.from_file(str(path))
    end, known = end_of_text_id(model), model.config.text_config.vocab_size
    ids = tokenizer.encode("").ids
    if ids[-1:] != [end]:
        raise BundleRefused(f"the tokenizer ends an empty text with {ids[-1:]}, the tower at {end}")
    if tokenizer.get_vocab_size() > known:
        raise BundleRefused(f"{tokenizer.get_vocab_size()} tokens, the tower knows {known}")


def copy_notice(tokenizer: Path, folder: Path) -> None:
    """The vocabulary's licence asks that its notice goes with every copy."""
    notice = tokenizer.with_name(TOKENIZER_NOTICE)
    if notice.exists():
        shutil.copyfile(notice, folder / TOKENIZER_NOTICE)


def image_reference(model: CLIPModel, mean: Sequence[float], std: Sequence[float]) -> Tower:
    """CLIPModel on pixels as its own processor hands them over: scaled, (batch, 3, 224, 224)."""

    def run(pixels: Array) -> Array:
        scaled = (pixels / np.float32(255) - np.array(mean)) / np.array(std)
        batch = torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2)
        embeddings: Array = model.get_image_features(batch).pooler_output.numpy()
        return embeddings

    return run


def text_reference(model: CLIPModel) -> Tower:
    """CLIPModel on token ids (batch, sequence), without an attention mask, as OpenAI runs it."""

    def run(input_ids: Array) -> Array:
        features = model.get_text_features(torch.from_numpy(input_ids))
        embeddings: Array = features.pooler_output.numpy()
        return embeddings

    return run


def manifest_fields(source: Source) -> dict[str, Any]:
    text = source.model.config.text_config
    return {
        "model": source.name,
        "revision": source.revision,
        "architecture": architecture(source.model),
        "dimension": DIMENSION,
        "precision": "fp32",
        "image": {
            "size": IMAGE_SIZE,
            "mean": list(source.mean),
            "std": list(source.std),
            "interpolation": "bicubic",
            "fit": "crop",
        },
        "text": {
            "context_length": text.max_position_embeddings,
            "pad_id": PAD_ID,
            "pad": "longest",
            "cleaning": "openai",
        },
        "opset": OPSET,
        "licence": source.licence,
        "source": source.origin,
    }


def architecture(model: CLIPModel) -> str:
    """clip-vit-b-32 for the one everybody knows, width x layers for any other."""
    vision = model.config.vision_config
    size = (vision.hidden_size, vision.num_hidden_layers)
    letter = "b" if size == (768, 12) else f"{size[0]}x{size[1]}"
    return f"clip-vit-{letter}-{vision.patch_size}"


if __name__ == "__main__":
    sys.exit(main())
