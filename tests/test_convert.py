"""The converter keeps its word: a bundle that says what torch says, or no bundle at all.

Needs the `convert` extra; without it everything here is skipped.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from clipindex.model.bundle import open_bundle
from conftest import make_pictures

torch = pytest.importorskip("torch", reason="conversion needs torch: pip install '.[convert]'")
pytest.importorskip("transformers", reason="conversion needs transformers: '.[convert]'")

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = Path(__file__).parent / "data" / "tiny"
sys.path.insert(0, str(SCRIPTS))  # the scripts are no package; they import one another by name

import convert_to_onnx  # noqa: E402
import random_clip  # noqa: E402
from exporter import bundle as exported  # noqa: E402
from exporter import clip, parity  # noqa: E402
from exporter.convert import convert as write_bundle  # noqa: E402
from exporter.preprocessors import CLIP_DEFAULTS, from_transformers  # noqa: E402
from exporter.source import Source  # noqa: E402

if TYPE_CHECKING:
    from transformers import CLIPModel

Array = NDArray[Any]


def convert(*arguments: str | Path) -> int:
    return convert_to_onnx.main([str(argument) for argument in arguments])


def source_of(model: CLIPModel) -> Source:
    size = model.config.vision_config.image_size
    return Source(
        name="test",
        revision="1",
        licence="none",
        origin="a test",
        architecture=clip.architecture(model),
        dimension=model.config.projection_dim,
        vision=clip.vision_side(model, from_transformers({}, CLIP_DEFAULTS, model_size=size)),
        text=clip.text_side(model, TINY / "tokenizer.json"),
    )


@pytest.fixture(scope="module")
def tiny_model() -> CLIPModel:
    return random_clip.random_clip(random_clip.tiny(), seed=7)


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    assert convert("--random-weights", "--tiny", "--seed", "7", "--output", output) == 0
    return output


@pytest.fixture(scope="module")
def vision(tiny_bundle: Path) -> Callable[[Array], Array]:
    return parity.load_tower(tiny_bundle / "vision.onnx")


@pytest.fixture(scope="module")
def text(tiny_bundle: Path) -> Callable[[Array], Array]:
    return parity.load_tower(tiny_bundle / "text.onnx")


def test_the_towers_have_the_interface_of_every_bundle(tiny_bundle: Path) -> None:
    """Names, types and shapes are what clipindex asks for, batch and sequence free."""
    towers = {
        "vision.onnx": (
            ("pixels", "tensor(uint8)", ["batch", 224, 224, 3]),
            ("image_embeds", "tensor(float)", ["batch", 512]),
        ),
        "text.onnx": (
            ("input_ids", "tensor(int64)", ["batch", "sequence"]),
            ("text_embeds", "tensor(float)", ["batch", 512]),
        ),
    }
    for name, interface in towers.items():
        session = onnxruntime.InferenceSession(
            tiny_bundle / name, providers=["CPUExecutionProvider"]
        )
        described = (*session.get_inputs(), *session.get_outputs())
        assert tuple((each.name, each.type, each.shape) for each in described) == interface


def test_the_manifest_describes_every_file_as_it_is(tiny_bundle: Path) -> None:
    """Size and SHA-256 of each file that clipindex loads, and nothing missing."""
    manifest = json.loads((tiny_bundle / "model.json").read_text())
    assert sorted(manifest["files"]) == ["text.onnx", "tokenizer.json", "vision.onnx"]
    for name, stated in manifest["files"].items():
        content = (tiny_bundle / name).read_bytes()
        assert stated == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (manifest["dimension"], manifest["opset"]) == (512, exported.OPSET)


def test_the_committed_bundle_is_in_every_field_what_the_script_writes_today(
    tiny_bundle: Path,
) -> None:
    """tests/data/tiny differs from a new tiny bundle in its seed and hence its hashes alone."""
    fresh, committed = (
        json.loads((folder / "model.json").read_text()) for folder in (tiny_bundle, TINY)
    )
    for manifest in (fresh, committed):
        del manifest["revision"], manifest["source"]
        manifest["files"]["vision.onnx"] = manifest["files"]["text.onnx"] = "weights differ"
    assert fresh == committed


def test_the_same_seed_gives_the_same_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bundle can be made again: nothing of the machine or the day is in it."""
    again = tmp_path / "again"
    assert convert("--random-weights", "--tiny", "--seed", "7", "--output", again) == 0
    for path in tiny_bundle.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_pictures_vector_is_that_of_torch(
    vision: Callable[[Array], Array], tiny_model: CLIPModel
) -> None:
    """At every batch size, on pictures that the script's own check did not see."""
    pictures = parity.trial_pictures(25, seed=99, size=224)
    reference = source_of(tiny_model).vision.reference
    for size in (1, 2, 7, 25):
        expected = reference(pictures[:size])
        agreement = parity.Agreement.between(expected, vision(pictures[:size]))
        assert agreement.smallest_cosine >= 0.999999
        assert agreement.largest_difference <= 1e-5


