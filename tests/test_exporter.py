"""Every class of checkpoints becomes a bundle that says what its own library says.

Needs the `convert` extra; without it everything here is skipped. The checkpoints are tiny, have
random weights, and lie in temporary folders: nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipindex.errors import ModelError
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from conftest import TINY

pytest.importorskip("torch", reason="conversion needs torch: pip install '.[convert]'")
pytest.importorskip("transformers", reason="conversion needs transformers: '.[convert]'")
pytest.importorskip("onnx", reason="conversion needs onnx: pip install '.[convert]'")
pytest.importorskip("open_clip", reason="conversion needs open_clip: pip install '.[convert]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import convert_to_onnx
import tiny_checkpoints
from exporter.convert import read_source
from exporter.parity import trial_pictures
from exporter.source import Source

CLIP_STATISTICS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# class -> dimension, what its pictures and its texts must be like
EXPECTED: dict[str, tuple[int, dict[str, Any] | None, dict[str, Any] | None]] = {
    "clip": (
        512,
        {"size": 224, "interpolation": "bicubic", "fit": "crop", "mean": CLIP_STATISTICS[0]},
        {"context_length": 77, "pad": "longest", "cleaning": "openai"},
    ),
    "openclip": (
        24,
        {"size": 64, "interpolation": "bicubic", "fit": "crop", "mean": (0.4, 0.4, 0.4)},
        {"context_length": 77, "pad": "longest", "cleaning": "openai"},
    ),
    "siglip": (
        32,
        {"size": 64, "interpolation": "bilinear", "fit": "squash", "std": (0.5, 0.5, 0.5)},
        {"context_length": 16, "pad": "max", "pad_id": 0, "cleaning": "lower"},
    ),
    "openclip_siglip": (
        32,
        {"size": 64, "interpolation": "bicubic", "fit": "squash", "std": (0.5, 0.5, 0.5)},
        {"context_length": 16, "pad": "max", "pad_id": 0, "cleaning": "canonical"},
    ),
    "mobileclip": (
        24,
        {"size": 64, "interpolation": "bilinear", "fit": "crop", "std": (1, 1, 1)},
        {"context_length": 77, "pad": "max", "pad_id": 0, "cleaning": "openai"},
    ),
    "multilingual": (
        512,
        None,
        {"context_length": 24, "pad": "longest", "pad_id": 0, "cleaning": "none"},
    ),
    "dinov2": (
        32,
        {"size": 64, "resize": 80, "fit": "crop", "mean": (0.485, 0.456, 0.406)},
        None,
    ),
}


def mate_of(kind: str) -> list[str]:
    return ["--mate", str(TINY)] if kind == "multilingual" else []


def convert(checkpoint: Path, output: Path, *options: str) -> int:
    return convert_to_onnx.main([str(checkpoint), "--output", str(output), *options])


def source_of(kind: str, folder: Path) -> Source:
    mate = str(TINY) if kind == "multilingual" else None
    return read_source(str(folder), revision=None, licence="none", mate=mate)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A class's checkpoint and its bundle, `checkpoint` and `bundle` in one folder; made once."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            folder = made[kind] = tmp_path_factory.mktemp(kind)
            getattr(tiny_checkpoints, kind)(folder / "checkpoint")
            assert convert(folder / "checkpoint", folder / "bundle", *mate_of(kind)) == 0
        return made[kind]

    return make


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_bundle_says_of_pictures_and_texts_what_the_checkpoints_own_library_says(
    kind: str, checkpoints: Callable[[str], Path]
) -> None:
    """Through clipindex's own door, from pixels and from words; and no two are taken for one."""
    folder = checkpoints(kind)
    dimension, image, text = EXPECTED[kind]
    source, model = source_of(kind, folder / "checkpoint"), Model(open_bundle(folder / "bundle"))
    if image is not None:
        pixels = trial_pictures(8, seed=4, size=image["size"])
        check_same(source.vision.reference(pixels), model.encode_images(pixels), dimension)
    if text is not None:
        texts = ["A Dog, and a cat!", "the eiffel tower", "windy beach (1954)", "fünf Jäger"]
        ids = source.text.tokenize(texts)
        check_same(source.text.reference(ids), model.encode_texts(texts), dimension)


def check_same(expected: np.ndarray, actual: np.ndarray, dimension: int) -> None:
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert actual.shape == (len(expected), dimension)
    assert (unit * actual).sum(axis=1).min() >= 0.99999
    between = (actual @ actual.T)[np.triu_indices(len(actual), k=1)]
    assert between.max() < 0.999


