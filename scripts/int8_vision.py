"""The int8 vision tower of a bundle, from fp32 to a file that has been judged."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calibration import Pictures
from clipindex.model.bundle import PROBE
from clipindex.model.manifest import Quantisation
from exporter.bundle import export_vision
from exporter.parity import Array, Tower, check_agreement, check_independence, load_tower
from exporter.towers import VisionTower
from fidelity import check_fidelity, measure_fidelity, report
from quantise import ranges_of_inputs, round_to_integers, smooth, write_probe

BATCH = 8
BATCH_SIZES = (1, 4, 7, 8, 25)  # between which not a bit of a vector may differ


@dataclass(frozen=True)
class Int8:
    """What a conversion to int8 needs beside the model."""

    pictures: Pictures
    weight_bits: int


def write_int8_vision(
    tower: VisionTower, reference: Tower, int8: Int8, queries: Array, folder: Path
) -> Quantisation:
    """Write vision.onnx and, for 8-bit weights, the probe that says where it can be run.

    Raises BundleRefused unless smoothing left fp32 as it was, vectors are the same in every batch,
    and `queries` (count, dimension) find in held-back pictures what `reference` lets them find.
    """
    calibration = torch.from_numpy(int8.pictures.calibration)
    held_back = int8.pictures.held_back
    tower = copy.deepcopy(tower)  # what it holds is in part the model's own
    expected = in_batches(reference, held_back)

    smooth(tower, ranges_of_inputs(tower, calibration))
    smoothed = in_batches(lambda pixels: tower(torch.from_numpy(pixels)).numpy(), held_back)
    check_agreement("vision tower, smoothed", expected, smoothed)

    round_to_integers(tower, ranges_of_inputs(tower, calibration), int8.weight_bits)
    export_vision(tower, folder / "vision.onnx", size=tower.size)
    if int8.weight_bits == 8:  # pairs of products with 7 bits fit into 16
        write_probe(folder / PROBE)

    exported = load_tower(folder / "vision.onnx")
    some = held_back[: max(BATCH_SIZES)]
    check_independence(exported, some, "vision.onnx", batch_sizes=BATCH_SIZES, largest_move=0)
    quantisation = Quantisation(
        weight_bits=int8.weight_bits,
        calibrated_on=len(calibration),
        compared_on=len(held_back),
        made_from=None,
        **measure_fidelity(expected, in_batches(exported, held_back), queries),
    )
    print(report(quantisation))
    check_fidelity(quantisation)
    return quantisation


def in_batches(tower: Tower, pictures: Array) -> Array:
    """Embeddings (count, dimension) of any number of pictures."""
    starts = range(0, len(pictures), BATCH)
    return np.concatenate([tower(pictures[start : start + BATCH]) for start in starts])
