"""Vision-language models: every kind of embedding, against torch and through the command.

Needs the `convert` extra; the model is tiny, of SmolVLM2's architecture, with random weights.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clipindex.cli.app import app
from clipindex.collection.contract import contract_of
from clipindex.errors import ClipIndexWarning, ContractMismatch, UsageError
from clipindex.model.bundle import Bundle, open_bundle
from clipindex.model.loading import open_model
from clipindex.model.merged import EmbeddingType, MergedModel, Sequences
from clipindex.model.providers import Provider
from conftest import make_pictures

pytest.importorskip("torch", reason="conversion needs torch: pip install '.[convert]'")
pytest.importorskip("open_clip", reason="conversion needs open_clip: pip install '.[convert]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import convert_to_onnx
import tiny_checkpoints
from exporter.convert import read_source
from exporter.merged import MergedSide
from exporter.parity import trial_pictures
from exporter.source import scaled_pictures

TEXTS = ["a dog", "the eiffel tower at night", "a windy beach"]
FILLED = ["--max-length", "30", "--padding", "max_length"]
POOLED = [kind for kind in EmbeddingType if kind is not EmbeddingType.LAST_LAYER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, `checkpoint`, and its bundle, `bundle`."""
    made = tmp_path_factory.mktemp("smolvlm")
    tiny_checkpoints.smolvlm(made / "checkpoint")
    converted = convert_to_onnx.main([str(made / "checkpoint"), "--output", str(made / "bundle")])
    assert converted == 0
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> MergedModel:
    opened = open_model(bundle)
    assert isinstance(opened, MergedModel)
    return opened


@pytest.fixture(scope="module")
def side(folder: Path) -> MergedSide:
    """What torch says."""
    source = read_source(str(folder / "checkpoint"), revision=None, licence="none")
    assert source.merged is not None
    return source.merged


@pytest.fixture
def pixels() -> np.ndarray:
    return trial_pictures(3, seed=8, size=tiny_checkpoints.SIZE)


@pytest.mark.parametrize("kind", EmbeddingType)
@pytest.mark.parametrize("given", ["texts", "pictures", "both"])
def test_every_kind_of_embedding_is_that_of_torch(
    kind: EmbeddingType, given: str, side: MergedSide, model: MergedModel, pixels: np.ndarray
) -> None:
    """From words and pixels, of three inputs of different lengths at once, each beside padding."""
    texts = TEXTS if given != "pictures" else None
    seen = pixels if given != "texts" else None
    made = model.embed(texts=texts, pixels=seen, kind=kind)
    ids = [list(row) for row in side.tokenize(TEXTS)]
    pictures = None if seen is None else scaled_pictures(seen, side.image.mean, side.image.std)
    for number, actual in enumerate(made):
        kept = [token for token in ids[number] if token != side.text.pad_id] if texts else []
        one = np.array([kept], dtype=np.int64)
        picture = None if pictures is None else pictures[number : number + 1]
        expected = side.reference(picture, one, np.ones_like(one))[kind.value][0]
        if kind is not EmbeddingType.LAST_LAYER:
            expected = expected / np.linalg.norm(expected)
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= 1e-4


@pytest.mark.parametrize("kind", POOLED)
def test_different_inputs_have_different_vectors_under_each_pooling(
    kind: EmbeddingType, model: MergedModel, pixels: np.ndarray
) -> None:
    """Texts, pictures, pictures with texts: no two of them are taken for one. (By its first token
    a causal decoder would give all texts that begin alike the same vector.)"""
    alike = ["a dog", "a dog and a cat", "a windy beach"]
    vectors = np.concatenate(
        [
            model.embed(texts=alike, kind=kind),
            model.embed(pixels=pixels, kind=kind),
            model.embed(texts=alike, pixels=pixels, kind=kind),
            model.embed(texts=alike[::-1], pixels=pixels, kind=kind)[::2],
        ]
    )
    between = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
    assert between.max() < 0.9999


def test_padding_changes_no_vector(model: MergedModel, pixels: np.ndarray) -> None:
    """Alone, beside a longer text, or filled to the longest sequence there may be."""
    to_the_end = Sequences(padding="max_length")
    for kind in POOLED:
        (alone,) = model.embed(texts=TEXTS[:1], pixels=pixels[:1], kind=kind)
        beside = model.embed(texts=TEXTS, pixels=pixels, kind=kind)[0]
        (filled,) = model.embed(texts=TEXTS[:1], pixels=pixels[:1], kind=kind, sequences=to_the_end)
        assert np.abs(beside - alone).max() <= 1e-5
        assert np.abs(filled - alone).max() <= 1e-5


def test_hidden_states_come_without_padding_or_filled_with_zeros(model: MergedModel) -> None:
    kind, length = EmbeddingType.LAST_LAYER, model.spec.max_length
    plain = model.embed(texts=TEXTS, kind=kind)
    assert len({len(states) for states in plain}) > 1
    filled = model.embed(texts=TEXTS, kind=kind, sequences=Sequences(padding="max_length"))
    for short, long in zip(plain, filled, strict=True):
        assert long.shape == (length, short.shape[1])
        assert np.abs(long[: len(short)] - short).max() <= 1e-4
        assert not long[len(short) :].any()


