"""The bundled model: it recognises a picture, and knows what words mean."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import clipindex
from clipindex.cli.demo_pictures import copy_pictures
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Model
from conftest import make_pictures

MEANINGS = {
    "a cat": "chelsea.png",
    "a cup of coffee": "coffee.png",
    "a rocket launch": "rocket.jpg",
    "a man with a camera": "camera.png",
    "a flower": "flower.jpg",
    "a Chinese temple": "china.jpg",
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    """Every picture that scikit-image and scikit-learn ship, indexed with the default model."""
    folder = tmp_path_factory.mktemp("shipped")
    assert len(copy_pictures(folder / "pictures")) >= 25
    index = clipindex.Index(folder / "index")
    index.ingest([folder / "pictures"])
    assert index.status().model == "mini"
    return index


@pytest.mark.parametrize(("text", "name"), MEANINGS.items())
def test_a_text_finds_the_picture_that_it_describes(
    shipped: clipindex.Index, text: str, name: str
) -> None:
    best = shipped.query(text)[0]
    assert Path(best.path).name == name


def test_an_identical_photograph_comes_first_with_one(shipped: clipindex.Index) -> None:
    for name in MEANINGS.values():
        path = Path(shipped.status().roots[0]) / name
        best = shipped.query(path)[0]
        assert (best.path, best.score) == (str(path), 1.0)


def test_a_collection_finds_its_model_by_name_when_its_place_is_gone(tmp_path: Path) -> None:
    """As when the virtual environment that held it was made anew."""
    shutil.copytree(find_bundle("mini").folder, tmp_path / "mini")
    make_pictures(tmp_path / "photos", 2)
    index = clipindex.Index(tmp_path / "store", model=str(tmp_path / "mini"))
    index.ingest([tmp_path / "photos"])
    shutil.rmtree(tmp_path / "mini")
    assert len(clipindex.Index(tmp_path / "store").query("colours")) == 2


def test_the_bundle_is_whole_and_small() -> None:
    bundle = find_bundle("mini")
    bundle.verify()
    assert sum(spec.bytes for spec in bundle.manifest.files.values()) <= 40_000_000


def test_vectors_agree_with_those_of_another_processor() -> None:
    """40 vectors made on arm64 (emulated by qemu 7.2, onnxruntime 1.32): a collection can be
    indexed on one kind of processor and queried on the other."""
    made_on_arm64 = np.load(Path(__file__).parent / "data" / "mini_arm64.npy")
    coarse = np.random.default_rng(7).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(28, axis=1).repeat(28, axis=2)
    vectors = Model(find_bundle("mini")).encode_images(pixels)
    assert made_on_arm64.shape == vectors.shape
    assert np.abs(vectors - made_on_arm64).max() <= 1e-6
