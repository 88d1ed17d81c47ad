"""`clipindex embed`: embeddings of texts and pictures, outside any collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clipindex.cli.app import app
from clipindex.model.encoder import Model
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing
from conftest import TINY, Ended, make_pictures


def embed(*arguments: str | Path, given: bytes = b"") -> Ended:
    call = ["embed", *map(str, arguments), "--model", str(TINY)]
    done = CliRunner().invoke(app, call, input=given, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def records(ended: Ended) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return make_pictures(tmp_path / "photos", 3)


def pixels_of(path: Path, model: Model) -> np.ndarray:
    geometry = model.bundle.image.geometry
    return decode(path.read_bytes(), geometry, Preprocessing.DCT_SCALED)[0]


def test_each_term_gets_the_vector_that_ingest_and_query_would_give_it(
    photos: list[Path], tiny_model: Model
) -> None:
    """A text, a picture, a text of several words: in the order of the terms, of length 1."""
    made = records(embed("a dog", photos[0], "a cat on a mat"))
    assert [record["kind"] for record in made] == ["text", "picture", "text"]
    assert (made[0]["text"], made[1]["path"]) == ("a dog", str(photos[0]))
    texts = tiny_model.encode_texts(["a dog", "a cat on a mat"])
    image = tiny_model.encode_images(pixels_of(photos[0], tiny_model)[None])
    expected = np.stack([texts[0], image[0], texts[1]])
    assert np.abs(np.array([record["embedding"] for record in made]) - expected).max() <= 1e-6
    assert {record["model"] for record in made} == {"tiny-clip"}
    assert made[0]["shape"] == [512]


def test_an_array_has_a_row_for_each_term(photos: list[Path], tmp_path: Path) -> None:
    """float32, in the order of the terms, and equal to what is printed."""
    output = tmp_path / "vectors.npy"
    assert embed(*photos, "a dog", "-o", output).out == ""
    array = np.load(output, allow_pickle=False)
    assert (array.shape, array.dtype) == ((4, 512), np.float32)
    printed = [record["embedding"] for record in records(embed(*photos, "a dog"))]
    assert np.array_equal(array, np.array(printed, dtype=np.float32))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["vectors.npy"]


def test_together_is_the_sum_that_a_query_of_both_would_be(
    photos: list[Path], tiny_model: Model
) -> None:
    (made,) = records(embed("a dog", photos[0], "--together"))
    both = tiny_model.encode_texts(["a dog"]) + tiny_model.encode_images(
        pixels_of(photos[0], tiny_model)[None]
    )
    assert made["kind"] == "both"
    assert np.abs(both[0] / np.linalg.norm(both[0]) - made["embedding"]).max() <= 1e-6


def test_standard_input_is_a_text_or_a_picture(photos: list[Path]) -> None:
    (text,) = records(embed("-", given=b"a dog\n"))
    (picture,) = records(embed("-", given=photos[0].read_bytes()))
    assert text["embedding"] == records(embed("a dog"))[0]["embedding"]
    assert picture["embedding"] == records(embed(photos[0]))[0]["embedding"]


def test_a_weight_is_part_of_a_text() -> None:
    """Nothing is added up here, so that 2*dog is just a text."""
    (made,) = records(embed("2*dog"))
    assert made["text"] == "2*dog"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to embed"),
        (["--text", " "], "empty text"),
        (["missing.jpg"], "there is no such picture"),
        (["a dog", "--together"], "one text and one picture, not 1 and 0"),
        (["a dog", "--embedding-type", "cls"], "has one kind of embedding"),
        (["a dog", "--max-length", "9"], "has one kind of embedding"),
        (["a dog", "-o", "vectors.txt"], "names a .npy file"),
        (["a dog", "-o", "missing/vectors.npy"], "the file cannot be written"),
    ],
)
def test_what_cannot_be_embedded_is_a_usage_error(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = embed(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


def test_a_damaged_picture_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much")
    ended = embed(tmp_path / "half.jpg", "-o", tmp_path / "x.npy")
    assert ended.code == 2
    assert "half.jpg" in ended.err
    assert not (tmp_path / "x.npy").exists()