@pytest.mark.parametrize("kind", EXPECTED)
def test_how_pictures_and_texts_are_prepared_is_read_from_the_checkpoint(
    kind: str, checkpoints: Callable[[str], Path]
) -> None:
    """Size, fit, colours, context, padding and cleaning are in the manifest; a side that the model
    lacks is not."""
    manifest = open_bundle(checkpoints(kind) / "bundle").manifest
    dimension, *sides = EXPECTED[kind]
    assert manifest.dimension == dimension
    for spec, expected in zip((manifest.image, manifest.text), sides, strict=True):
        if expected is None:
            assert spec is None
        else:
            assert {name: getattr(spec, name) for name in expected} == expected


def test_a_text_tower_alone_names_the_vision_tower_that_it_was_trained_for(
    checkpoints: Callable[[str], Path],
) -> None:
    """By the digests of its mate's files, so that no other vectors are searched with it."""
    mate = open_bundle(checkpoints("multilingual") / "bundle").manifest.mate
    tiny = open_bundle(TINY)
    assert mate is not None
    assert (mate.model, mate.files) == (tiny.manifest.model, tiny.vision_files)


def test_a_picture_model_says_that_it_reads_no_texts(checkpoints: Callable[[str], Path]) -> None:
    """And what to do instead."""
    model = Model(open_bundle(checkpoints("dinov2") / "bundle"))
    with pytest.raises(ModelError, match="no text tower") as caught:
        model.encode_texts(["a dog"])
    assert "picture" in str(caught.value.hint)


def test_registers_of_a_dinov2_are_part_of_its_sequence(tmp_path: Path) -> None:
    tiny_checkpoints.dinov2(tmp_path / "checkpoint", registers=3)
    assert convert(tmp_path / "checkpoint", tmp_path / "bundle") == 0


def test_a_tower_of_another_kind_is_exported_as_it_is(tmp_path: Path) -> None:
    """A vision transformer that averages its tokens has no fast form, and is right all the same."""
    tiny_checkpoints.openclip(tmp_path / "checkpoint", pool_type="avg")
    assert convert(tmp_path / "checkpoint", tmp_path / "bundle") == 0


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("clip", {"activation": "quick_gelu"}, {"activation": "gelu"}),
        ("openclip", {"quick_gelu": True}, {"quick_gelu": False}),
        ("siglip", {"activation": "gelu"}, {"activation": "gelu_pytorch_tanh"}),
    ],
)
def test_the_activation_is_read_from_the_configuration(
    kind: str, first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    """The same weights under another activation are another tower, and each agrees with torch."""
    outputs = []
    for number, settings in enumerate((first, second)):
        folder = tmp_path / str(number)
        getattr(tiny_checkpoints, kind)(folder, **settings)
        source = source_of(kind, folder)
        pixels = trial_pictures(4, size=source.vision.spec.size)
        expected = source.vision.reference(pixels)
        outputs.append(np.asarray(tower_output(source, pixels)))
        assert np.abs(outputs[-1] - expected).max() < 1e-4
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4


def tower_output(source: Source, pixels: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return source.vision.tower(torch.from_numpy(pixels)).numpy()


def change(folder: Path, name: str, **fields: Any) -> None:
    stated = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**stated, **fields}))


def change_inner(folder: Path, name: str, part: str, **fields: Any) -> None:
    stated = json.loads((folder / name).read_text())
    part_of = stated["model_cfg"] if part == "text_cfg" else stated
    part_of[part].update(fields)
    (folder / name).write_text(json.dumps(stated))