def test_a_vector_is_the_same_at_every_place_in_a_batch(vision: Callable[[Array], Array]) -> None:
    """Alone, or anywhere among 24 others: the same to 1e-6."""
    pictures = parity.trial_pictures(25, seed=5, size=224)
    alone = parity.unit_length(vision(pictures[:1]))
    for place in range(25):
        moved = np.roll(pictures, place, axis=0)
        together = parity.unit_length(vision(moved))
        assert np.abs(together[place] - alone[0]).max() <= 1e-6


def test_different_pictures_have_clearly_different_vectors(
    vision: Callable[[Array], Array],
) -> None:
    """Random weights see: no two pictures come near to being taken for one another."""
    unit = parity.unit_length(vision(parity.trial_pictures(25, size=224)))
    cosines = (unit @ unit.T)[np.triu_indices(25, k=1)]
    assert cosines.max() < 0.999
    assert cosines.mean() < 0.9


def test_a_grey_level_of_noise_does_not_move_a_picture(vision: Callable[[Array], Array]) -> None:
    """Random weights are not chaotic: noise of one level in 255 leaves the vector in place."""
    pictures = parity.trial_pictures(25, size=224)
    noise = np.random.default_rng(1).integers(-1, 2, pictures.shape)
    noisy = np.clip(pictures.astype(int) + noise, 0, 255).astype(np.uint8)
    agreement = parity.Agreement.between(vision(pictures), vision(noisy))
    assert agreement.smallest_cosine >= 0.9999


def test_a_texts_vector_does_not_depend_on_what_follows_its_end(
    text: Callable[[Array], Array],
) -> None:
    """Padded with 0, with end-of-text or not at all: the first end-of-text token decides."""
    end = random_clip.END_OF_TEXT
    ids = np.array([[random_clip.START_OF_TEXT, 320, 1125, end]])
    alone = text(ids)
    for filler in (0, end, 320):
        padded = np.full((1, random_clip.CONTEXT), filler)
        padded[:, :4] = ids
        assert parity.Agreement.between(alone, text(padded)).largest_difference <= 1e-6


def test_texts_of_every_length_agree_with_torch(
    text: Callable[[Array], Array], tiny_model: CLIPModel
) -> None:
    """From the empty text to the full context, one by one and together."""
    side = source_of(tiny_model).text
    for length in (2, 5, 40, random_clip.CONTEXT):
        ids = parity.trial_texts(7, length, side.vocabulary, seed=3)
        expected = side.reference(ids)
        assert parity.Agreement.between(expected, text(ids)).smallest_cosine >= 0.999999


