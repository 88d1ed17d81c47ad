"""Make a model bundle from a checkpoint, or from random weights.

    python scripts/convert_to_onnx.py openai/clip-vit-base-patch32 --output ./vit-b-32
    python scripts/convert_to_onnx.py google/siglip2-base-patch16-224 --output ./siglip2
    python scripts/convert_to_onnx.py timm/MobileCLIP2-S0-OpenCLIP --output ./mobileclip2
    python scripts/convert_to_onnx.py facebook/dinov2-small --output ./dinov2
    python scripts/convert_to_onnx.py sentence-transformers/clip-ViT-B-32-multilingual-v1 \\
        --mate ./vit-b-32 --output ./multilingual
    python scripts/convert_to_onnx.py HuggingFaceTB/SmolVLM2-256M-Video-Instruct \\
        --pooling mean --output ./smolvlm2
    python scripts/convert_to_onnx.py path/to/checkpoint --output ./mine
    python scripts/convert_to_onnx.py --random-weights --tiny --seed 0 --output tests/data/tiny
    python scripts/convert_to_onnx.py openai/clip-vit-base-patch32 --output ./vit-b-32-int8 \\
        --precision int8 --calibrate ~/Pictures

A checkpoint is a repository of the Hugging Face hub, or a folder in its form: of transformers
(CLIP, SigLIP, SigLIP 2 of fixed resolution, DINOv2; SmolVLM and Idefics3 as an experiment), of
open_clip (OpenCLIP, SigLIP, MobileCLIP), or of sentence-transformers (a DistilBERT text tower for
the pictures of another model, its mate). How pictures and texts are prepared is read from its
configuration; what clipindex cannot do is refused. The bundle is finished only if onnxruntime
agrees with torch's own model, and clipindex's tokens with the library's; otherwise nothing is left
behind. Needs the `convert` extra.

--precision int8 makes the vision tower some three times as fast, and its vectors a little less
exact: how much is printed, and kept in model.json. It is calibrated on pictures of your own, 50 at
least, 200 at most; typical ones are best. The text tower stays fp32: a query runs it once.
`clipindex models quantise` does the same, without torch, with a model that is here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clipindex.errors import ClipIndexError
from clipindex.model.bundle import open_bundle
from clipindex.model.int8.bundle import quantise
from clipindex.model.int8.fidelity import report
from clipindex.model.int8.pictures import read_pictures
from exporter import clip
from exporter.bundle import OPSET, BundleRefused, finished_or_nothing
from exporter.convert import convert, read_source
from exporter.preprocessors import CLIP_DEFAULTS, from_transformers
from exporter.source import Source
from random_clip import random_clip, tiny, vit_b_32

COMMITTED_TOKENIZER = Path(__file__).parents[1] / "tests" / "data" / "tiny" / "tokenizer.json"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        source = random_source(options) if options.random_weights else checkpoint_source(options)
        if options.precision == "int8":
            convert_to_int8(source, options)
        else:
            convert(source, options.output)
    except (BundleRefused, ClipIndexError, OSError) as error:
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
    parser.add_argument(
        "--mate", metavar="BUNDLE", help="whose pictures a text tower alone shall search"
    )
    parser.add_argument(
        "--pooling",
        choices=["mean", "cls", "multi_layer"],
        help="of a vision-language model: what makes one vector of its states (default mean)",
    )
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
    if options.mate and not options.checkpoint:
        parser.error("--mate goes with a CHECKPOINT")
    if (options.precision == "int8") != bool(options.calibrate):
        parser.error("--precision int8 and --calibrate DIR go together")
    return options


def convert_to_int8(source: Source, options: argparse.Namespace) -> None:
    """What `clipindex models quantise` does, of a model that is converted for it."""
    if source.vision is None:
        raise BundleRefused("int8 is for vision towers; this model has none")
    pictures = read_pictures(options.calibrate, source.vision.spec.geometry)
    with finished_or_nothing(options.output) as folder:
        convert(source, folder / "fp32")
        fp32 = open_bundle(folder / "fp32")
        made = quantise(
            fp32, source.name, pictures, options.weight_bits, folder / "int8", lambda *_: None
        )
        assert made.manifest.quantisation is not None  # it has just been made
        print(report(made.manifest.quantisation))
        shutil.rmtree(fp32.folder)
        for path in made.folder.iterdir():
            path.rename(folder / path.name)
        made.folder.rmdir()


def random_source(options: argparse.Namespace) -> Source:
    """The stand-in model: no checkpoint, no network."""
    model = random_clip(tiny() if options.tiny else vit_b_32(), options.seed)
    spec = from_transformers({}, CLIP_DEFAULTS, model_size=model.config.vision_config.image_size)
    seed_label = f"seed-{options.seed}"
    return Source(
        name=options.model_name or ("tiny-clip" if options.tiny else "random-vit-b-32"),
        revision=options.revision or seed_label,
        licence=options.licence or "Apache-2.0; tokenizer.json MIT, Copyright (c) 2021 OpenAI",
        origin=f"random weights, {seed_label}",
        architecture=clip.architecture(model),
        dimension=model.config.projection_dim,
        vision=clip.vision_side(model, spec),
        text=clip.text_side(model, options.tokenizer or COMMITTED_TOKENIZER),
    )


def checkpoint_source(options: argparse.Namespace) -> Source:
    """A trained model, from the Hugging Face hub or from a folder in its form."""
    source = read_source(
        options.checkpoint,
        revision=options.revision,
        licence=options.licence or "as its source states",
        mate=options.mate,
        pooling=options.pooling,
    )
    return replace(source, name=options.model_name or source.name)


if __name__ == "__main__":
    sys.exit(main())
