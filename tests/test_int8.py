"""An int8 bundle in use: the same in every batch, for CPUs, refused where arithmetic is wrong.

How it is made: test_quantise.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import clipindex
from clipindex.collection.contract import contract_of
from clipindex.errors import (
    ContractMismatch,
    ExitCode,
    ModelError,
    ProviderUnavailable,
    Refused,
)
from clipindex.model.bundle import Bundle, open_bundle
from clipindex.model.encoder import Model
from clipindex.model.int8.bundle import quantise
from clipindex.model.int8.fidelity import overlap
from clipindex.model.int8.pictures import Pictures, read_pictures
from clipindex.model.manifest import Manifest
from clipindex.model.onnxruntime_tower import load
from clipindex.model.providers import Provider
from clipindex.model.saturation import EXACT_KERNELS, is_exact, make_exact
from conftest import TINY, ingest, make_pictures, picture, run_clipindex

Array = NDArray[Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures in two folders, and what else lies in such folders."""
    made = tmp_path_factory.mktemp("pictures")
    make_pictures(made / "summer", 30)
    make_pictures(made / "winter", 30, first_seed=30)
    (made / "notes.txt").write_text("not a picture")
    (made / "winter" / "damaged.jpg").write_bytes((made / "winter/000.jpg").read_bytes()[:900])
    return made


@pytest.fixture(scope="module")
def seen(folder: Path) -> Pictures:
    return read_pictures(folder, open_bundle(TINY).image.geometry)