def test_the_tokenizer_neither_cuts_nor_pads(tiny_bundle: Path) -> None:
    """Cutting and padding are clipindex's own work, with a warning when text is cut."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_bundle / "tokenizer.json"))
    assert len(tokenizer.encode("a dog").ids) == 4
    assert len(tokenizer.encode("dog " * 100).ids) == 102


def test_the_vocabularys_notice_goes_with_it(tiny_bundle: Path) -> None:
    """OpenAI's vocabulary may be handed on with its MIT notice, and is."""
    assert "Copyright (c) 2021 OpenAI" in (tiny_bundle / "LICENSE-tokenizer.txt").read_text()


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_checkpoint_folder_becomes_a_bundle(activation: str, tmp_path: Path) -> None:
    """What save_pretrained wrote is converted, with its own mean, tokenizer and activation."""
    config = random_clip.tiny()
    config.vision_config.hidden_act = config.text_config.hidden_act = activation
    model = random_clip.random_clip(config, seed=3)
    checkpoint = tmp_path / "my-clip"
    model.save_pretrained(checkpoint)
    (checkpoint / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (checkpoint / "preprocessor_config.json").write_text(json.dumps(statistics))

    output = tmp_path / "bundle"
    assert convert(checkpoint, "--output", output) == 0

    manifest = json.loads((output / "model.json").read_text())
    assert manifest["model"] == "my-clip"
    assert manifest["image"]["mean"] == statistics["image_mean"]
    assert str(tmp_path) not in (output / "model.json").read_text()
    pictures = parity.trial_pictures(3, seed=11, size=224)
    spec = from_transformers(statistics, CLIP_DEFAULTS, model_size=224)
    expected = clip.vision_side(model, spec).reference(pictures)
    actual = parity.load_tower(output / "vision.onnx")(pictures)
    assert parity.Agreement.between(expected, actual).smallest_cosine >= 0.999999


def test_a_checkpoint_without_a_tokenizer_is_refused(
    tiny_model: CLIPModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle that cannot read text is none."""
    tiny_model.save_pretrained(tmp_path / "checkpoint")
    assert convert(tmp_path / "checkpoint", "--output", tmp_path / "bundle") == 1
    assert "tokenizer.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_an_output_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is overwritten, and the message says what to do."""
    (tmp_path / "mine.txt").write_text("keep")
    assert convert("--random-weights", "--tiny", "--output", tmp_path) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_disagreement_with_torch_leaves_nothing_behind(
    tower: str, tiny_model: CLIPModel, tmp_path: Path
) -> None:
    """A reference that differs in a single weight matrix of either tower stops the conversion."""
    changed = random_clip.random_clip(random_clip.tiny(), seed=7)
    with torch.no_grad():
        getattr(changed, f"{tower}_model").encoder.layers[0].mlp.fc2.weight[0] += 0.05
    source = source_of(tiny_model)
    other = getattr(source_of(changed), tower).reference
    source = replace(source, **{tower: replace(getattr(source, tower), reference=other)})
    with pytest.raises(exported.BundleRefused, match="to the reference is below"):
        write_bundle(source, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_tower_that_mixes_its_batch_is_refused() -> None:
    """A vector that depends, however little, on its neighbours may not go into an index."""
    pictures = parity.trial_pictures(25, size=224)

    def mixing(pixels: Array) -> Array:
        embeddings = np.ones((len(pixels), 512))
        embeddings[:, 0] += 5e-5 * len(pixels)
        return embeddings

    with pytest.raises(exported.BundleRefused, match="moves by"):
        parity.check_independence(mixing, pictures, "vision.onnx")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vision_config": {"hidden_act": "relu"}}, "relu"),
        ({"text_config": {"eos_token_id": 5}}, "tokenizer"),
    ],
)
def test_a_model_that_would_be_misread_is_refused(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Unknown activations and end tokens each get their own message."""
    config = random_clip.tiny().to_dict()
    for key, value in change.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    model = random_clip.random_clip(type(random_clip.tiny()).from_dict(config), seed=0)
    with pytest.raises(exported.BundleRefused, match=reason):
        write_bundle(source_of(model), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_old_configuration_that_misstates_end_of_text_pools_where_torch_does(
    tmp_path: Path,
) -> None:
    """Many published CLIPs say eos_token_id 2 and mean the highest token id."""
    config = random_clip.tiny()
    config.text_config.eos_token_id = 2
    model = random_clip.random_clip(config, seed=7)
    write_bundle(source_of(model), tmp_path / "bundle")
    assert (tmp_path / "bundle" / "model.json").exists()


@pytest.mark.slow
def test_the_full_size_architecture_agrees_with_torch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ViT-B/32 in full, at batch 1, 2, 7 and 25, its weights in files of their own."""
    output = tmp_path / "full"
    assert convert("--random-weights", "--seed", "1", "--output", output) == 0
    printed = capsys.readouterr().out
    for size in (1, 2, 7, 25):
        assert f"vision.onnx, batch {size}: max |diff|" in printed
    manifest = json.loads((output / "model.json").read_text())
    assert manifest["architecture"] == "clip-vit-b-32"
    assert {"vision.onnx.data", "text.onnx.data"} <= manifest["files"].keys()


# int8


def test_int8_is_made_as_the_command_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole in its folder, and the fp32 form that it was made of gone."""
    make_pictures(tmp_path / "pictures", 60)
    output = tmp_path / "int8"
    arguments = ("--precision", "int8", "--calibrate", tmp_path / "pictures", "--output", output)
    assert convert("--random-weights", "--tiny", "--seed", "7", *arguments) == 0
    assert "int8 with weights of 8 bits, calibrated on 30 pictures" in capsys.readouterr().out
    bundle = open_bundle(output)
    bundle.verify()
    assert (bundle.manifest.model, bundle.manifest.precision) == ("tiny-clip", "int8")
    assert {path.name for path in output.iterdir()} == {
        *bundle.manifest.files,
        "model.json",
        "LICENSE-tokenizer.txt",
    }
    graph = onnx.load(bundle.vision).graph
    assert [node.op_type for node in graph.node].count("MatMulIntegerToFloat") >= 5


@pytest.mark.parametrize("arguments", [("--precision", "int8"), ("--calibrate", "somewhere")])
def test_int8_and_pictures_go_together(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        convert("--random-weights", *arguments, "--output", tmp_path / "bundle")
    assert "--calibrate DIR go together" in capsys.readouterr().err


def test_too_few_pictures_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few").mkdir()
    arguments = ("--precision", "int8", "--calibrate", tmp_path / "few")
    assert convert("--random-weights", "--tiny", *arguments, "--output", tmp_path / "bundle") == 1
    assert "0 different pictures" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["few"]
