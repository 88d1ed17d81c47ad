"""An int8 bundle made of an fp32 one, judged before it is there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from dataclasses import replace as changed
from pathlib import Path

import numpy as np

from clipindex.errors import ModelError, UsageError
from clipindex.files.replacing import built_beside, replace, settle
from clipindex.model.bundle import MANIFEST, PROBE, VISION, Bundle, decides_pictures, open_bundle
from clipindex.model.encoder import Embeddings, Model
from clipindex.model.int8.fidelity import check_fidelity, measure_fidelity, queries
from clipindex.model.int8.pictures import Pictures
from clipindex.model.int8.tower import VisionGraph, write_probe
from clipindex.model.manifest import FileSpec, Manifest, Quantisation
from clipindex.model.onnx_graph.files import write_model
from clipindex.pictures.decode import Pixels

BATCH_SIZES = (1, 4, 7)
LARGEST_MOVE = 1e-6  # of a vector's component between them; mostly not a bit differs
COMPARED_ALONE = 25  # pictures
NOTICES = ("LICENSE*", "NOTICE*")  # a licence may ask that they go with every copy

Watch = Callable[[str, int, int], None]  # what is being done, pictures done, pictures in all


def quantise(
    bundle: Bundle, name: str, pictures: Pictures, weight_bits: int, target: Path, watch: Watch
) -> Bundle:
    """Make the int8 form `name` of a bundle in the folder `target`, with its figures.

    Raises Refused when its users would find other pictures, UsageError for one that is int8
    already, ModelError when it has no int8 form or its vectors depend on their batch.
    """
    if bundle.manifest.precision == "int8":
        raise UsageError(f"'{bundle.manifest.model}' is int8 already", path=str(bundle.folder))
    if bundle.manifest.merged is not None:
        raise UsageError(
            f"'{bundle.manifest.model}' is a vision-language model, which has no int8 form",
            path=str(bundle.folder),
            hint="use it as it is",
        )
    with built_beside(target) as new:
        new.mkdir(parents=True)
        _write_tower(bundle, pictures.calibration, weight_bits, new, watch)
        fp32 = _embedded(Model(bundle), pictures.held_back, "fp32", watch)
        for file in bundle.manifest.files:
            if not decides_pictures(file):
                shutil.copyfile(bundle.folder / file, new / file)
        made = Bundle(new, _unjudged(bundle.manifest, name, new))
        int8 = _embedded(Model(made), pictures.held_back, "int8", watch)
        _check_batches(made, pictures.held_back[:COMPARED_ALONE], int8)
        figures = measure_fidelity(fp32, int8, _texts(made))
        check_fidelity(figures)
        quantisation = Quantisation(
            weight_bits=weight_bits,
            calibrated_on=len(pictures.calibration),
            compared_on=len(pictures.held_back),
            made_from=_identity(bundle),
            **asdict(figures),
        )
        manifest = changed(made.manifest, quantisation=quantisation)
        (new / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        for pattern in NOTICES:
            for path in bundle.folder.glob(pattern):
                shutil.copyfile(path, new / path.name)
        open_bundle(new).verify()
        replace(target)
    settle(target)
    return open_bundle(target)


def _write_tower(
    bundle: Bundle, calibration: Pixels, weight_bits: int, folder: Path, watch: Watch
) -> None:
    graph = VisionGraph(bundle.vision)
    done = 0

    def measured(count: int, total: int) -> None:
        nonlocal done
        done += count
        watch("calibrating", min(done, total), total)

    ranges = graph.ranges(calibration, measured)
    write_model(graph.rounded(ranges, weight_bits), folder / VISION)
    if weight_bits == 8:  # pairs of products with 7 bits fit into 16
        write_probe(folder / PROBE)


def _unjudged(manifest: Manifest, name: str, folder: Path) -> Manifest:
    """What is said of the new bundle before its figures are known."""
    files = {
        path.name: FileSpec(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    }
    return changed(manifest, model=name, precision="int8", files=files, conversion=None)


def _identity(bundle: Bundle) -> dict[str, str]:
    """The files by which text towers know the fp32 tower, as its contract has them."""
    conversion = bundle.manifest.conversion
    return conversion.files if conversion is not None else bundle.vision_files


def _embedded(model: Model, pictures: Pixels, name: str, watch: Watch) -> Embeddings:
    vectors = []
    for start in range(0, len(pictures), model.batch):
        vectors.append(model.encode_images(pictures[start : start + model.batch]))
        watch(f"embedding in {name}", min(start + model.batch, len(pictures)), len(pictures))
    return np.concatenate(vectors)


def _texts(bundle: Bundle) -> Embeddings | None:
    if bundle.manifest.text is None:
        return None
    model = Model(bundle)
    return np.concatenate([model.encode_texts([query]) for query in queries()])


def _check_batches(bundle: Bundle, pictures: Pixels, expected: Embeddings) -> None:
    model = Model(bundle)
    sizes: Sequence[int] = BATCH_SIZES
    for size in sizes:
        for start in range(0, len(pictures), size):
            end = min(start + size, len(pictures))
            moved = np.abs(model.encode_images(pictures[start:end]) - expected[start:end])
            if not moved.max() <= LARGEST_MOVE:  # written so that NaN is refused too
                raise ModelError(
                    "the int8 tower's vectors depend on the batch that a picture is in",
                    path=str(bundle.folder),
                    hint="nothing was written; try another version of onnxruntime",
                )