@pytest.fixture(scope="module")
def int8(seen: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model in int8."""
    target = tmp_path_factory.mktemp("int8") / "bundle"
    return quantise(open_bundle(TINY), "tiny-int8", seen, 8, target, lambda *_: None)


def photographs(count: int) -> Array:
    """Pictures that no calibration saw: uint8 (count, 224, 224, 3)."""
    return np.stack([np.asarray(picture(1000 + seed, (224, 224))) for seed in range(count)])


# What comes out


def test_an_int8_vector_is_near_that_of_fp32(int8: Bundle) -> None:
    """On pictures that the conversion never saw, through clipindex's own door."""
    pixels = photographs(40)
    exact = Model(open_bundle(TINY)).encode_images(pixels)
    rounded = Model(int8).encode_images(pixels)
    cosines = (exact * rounded).sum(axis=1)
    assert cosines.min() >= 0.98
    assert cosines.mean() >= 0.995
    assert not np.array_equal(exact, rounded)


def test_a_picture_has_the_same_bits_in_every_batch(int8: Bundle) -> None:
    """Scales are constants: neither the batch nor the place in it changes anything."""
    model = Model(int8)
    pixels = photographs(25)
    alone = np.concatenate([model.encode_images(each[None]) for each in pixels])
    for size in (4, 7, 8, 25):
        parts = [model.encode_images(pixels[at : at + size]) for at in range(0, 25, size)]
        assert np.array_equal(np.concatenate(parts), alone), size
    assert np.array_equal(model.encode_images(pixels[::-1]), alone[::-1])


def test_the_text_tower_is_that_of_fp32(int8: Bundle) -> None:
    """A query runs it once: it stays as it is, to the byte."""
    for name in ("text.onnx", "tokenizer.json"):
        assert (int8.folder / name).read_bytes() == (TINY / name).read_bytes()


def test_the_figures_of_the_report_are_those_of_the_files(int8: Bundle, seen: Pictures) -> None:
    """Measured again from outside, on the held-back pictures, with the towers as written."""
    exact, rounded = (
        Model(open_bundle(folder)).encode_images(seen.held_back) for folder in (TINY, int8.folder)
    )
    kept = int8.manifest.quantisation
    assert kept is not None
    cosines = (exact * rounded).sum(axis=1)
    assert kept.mean_cosine == pytest.approx(cosines.mean(), abs=1e-5)
    assert kept.smallest_cosine == pytest.approx(cosines.min(), abs=1e-5)
    shared = 0
    for number in range(30):
        scores = (np.delete(each @ each[number], number) for each in (exact, rounded))
        first, second = (set(np.argsort(-each)[:10]) for each in scores)
        shared += len(first & second)
    assert kept.image_overlap == pytest.approx(shared / 300, abs=0.01)


def test_overlap_is_the_share_of_hits_that_both_find() -> None:
    """All, none, and seven of ten."""
    scores = -np.arange(40.0)[None]
    assert overlap(scores, scores) == 1
    assert overlap(scores, -scores) == 0
    assert overlap(scores, np.roll(scores, 3, axis=1)) == pytest.approx(0.7)


def test_a_tower_rounded_too_coarsely_is_refused_and_leaves_nothing(
    seen: Pictures, tmp_path: Path
) -> None:
    """Weights of three bits: the report's bounds stop it."""
    with pytest.raises(Refused, match=r"int8 against fp32: .* is below"):
        quantise(open_bundle(TINY), "coarse", seen, 3, tmp_path / "bundle", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


# Processors whose 8-bit arithmetic saturates


def test_the_probes_sums_are_right_here(int8: Bundle) -> None:
    """It is listed in model.json, small, and its sums do not fit into 16 bits."""
    bundle = int8
    assert "saturation.onnx" in bundle.manifest.files
    assert bundle.probe.stat().st_size < 2048
    options = make_exact(onnxruntime.SessionOptions(), bundle.probe, load_here)
    session = load_here(bundle.probe, options)
    assert is_exact(session.run)
    sums, expected = session.run(None, {"inputs": np.full((3, 64), 255, dtype=np.uint8)})
    assert np.array_equal(sums, np.tile(expected, (3, 1)))
    assert set(np.abs(expected)) == {255 * 127 * 64}


def load_here(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return load(path, options)


def doctored(bundle: Path, folder: Path) -> Path:
    """A copy of the bundle whose probe expects what a saturating processor would never give."""
    copy = folder / "doctored"
    shutil.copytree(bundle, copy)
    probe = onnx.load(copy / "saturation.onnx")
    (constant,) = [node for node in probe.graph.node if node.op_type == "Constant"]
    expected = onnx.numpy_helper.to_array(constant.attribute[0].t)
    constant.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(expected + 1))
    onnx.save_model(probe, copy / "saturation.onnx")
    manifest = json.loads((copy / "model.json").read_text())
    data = (copy / "saturation.onnx").read_bytes()
    manifest["files"]["saturation.onnx"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (copy / "model.json").write_text(json.dumps(manifest))
    return copy


def test_a_wrong_answer_stops_the_program_before_any_vector(
    int8: Bundle, folder: Path, tmp_path: Path
) -> None:
    """Exit 4, and the message says how to get on."""
    bundle = doctored(int8.folder, tmp_path)
    with pytest.raises(ModelError, match="saturates"):
        Model(open_bundle(bundle)).encode_images(photographs(1))
    ended = run_clipindex("ingest", folder, "--model", bundle, "--store", tmp_path / "store")
    assert ended.code == ExitCode.MODEL
    assert "saturates" in ended.err
    assert "--weight-bits 7" in ended.err


def test_a_text_query_asks_nothing_of_the_vision_towers_arithmetic(
    int8: Bundle, tmp_path: Path
) -> None:
    """The text tower is fp32 on every processor."""
    bundle = doctored(int8.folder, tmp_path)
    assert Model(open_bundle(bundle)).encode_texts(["a dog"]).shape == (1, 512)


def test_where_products_saturate_the_exact_kernels_are_asked_for(
    int8: Bundle, tmp_path: Path
) -> None:
    """The sums are wrong until the exact kernels are switched on; then they are checked again."""
    right = int8.probe
    wrong = open_bundle(doctored(int8.folder, tmp_path)).probe

    def saturating(_: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        return load_here(right if uses_exact_kernels(options) else wrong, options)

    assert uses_exact_kernels(make_exact(onnxruntime.SessionOptions(), wrong, saturating))
    assert not uses_exact_kernels(make_exact(onnxruntime.SessionOptions(), right, load_here))


def uses_exact_kernels(options: onnxruntime.SessionOptions) -> bool:
    try:
        return bool(options.get_session_config_entry(EXACT_KERNELS) == "1")
    except RuntimeError:  # never set
        return False


def test_the_exact_kernels_give_the_same_bits(int8: Bundle) -> None:
    """So vectors of a processor that needs them meet those of one that does not."""
    pixels = photographs(8)
    embeddings = []
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(EXACT_KERNELS, value)
        session = load_here(int8.vision, options)
        embeddings.append(session.run(None, {"pixels": pixels})[0])
    assert np.array_equal(*embeddings)


# In use


def test_a_collection_of_one_precision_refuses_the_other(
    int8: Bundle, folder: Path, tmp_path: Path
) -> None:
    """Exit 5, and which it is."""
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, folder / "summer")
    other = clipindex.Index(tmp_path / "store", model=str(int8.folder))
    for use in (lambda: other.query("a dog"), lambda: ingest(other, folder / "summer")):
        with pytest.raises(ContractMismatch, match=r"tiny-clip \(asked for: tiny-int8\)") as caught:
            use()
        assert caught.value.exit_code == ExitCode.CONTRACT
    other = clipindex.Index(tmp_path / "other", model=str(int8.folder))
    ingest(other, folder / "summer")
    assert other.status().precision == "int8"
    assert other.query(folder / "summer" / "003.jpg")[0].path == str(folder / "summer" / "003.jpg")


def test_precisions_of_one_name_are_told_apart(int8: Bundle) -> None:
    fp32 = contract_of(open_bundle(TINY), "exact", 1)
    same = replace(contract_of(int8, "exact", 1), model=fp32.model)
    with pytest.raises(ContractMismatch, match=r"another precision: fp32 \(asked for: int8\)"):
        fp32.check(same)


def test_manifests_with_and_without_a_report_can_be_read(int8: Bundle) -> None:
    """Those of fp32 have none; both survive being written again."""
    plain = Manifest.from_json((TINY / "model.json").read_text())
    assert plain.quantisation is None
    assert "quantisation" not in plain.to_json()
    reported = int8.manifest
    assert Manifest.from_json(reported.to_json()) == reported


def test_an_int8_model_is_for_cpus_whatever_is_asked_for(int8: Bundle) -> None:
    bundle = int8
    with pytest.raises(ProviderUnavailable, match="made for CPUs"):
        Model(bundle, Provider.CUDA)
    automatic = Model(bundle, Provider.AUTO)
    automatic.load()
    assert automatic.provider_in_use == "CPUExecutionProvider"


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_openvino_runs_the_same_int8_bundle(int8: Bundle) -> None:
    bundle, batch = int8, photographs(8)
    found, exact = (
        Model(bundle, provider).encode_images(batch)
        for provider in (Provider.OPENVINO, Provider.CPU)
    )
    assert (found * exact).sum(axis=1).min() >= 0.99
