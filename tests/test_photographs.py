"""The 500 real photographs, whole way: what a user would check by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipindex
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.search.query import QueryOptions, search
from clipindex.search.terms import Query, embed_picture
from conftest import TINY, ingest, reconciles


@pytest.fixture(scope="module")
def indexed(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    """A collection of all 500, made once."""
    index = clipindex.Index(tmp_path_factory.mktemp("store"), model=str(TINY))
    run = ingest(index, captioned)
    assert run.summary.new == run.summary.points == run.summary.embedded == 500
    assert reconciles(run.summary)
    return index


def test_every_photograph_finds_itself_first_with_and_without_its_content(
    indexed: clipindex.Index, captioned: Path, tiny_model: Model
) -> None:
    with indexed.place.open_for_reading(indexed.place.locate().require(), "test") as store:
        for path in sorted(captioned.iterdir()):
            query = embed_picture(path, tiny_model, Preprocessing.DCT_SCALED)
            for asked in (query, Query(query.vector)):  # the second by its vector alone
                (hit,) = search(store, asked, QueryOptions(limit=1))
                assert (hit.path, hit.score) == (str(path), 1.0)


def test_a_lossless_copy_under_other_bytes_is_as_good_as_equal(
    indexed: clipindex.Index, captioned: Path, tmp_path: Path
) -> None:
    for path in sorted(captioned.iterdir())[::25]:
        copy = tmp_path / f"{path.stem}.png"
        with Image.open(path) as image:
            image.save(copy)
        (hit,) = indexed.query(copy, QueryOptions(limit=1))
        assert (hit.path, hit.score) == (str(path), 1.0)


def test_different_photographs_have_different_vectors(indexed: clipindex.Index) -> None:
    with indexed.place.open_for_reading(indexed.place.locate().require(), "test") as store:
        points = store.retrieve([id for id, _ in store.scroll()])
    vectors = np.stack([point.vector for point in points.values()])
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors), dtype=np.float32)
    assert cosines.max() < 0.9999


def test_a_second_run_a_rename_and_a_copy_cost_no_inference(
    captioned: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(captioned, photos)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, photos)
    again = ingest(index, photos).summary
    assert (again.unchanged, again.embedded, again.written) == (500, 0, 0)
    (photos / "c000.jpg").rename(photos / "renamed.jpg")
    shutil.copy(photos / "c001.jpg", photos / "copy.jpg")
    last = ingest(index, photos).summary
    assert (last.moved, last.duplicate, last.embedded, last.written) == (1, 1, 0, 2)
    assert last.points == 501
    assert reconciles(last)


def test_a_photograph_has_one_vector_alone_in_a_batch_and_anywhere_in_it(
    captioned: Path, tiny_model: Model
) -> None:
    spec = open_bundle(TINY).manifest.image
    paths = sorted(captioned.iterdir())[:50]
    pixels = [
        decode(path.read_bytes(), Geometry(spec.size, spec.fit), Preprocessing.DCT_SCALED)[0]
        for path in paths
    ]
    alone = np.concatenate([tiny_model.encode_images(each[np.newaxis]) for each in pixels])
    for start in range(0, 50, 25):
        together = tiny_model.encode_images(np.stack(pixels[start : start + 25]))
        assert np.abs(together - alone[start : start + 25]).max() <= 1e-6
