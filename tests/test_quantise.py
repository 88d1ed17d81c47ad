"""The int8 form of a bundle is made without torch, judged, and refused where it would be felt."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import clipindex
from clipindex.collection.contract import contract_of
from clipindex.errors import ModelError, Refused, UsageError
from clipindex.model.bundle import Bundle, open_bundle
from clipindex.model.encoder import Model
from clipindex.model.int8 import fidelity
from clipindex.model.int8.bundle import quantise
from clipindex.model.int8.pictures import FEWEST, Pictures, read_pictures
from clipindex.model.int8.tower import VisionGraph, write_probe
from clipindex.model.onnxruntime_tower import load, session_options
from clipindex.model.saturation import is_exact
from clipindex.pictures.preprocessing import Geometry
from conftest import TINY, ingest, make_pictures, run_clipindex
from test_adapt import adapted
from tiny_exports import Vision

LAYERED = Vision(layers=3, norm="operator")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures."""
    made = tmp_path_factory.mktemp("pictures")
    make_pictures(made, 60)
    return made


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Pictures:
    return read_pictures(folder, Geometry(224, "crop"))


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An adapted bundle with a vision tower of several layers."""
    return adapted(tmp_path_factory.mktemp("layered"), LAYERED)


def small(count: int = 60) -> Pictures:
    """Pictures of 32 pixels, as the tiny exports take them."""
    random = np.random.default_rng(0)
    made = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    return Pictures(made[::2], made[1::2])


def int8_of(bundle: Bundle, pictures: Pictures, target: Path, weight_bits: int = 8) -> Bundle:
    return quantise(bundle, "small-int8", pictures, weight_bits, target, lambda *_: None)


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


# --- as a user does it -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_is_quantised_used_and_said_to_be_int8(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = ("models", "quantise", TINY, "--calibrate", folder)
    done = run_clipindex(*model, "--json")
    assert done.code == 0, done.err
    (line,) = done.lines
    assert (line["type"], line["model"]) == ("model_quantised", "tiny-clip-int8")
    assert (line["calibrated_on"], line["compared_on"], line["weight_bits"]) == (30, 30, 8)
    assert float(str(line["mean_cosine"])) > 0.995
    index = clipindex.Index(tmp_path / "store", model="tiny-clip-int8")
    ingest(index, folder)
    assert index.status().precision == "int8"
    assert index.query(folder / "003.jpg")[0].score == 1.0
    again = run_clipindex(*model)
    assert again.code == 2
    assert "clipindex models remove tiny-clip-int8" in again.err


def test_what_is_missing_is_said_with_what_to_type() -> None:
    done = run_clipindex("models", "quantise", TINY)
    assert done.code == 2
    assert "--calibrate FOLDER" in done.err


# --- what is made ------------------------------------------------------------------------------


def test_linear_maps_are_on_integers_and_raw_pixels_are_taken_as_they_are(
    pictures: Pictures, tmp_path: Path
) -> None:
    made = int8_of(open_bundle(TINY), pictures, tmp_path / "int8")
    assert made.probe is not None
    assert made.vision.stat().st_size < open_bundle(TINY).vision.stat().st_size / 2
    nodes = operators(made.vision)
    assert nodes.count("MatMulIntegerToFloat") >= 6
    assert nodes.index("MatMulIntegerToFloat") < nodes.index("Cast")  # the patches' product
    figures = made.manifest.quantisation
    assert figures is not None
    assert figures.mean_cosine > 0.999
    assert contract_of(made, "exact", 1).fp32_files == open_bundle(TINY).vision_files


def test_seven_bits_need_no_probe(pictures: Pictures, tmp_path: Path) -> None:
    made = int8_of(open_bundle(TINY), pictures, tmp_path / "int8", weight_bits=7)
    assert made.probe is None
    weights = [t for t in onnx.load(made.vision).graph.initializer if t.data_type == 3]
    assert weights
    assert max(np.abs(onnx.numpy_helper.to_array(t)).max() for t in weights) == 63


@pytest.mark.parametrize("norm", ["operator", "nodes"])
def test_loud_channels_are_made_quieter_in_the_norm_before_them(norm: str, tmp_path: Path) -> None:
    """Not by a multiplication of their own, but behind an activation."""
    bundle = adapted(tmp_path, Vision(layers=3, norm=norm), None)
    before = operators(bundle.vision).count("Mul")
    made = int8_of(bundle, small(), tmp_path / "int8")
    after = operators(made.vision)
    assert after.count("MatMulIntegerToFloat") == 7
    assert after.count("Mul") == before + 3
    assert made.manifest.conversion is None  # its vision tower is known by its own bytes
    assert contract_of(made, "exact", 1).fp32_files == contract_of(bundle, "exact", 1).files


@pytest.mark.parametrize("batch", [1, 3])
def test_a_tower_for_a_fixed_batch_is_quantised_inside_its_loop(batch: int, tmp_path: Path) -> None:
    fixed = adapted(tmp_path / "fixed", replace(LAYERED, batch=batch), None)
    free = adapted(tmp_path / "free", LAYERED, None)
    pixels = small().held_back[:5]
    vectors = [
        Model(int8_of(bundle, small(), tmp_path / name)).encode_images(pixels)
        for name, bundle in (("a", fixed), ("b", free))
    ]
    assert (vectors[0] * vectors[1]).sum(axis=1).min() > 0.9999
    loop = next(
        n for n in onnx.load(tmp_path / "a" / "vision.onnx").graph.node if n.op_type == "Scan"
    )
    inner = [node.op_type for node in loop.attribute[0].g.node]
    assert "MatMulIntegerToFloat" in inner


def test_a_model_without_texts_is_judged_by_pictures_alone(tmp_path: Path) -> None:
    made = int8_of(adapted(tmp_path, LAYERED, None), small(), tmp_path / "int8")
    figures = made.manifest.quantisation
    assert figures is not None
    assert figures.text_overlap is None
    assert "with texts" not in fidelity.report(figures)


def test_the_probe_is_exact_here_and_its_sums_exceed_16_bits(tmp_path: Path) -> None:
    write_probe(tmp_path / "probe.onnx")
    session = load(tmp_path / "probe.onnx", session_options())
    assert is_exact(session.run)
    _, expected = session.run(None, {"inputs": np.full((1, 64), 255, np.uint8)})
    assert np.abs(expected).min() > 2**15


# --- refused -----------------------------------------------------------------------------------


def test_too_few_pictures_are_refused_and_a_copy_counts_once(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir())[: FEWEST - 1]:
        shutil.copyfile(path, tmp_path / path.name)
        shutil.copyfile(path, tmp_path / f"copy-{path.name}")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match=f"{FEWEST - 1} different pictures") as caught:
        read_pictures(tmp_path, Geometry(224, "crop"))
    assert "notes.txt" in caught.value.message
    with pytest.raises(UsageError, match="no such folder"):
        read_pictures(tmp_path / "gone", Geometry(224, "crop"))


def test_the_pictures_of_both_sets_are_different_and_each_time_the_same(folder: Path) -> None:
    first, second = (read_pictures(folder, Geometry(64, "squash")) for _ in range(2))
    np.testing.assert_array_equal(first.calibration, second.calibration)
    assert first.calibration.shape == first.held_back.shape == (30, 64, 64, 3)
    sides = [
        {picture.tobytes() for picture in half} for half in (first.calibration, first.held_back)
    ]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("name", fidelity.SMALLEST)
def test_a_tower_whose_users_would_find_other_pictures_is_refused(
    name: str, layered: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fidelity.SMALLEST, name, 1.1)
    with pytest.raises(Refused, match=f"the {name.replace('_', ' ')} .* is below 1.1") as caught:
        int8_of(layered, small(), tmp_path / "int8")
    assert caught.value.exit_code == 8
    assert not (tmp_path / "int8").exists()
    assert "nothing was written" in caught.value.hint


def test_int8_of_int8_and_a_tower_of_convolutions_are_refused(tmp_path: Path) -> None:
    bundle = adapted(tmp_path, LAYERED, None)
    made = int8_of(bundle, small(), tmp_path / "int8")
    with pytest.raises(UsageError, match="is int8 already"):
        int8_of(made, small(), tmp_path / "again")
    with pytest.raises(ModelError, match="has no int8 form"):
        VisionGraph(adapted(tmp_path / "one", Vision(), None).vision)