OPEN_CLIP, PREPROCESSOR = "open_clip_config.json", "preprocessor_config.json"
REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an activation that is not known": (
        "siglip",
        lambda folder: change_inner(folder, "config.json", "vision_config", hidden_act="silu"),
        "activation 'silu' is not supported",
    ),
    "an activation behind a mean": (
        "multilingual",
        lambda folder: change(folder, "2_Dense/config.json", activation_function="x.Tanh"),
        "activation x.Tanh of the dense layer",
    ),
    "a pooling that is not known": (
        "multilingual",
        lambda folder: change(folder, "1_Pooling/config.json", pooling_mode_cls_token=True),
        "only the mean is known",
    ),
    "a mate of another dimension": (
        "multilingual",
        lambda folder: tiny_checkpoints.multilingual(folder, dimension=64),
        "texts of 64 numbers; the vectors of tiny-clip have 512",
    ),
    "pictures of another size than the tower's": (
        "siglip",
        lambda folder: change(folder, PREPROCESSOR, size={"height": 96, "width": 96}),
        "pictures of 96 pixels; the vision tower takes 64",
    ),
    "pictures that are padded to a square": (
        "openclip",
        lambda folder: change_inner(folder, OPEN_CLIP, "preprocess_cfg", resize_mode="longest"),
        "resize_mode 'longest'",
    ),
    "an interpolation that clipindex does not have": (
        "dinov2",
        lambda folder: change(folder, PREPROCESSOR, resample=0),
        "image.interpolation",
    ),
    "pictures that are not scaled to 0..1": (
        "dinov2",
        lambda folder: change(folder, PREPROCESSOR, do_rescale=False),
        "do_rescale off",
    ),
    "a tokenizer whose cleaning is not known": (
        "siglip",
        lambda folder: change(folder, "tokenizer_config.json", tokenizer_class="T5Tokenizer"),
        "the tokenizer 'T5Tokenizer'",
    ),
    "texts that are cleaned in a way that clipindex does not have": (
        "openclip_siglip",
        lambda folder: change_inner(
            folder, OPEN_CLIP, "text_cfg", tokenizer_kwargs={"clean": "whitespace"}
        ),
        "cleaned by 'whitespace'",
    ),
    "a text tower that pools in another way": (
        "openclip",
        lambda folder: change_inner(folder, OPEN_CLIP, "text_cfg", pool_type="first"),
        "pools by 'first'",
    ),
    "a SigLIP 2 of free resolution": (
        "siglip",
        lambda folder: change(folder, "config.json", model_type="siglip2"),
        "fixed resolution",
    ),
    "a model of no known class": (
        "dinov2",
        lambda folder: change(folder, "config.json", model_type="bert"),
        "of the kind 'bert'; known are CLIP, SigLIP",
    ),
    "a damaged configuration": (
        "dinov2",
        lambda folder: (folder / "config.json").write_text("{") and None,
        "config.json of the checkpoint is damaged",
    ),
    "a damaged tokenizer": (
        "siglip",
        lambda folder: change_inner(folder, "tokenizer.json", "model", merges=[["no", "pair"]]),
        "tokenizer.json of the checkpoint is damaged",
    ),
    "layers that have no fast form": (
        "dinov2",
        lambda folder: tiny_checkpoints.dinov2(folder, swiglu=True),
        "SwiGLU",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_give_other_vectors_is_refused_and_leaves_nothing(
    what: str,
    checkpoints: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import shutil

    kind, spoil, said = REFUSED[what]
    shutil.copytree(checkpoints(kind) / "checkpoint", tmp_path / "checkpoint")
    spoil(tmp_path / "checkpoint")
    assert convert(tmp_path / "checkpoint", tmp_path / "bundle", *mate_of(kind)) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_tokens_that_differ_from_the_librarys_are_refused(
    checkpoints: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text tower that is given other tokens than in training finds other pictures."""
    import shutil

    shutil.copytree(checkpoints("siglip") / "checkpoint", tmp_path / "checkpoint")
    change_inner(tmp_path / "checkpoint", "tokenizer.json", "normalizer", content="_")
    assert convert(tmp_path / "checkpoint", tmp_path / "bundle") == 1
    assert "the checkpoint's library" in capsys.readouterr().err


def test_a_text_tower_alone_needs_a_mate(
    checkpoints: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = checkpoints("multilingual") / "checkpoint"
    assert convert(checkpoint, tmp_path / "bundle") == 1
    assert "--mate" in capsys.readouterr().err
    other = checkpoints("dinov2") / "checkpoint"
    assert convert(other, tmp_path / "bundle", "--mate", str(TINY)) == 1
    assert "--mate is for a text tower alone" in capsys.readouterr().err


def test_int8_is_refused_where_it_cannot_be_made(
    checkpoints: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never fp32 in silence where int8 was asked for."""
    checkpoint = checkpoints("multilingual") / "checkpoint"
    options = ["--precision", "int8", "--calibrate", str(tmp_path), *mate_of("multilingual")]
    assert convert(checkpoint, tmp_path / "bundle", *options) == 1
    assert "this model has none" in capsys.readouterr().err