def test_a_text_is_cut_where_the_sequence_ends_and_the_user_is_told(
    model: MergedModel, pixels: np.ndarray
) -> None:
    """The picture stays whole; what is cut is the same as if it had not been there."""
    text, kind = "a dog and a cat " * 20, EmbeddingType.CLS
    room = Sequences(max_length=model.spec.picture_length + 4)
    with pytest.warns(ClipIndexWarning, match="there is room for 4"):
        (cut,) = model.embed(texts=[text], pixels=pixels[:1], kind=kind, sequences=room)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (other,) = model.embed(
            texts=[text + "and more"], pixels=pixels[:1], kind=kind, sequences=room
        )
    assert np.array_equal(cut, other)
    whole = replace(room, truncation=False)
    with pytest.raises(UsageError, match="there is room for 4"):
        model.embed(texts=[text], pixels=pixels[:1], kind=kind, sequences=whole)


@pytest.mark.parametrize("length", [1, 7, 100_000])
def test_a_length_that_the_model_does_not_have_is_refused(length: int, model: MergedModel) -> None:
    with pytest.raises(UsageError, match=f"--max-length {length}"):
        model.embed(texts=TEXTS, kind=EmbeddingType.CLS, sequences=Sequences(max_length=length))


def test_pooling_is_in_the_contract(bundle: Bundle, tmp_path: Path) -> None:
    """Vectors of one pooling never meet those of another, though the files are the same."""
    import shutil

    shutil.copytree(bundle.folder, tmp_path / "other")
    fields = json.loads((tmp_path / "other" / "model.json").read_text())
    fields["merged"]["pooling"] = "cls"
    (tmp_path / "other" / "model.json").write_text(json.dumps(fields))
    mean, cls = (
        contract_of(each, "exact", 1) for each in (bundle, open_bundle(tmp_path / "other"))
    )
    assert (mean.image["pooling"], cls.image["pooling"]) == ("mean", "cls")
    with pytest.raises(ContractMismatch):
        mean.check(cls)


def test_it_has_no_int8_form(bundle: Bundle, tmp_path: Path) -> None:
    from clipindex.model.int8.bundle import quantise
    from clipindex.model.int8.pictures import Pictures

    none = Pictures(*[np.zeros((0, 64, 64, 3), dtype=np.uint8)] * 2)
    with pytest.raises(UsageError, match="no int8 form"):
        quantise(bundle, "x-int8", none, 8, tmp_path / "x", lambda *_: None)


def test_the_gpu_is_refused_not_left_out(bundle: Bundle) -> None:
    from clipindex.errors import ProviderUnavailable

    with pytest.raises(ProviderUnavailable, match="CPU alone"):
        open_model(bundle, Provider.CUDA)


def test_pictures_are_indexed_and_found_with_it(bundle: Bundle, tmp_path: Path) -> None:
    """The model fits where any other does: ingest, then a picture and a text as queries."""
    photos = make_pictures(tmp_path / "photos", 4)
    where = ["--store", str(tmp_path / "store")]
    run = CliRunner()
    given = ["ingest", str(tmp_path / "photos"), "--model", str(bundle.folder), *where]
    done = run.invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    for term, expected in ((str(photos[2]), "1.0000"), ("a dog", "")):
        query = run.invoke(app, ["query", term, *where], catch_exceptions=False)
        assert query.exit_code == 0, query.stderr
        assert query.stdout.startswith(expected)
        assert query.stdout.count("\n") == 4


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ([], [32]),
        (["--embedding-type", "cls"], [32]),
        (["--embedding-type", "multi_layer"], [32]),
        (
            ["--embedding-type", "last_layer", "--max-length", "30", "--padding", "max_length"],
            [30, 32],
        ),
    ],
)
def test_the_command_prints_each_kind(
    options: list[str], shape: list[int], bundle: Bundle, tmp_path: Path
) -> None:
    (photo,) = make_pictures(tmp_path, 1)
    call = ["embed", "a dog", str(photo), "--together", "--model", str(bundle.folder), *options]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["kind"], record["shape"]) == ("both", shape)
    assert record["embedding_type"] == (options[1] if options else "mean")


def test_idefics3_is_of_the_same_kind(tmp_path: Path) -> None:
    tiny_checkpoints.smolvlm(tmp_path / "checkpoint", kind="idefics3")
    arguments = [str(tmp_path / "checkpoint"), "--output", str(tmp_path / "bundle")]
    assert convert_to_onnx.main([*arguments, "--pooling", "cls"]) == 0
    assert json.loads((tmp_path / "bundle" / "model.json").read_text())["merged"] == {
        "pooling": "cls",
        "max_length": 256,
        "picture_length": 7,
    }


def test_an_activation_of_the_decoder_that_is_not_known_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_checkpoints.smolvlm(tmp_path / "checkpoint", activation="relu")
    arguments = [str(tmp_path / "checkpoint"), "--output", str(tmp_path / "bundle")]
    assert convert_to_onnx.main(arguments) == 1
    assert "activation 'relu' of the decoder" in capsys.readouterr().err
