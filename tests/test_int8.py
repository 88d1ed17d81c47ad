"""An int8 bundle: as near to fp32 as it says, the same in every batch, refused where it is wrong.

Conversion needs the `convert` extra; without it everything here is skipped.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from clipindex.errors import ExitCode, ModelError, ProviderUnavailable
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.model.manifest import Manifest, Quantisation
from clipindex.model.providers import Provider
from clipindex.model.saturation import EXACT_KERNELS, is_exact, make_exact
from conftest import TINY, make_pictures, picture, run_clipindex

torch = pytest.importorskip("torch", reason="conversion needs torch: pip install '.[convert]'")
pytest.importorskip("transformers", reason="conversion needs transformers: '.[convert]'")
onnx = pytest.importorskip("onnx", reason="conversion needs onnx: pip install '.[convert]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import calibration  # noqa: E402
import convert_to_onnx  # noqa: E402
import fidelity  # noqa: E402
import int8_vision  # noqa: E402
import quantise  # noqa: E402
import random_clip  # noqa: E402
from exporter import bundle as exported  # noqa: E402
from exporter import clip as clip_reader  # noqa: E402
from exporter import parity  # noqa: E402
from exporter.convert import convert as write_bundle  # noqa: E402
from exporter.parity import load_session  # noqa: E402
from exporter.preprocessors import CLIP_DEFAULTS, from_transformers  # noqa: E402
from exporter.source import Source, VisionSide  # noqa: E402

if TYPE_CHECKING:
    from transformers import CLIPModel

Array = NDArray[Any]
SEED = ("--random-weights", "--tiny", "--seed", "7")
SPEC = from_transformers({}, CLIP_DEFAULTS, model_size=224)


def vision_of(clip: CLIPModel) -> VisionSide:
    return clip_reader.vision_side(clip, SPEC)


def convert(*arguments: str | Path) -> int:
    return convert_to_onnx.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures in two folders, and what else lies in such folders."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder / "summer", 30)
    make_pictures(folder / "winter", 30, first_seed=30)
    (folder / "notes.txt").write_text("not a picture")
    (folder / "winter" / "damaged.jpg").write_bytes((folder / "winter/000.jpg").read_bytes()[:900])
    return folder


@dataclass(frozen=True)
class Converted:
    folder: Path
    printed: str


@pytest.fixture(scope="module")
def int8(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The tiny model as an int8 bundle."""
    output = tmp_path_factory.mktemp("int8") / "bundle"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = convert(*SEED, "--precision", "int8", "--calibrate", pictures, "--output", output)
    assert code == 0
    return Converted(output, printed.getvalue())


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as it is."""
    output = tmp_path_factory.mktemp("fp32") / "bundle"
    assert convert(*SEED, "--output", output) == 0
    return output


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    return random_clip.random_clip(random_clip.tiny(), seed=7)


@pytest.fixture(scope="module")
def seen(pictures: Path) -> calibration.Pictures:
    return calibration.read_pictures(pictures, SPEC)


def photographs(count: int) -> Array:
    """Pictures that no calibration saw: uint8 (count, 224, 224, 3)."""
    return np.stack([np.asarray(picture(1000 + seed, (224, 224))) for seed in range(count)])


# What comes out


def test_an_int8_vector_is_near_that_of_fp32(int8: Converted, fp32: Path) -> None:
    """On pictures that the conversion never saw, through clipindex's own door."""
    pixels = photographs(40)
    exact = Model(open_bundle(fp32)).encode_images(pixels)
    rounded = Model(open_bundle(int8.folder)).encode_images(pixels)
    cosines = (exact * rounded).sum(axis=1)
    assert cosines.min() >= 0.98
    assert cosines.mean() >= 0.995
    assert not np.array_equal(exact, rounded)


def test_a_picture_has_the_same_bits_in_every_batch(int8: Converted) -> None:
    """Scales are constants: neither the batch nor the place in it changes anything."""
    model = Model(open_bundle(int8.folder))
    pixels = photographs(25)
    alone = np.concatenate([model.encode_images(each[None]) for each in pixels])
    for size in (4, 7, 8, 25):
        parts = [model.encode_images(pixels[at : at + size]) for at in range(0, 25, size)]
        assert np.array_equal(np.concatenate(parts), alone), size
    assert np.array_equal(model.encode_images(pixels[::-1]), alone[::-1])


def test_every_linear_map_but_the_projection_is_made_of_integers(int8: Converted) -> None:
    """Two layers of four maps, one of them in two parts, and the patches: nothing is left over."""
    graph = onnx.load(int8.folder / "vision.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MatMulIntegerToFloat") == 2 * 4 + 1 + 1
    weights = [each for each in graph.initializer if len(each.dims) == 2]
    floats = [tuple(each.dims) for each in weights if each.data_type == onnx.TensorProto.FLOAT]
    assert sorted(floats) == [(48, 512), (50, 48)]  # the projection, the positions


def test_raw_pixels_are_multiplied_as_they_are(int8: Converted) -> None:
    """They are 8-bit integers already: the first map rounds nothing but its weight."""
    graph = onnx.load(int8.folder / "vision.onnx").graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    assert constants["embed_patches.scale"] == 1
    assert constants["embed_patches.zero"] == 0
    rounding = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(rounding) == 9  # of ten integer maps


def test_the_text_tower_is_that_of_fp32(int8: Converted, fp32: Path) -> None:
    """A query runs it once: it stays as it is, to the byte."""
    for name in ("text.onnx", "tokenizer.json"):
        assert (int8.folder / name).read_bytes() == (fp32 / name).read_bytes()


def test_the_report_is_printed_and_kept(int8: Converted) -> None:
    """What was measured can be read in model.json as long as the bundle lives."""
    kept = open_bundle(int8.folder).manifest
    assert kept.precision == "int8"
    measured = kept.quantisation
    assert measured is not None
    assert (measured.calibrated_on, measured.compared_on) == (30, 30)
    assert fidelity.report(measured) in int8.printed
    assert f"mean {measured.mean_cosine:.5f}" in int8.printed
    assert "in any batch: max |diff| 0.0e+00" in int8.printed


def test_the_figures_of_the_report_are_those_of_the_files(
    int8: Converted, fp32: Path, seen: calibration.Pictures
) -> None:
    """Measured again from outside, on the held-back pictures, with the towers as written."""
    exact, rounded = (
        Model(open_bundle(folder)).encode_images(seen.held_back) for folder in (fp32, int8.folder)
    )
    kept = open_bundle(int8.folder).manifest.quantisation
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


def test_the_model_that_is_converted_stays_as_it_was(
    clip: CLIPModel, seen: calibration.Pictures, tmp_path: Path
) -> None:
    """Smoothing works on a copy: the caller may go on with the model."""
    before = {name: weight.clone() for name, weight in clip.state_dict().items()}
    with torch.no_grad():
        int8_vision.write_int8_vision(
            vision_of(clip).tower,
            vision_of(clip).reference,
            int8_vision.Int8(seen, 8),
            np.random.default_rng(0).normal(size=(5, 512)),
            tmp_path,
        )
    for name, weight in clip.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_the_same_pictures_make_the_same_bundle(
    int8: Converted, pictures: Path, tmp_path: Path
) -> None:
    """Nothing of the machine or the day is in it."""
    again = tmp_path / "again"
    assert convert(*SEED, "--precision=int8", f"--calibrate={pictures}", "--output", again) == 0
    for path in int8.folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


# How it is made


def test_smoothing_changes_nothing_in_fp32_and_evens_out_the_channels(
    clip: CLIPModel, seen: calibration.Pictures
) -> None:
    """Loudness moves from inputs into weights; what the tower says stays."""
    tower = vision_of(deepcopy(clip)).tower
    pixels = torch.from_numpy(seen.calibration)
    with torch.no_grad():
        for layer in (*tower.layers, tower.last_layer):
            for norm in (layer.norm_attention, layer.norm_perceptron):
                norm.weight[3] *= 8
            layer.perceptron.widen.weight[3] *= 8
            layer.perceptron.narrow.weight[:, 3] /= 8
        expected = tower(pixels).numpy()
        before = quantise.ranges_of_inputs(tower, pixels)
        quantise.smooth(tower, before)
        after = quantise.ranges_of_inputs(tower, pixels)
        agreement = parity.Agreement.between(expected, tower(pixels).numpy())
    assert agreement.smallest_cosine >= 0.999999
    for layer in (*tower.layers, tower.last_layer):
        perceptron = layer.perceptron
        for linear in (*layer.attention.readers(), perceptron.widen, perceptron.narrow):
            above = [
                float(ranges[linear].loudness().max() / ranges[linear].loudness().median())
                for ranges in (before, after)
            ]
            assert above[1] < 0.7 * above[0]


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_an_integer_map_says_in_onnx_what_it_says_in_torch(
    weight_bits: int, tmp_path: Path
) -> None:
    """Rounding, cutting off beyond the range, the zero point and the bias included."""
    torch.manual_seed(weight_bits)
    linear = torch.nn.Linear(96, 40)
    inputs = torch.randn(3, 5, 96) * 2
    quiet = quantise.Range(torch.full((96,), -1.5), torch.full((96,), 3.0))  # some lie beyond
    integer = quantise.integer_map(linear, quiet, weight_bits)
    exported.export_tower(
        integer,
        inputs,
        tmp_path / "map.onnx",
        input_name="inputs",
        output_name="outputs",
        dynamic_axes={0: "batch"},
    )
    actual = parity.load_tower(tmp_path / "map.onnx")(inputs.numpy())
    assert np.abs(actual - integer(inputs).numpy()).max() <= 1e-5
    with torch.no_grad():
        exact = linear(inputs.clamp(-1.5, 3.0)).numpy()
    assert np.abs(actual - exact).max() <= 0.05
    assert integer.weight.abs().max() == 2 ** (weight_bits - 1) - 1


def test_seven_bits_need_no_probe_and_are_still_near(pictures: Path, tmp_path: Path) -> None:
    """No pair of products overflows 16 bits: such a bundle can be used on any processor."""
    output = tmp_path / "bundle"
    arguments = ("--precision", "int8", "--calibrate", pictures, "--weight-bits", "7")
    assert convert(*SEED, *arguments, "--output", output) == 0
    bundle = open_bundle(output)
    assert bundle.probe is None
    assert bundle.manifest.quantisation is not None
    assert bundle.manifest.quantisation.weight_bits == 7
    graph = onnx.load(output / "vision.onnx").graph
    weights = [onnx.numpy_helper.to_array(each) for each in graph.initializer]
    largest = max(int(np.abs(each.astype(int)).max()) for each in weights if each.dtype == np.int8)
    assert 2 * largest * 255 < 2**15


# The pictures


def test_pictures_come_from_all_over_the_folder_each_time_alike(
    pictures: Path, seen: calibration.Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of many are no walk's beginning, and no picture is in both halves."""
    together = np.concatenate([seen.calibration, seen.held_back])
    assert len(np.unique(together.reshape(60, -1), axis=0)) == 60
    monkeypatch.setattr(calibration, "MOST", 50)
    some = calibration.read_pictures(pictures, SPEC)
    assert len(some.calibration) == len(some.held_back) == 25
    assert np.array_equal(some.calibration, seen.calibration[:25])
    order = [record.path for record in calibration.in_any_order(pictures)]
    assert {b"summer" in path for path in order[:12]} == {True, False}


def test_pictures_are_prepared_as_ingest_prepares_them(
    pictures: Path, seen: calibration.Pictures
) -> None:
    """The same decoder, the same pixels: found again in the picture that the first file makes."""
    from clipindex.pictures.decode import decode
    from clipindex.pictures.preprocessing import Geometry, Preprocessing

    (first, *_) = calibration.in_any_order(pictures)
    data = Path(first.path.decode()).read_bytes()
    pixels, _ = decode(data, Geometry(224, "crop"), Preprocessing.DCT_SCALED)
    assert np.array_equal(seen.calibration[0], pixels)


def test_too_few_pictures_are_refused_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is computed; one of the files that were no pictures is named."""
    folder = tmp_path / "few"
    make_pictures(folder, calibration.FEWEST - 1)
    shutil.copy(folder / "000.jpg", folder / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    arguments = (*SEED, "--precision", "int8", "--output", tmp_path / "bundle", "--calibrate")
    assert convert(*arguments, folder) == 1
    said = capsys.readouterr().err
    assert "49 different pictures, at least 50 are needed" in said
    assert "broken.jpg" in said
    assert convert(*arguments, tmp_path / "nowhere") == 1
    assert "no such folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


@pytest.mark.parametrize("arguments", [("--precision", "int8"), ("--calibrate", "somewhere")])
def test_int8_and_pictures_go_together(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        convert(*SEED, *arguments, "--output", tmp_path / "bundle")
    assert "--precision int8 and --calibrate DIR go together" in capsys.readouterr().err


# Refusals


def test_a_tower_rounded_too_coarsely_is_refused_and_leaves_nothing(
    clip: CLIPModel, seen: calibration.Pictures, tmp_path: Path
) -> None:
    """Weights of three bits: the report's bounds stop the conversion."""
    source = Source(
        name="test",
        revision="1",
        licence="none",
        origin="a test",
        architecture="tiny",
        dimension=512,
        vision=vision_of(clip),
        text=clip_reader.text_side(clip, TINY / "tokenizer.json"),
    )
    coarse = int8_vision.Int8(seen, weight_bits=3)
    with pytest.raises(exported.BundleRefused, match=r"int8 against fp32: .* is below"):
        write_bundle(source, tmp_path / "bundle", int8=coarse)
    assert list(tmp_path.iterdir()) == []


GOOD = Quantisation(
    weight_bits=8,
    calibrated_on=100,
    compared_on=100,
    mean_cosine=0.9983,
    smallest_cosine=0.996,
    image_overlap=0.93,
    text_overlap=0.92,
)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("mean_cosine", "mean cosine"),
        ("smallest_cosine", "smallest cosine"),
        ("image_overlap", "picture queries"),
        ("text_overlap", "text queries"),
    ],
)
@pytest.mark.parametrize("value", [0.8, float("nan")])
def test_each_figure_has_a_bound(figure: str, said: str, value: float) -> None:
    """The message names what fell short; what is no number falls short, too."""
    fidelity.check_fidelity(GOOD)
    with pytest.raises(exported.BundleRefused, match=said):
        fidelity.check_fidelity(replace(GOOD, **{figure: value}))


def test_overlap_is_the_share_of_hits_that_both_find() -> None:
    """All, none, and seven of ten."""
    scores = -np.arange(40.0)[None]
    assert fidelity.overlap(scores, scores) == 1
    assert fidelity.overlap(scores, -scores) == 0
    assert fidelity.overlap(scores, np.roll(scores, 3, axis=1)) == pytest.approx(0.7)


# Processors whose 8-bit arithmetic saturates


def test_the_probes_sums_are_right_here(int8: Converted) -> None:
    """It is listed in model.json, small, and its sums do not fit into 16 bits."""
    bundle = open_bundle(int8.folder)
    assert "saturation.onnx" in bundle.manifest.files
    assert bundle.probe.stat().st_size < 2048
    options = make_exact(onnxruntime.SessionOptions(), bundle.probe, load_session)
    session = load_session(bundle.probe, options)
    assert is_exact(session.run)
    sums, expected = session.run(None, {"inputs": np.full((3, 64), 255, dtype=np.uint8)})
    assert np.array_equal(sums, np.tile(expected, (3, 1)))
    assert set(np.abs(expected)) == {255 * 127 * 64}


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
    manifest["files"]["saturation.onnx"] = exported.describe_file(copy / "saturation.onnx")
    (copy / "model.json").write_text(json.dumps(manifest))
    return copy


def test_a_wrong_answer_stops_the_program_before_any_vector(
    int8: Converted, pictures: Path, tmp_path: Path
) -> None:
    """Exit 4, and the message says how to get on."""
    bundle = doctored(int8.folder, tmp_path)
    with pytest.raises(ModelError, match="saturates"):
        Model(open_bundle(bundle)).encode_images(photographs(1))
    ended = run_clipindex("ingest", pictures, "--model", bundle, "--store", tmp_path / "store")
    assert ended.code == ExitCode.MODEL
    assert "saturates" in ended.err
    assert "--weight-bits 7" in ended.err


def test_a_text_query_asks_nothing_of_the_vision_towers_arithmetic(
    int8: Converted, tmp_path: Path
) -> None:
    """The text tower is fp32 on every processor."""
    bundle = doctored(int8.folder, tmp_path)
    assert Model(open_bundle(bundle)).encode_texts(["a dog"]).shape == (1, 512)


def test_where_products_saturate_the_exact_kernels_are_asked_for(
    int8: Converted, tmp_path: Path
) -> None:
    """The sums are wrong until the exact kernels are switched on; then they are checked again."""
    right = open_bundle(int8.folder).probe
    wrong = open_bundle(doctored(int8.folder, tmp_path)).probe

    def saturating(_: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        return load_session(right if uses_exact_kernels(options) else wrong, options)

    assert uses_exact_kernels(make_exact(onnxruntime.SessionOptions(), wrong, saturating))
    assert not uses_exact_kernels(make_exact(onnxruntime.SessionOptions(), right, load_session))


def uses_exact_kernels(options: onnxruntime.SessionOptions) -> bool:
    try:
        return bool(options.get_session_config_entry(EXACT_KERNELS) == "1")
    except RuntimeError:  # never set
        return False


def test_the_exact_kernels_give_the_same_bits(int8: Converted) -> None:
    """So vectors of a processor that needs them meet those of one that does not."""
    pixels = photographs(8)
    embeddings = []
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(EXACT_KERNELS, value)
        session = load_session(int8.folder / "vision.onnx", options)
        embeddings.append(session.run(None, {"pixels": pixels})[0])
    assert np.array_equal(*embeddings)


# In use


def test_a_collection_of_one_precision_refuses_the_other(
    int8: Converted, fp32: Path, pictures: Path, tmp_path: Path
) -> None:
    """Exit 5, precision named; status shows which it is."""
    store = ("--store", tmp_path / "store")
    folder = pictures / "summer"
    assert run_clipindex("ingest", folder, "--model", fp32, *store).code == 0
    asked = run_clipindex("query", "a dog", "--model", int8.folder, *store)
    added = run_clipindex("ingest", folder, "--model", int8.folder, *store)
    assert asked.code == added.code == ExitCode.CONTRACT
    assert "another precision: fp32 (asked for: int8)" in asked.err

    other = ("--store", tmp_path / "other")
    assert run_clipindex("ingest", folder, "--model", int8.folder, *other).code == 0
    assert "int8" in run_clipindex("status", *other).out
    found = run_clipindex("query", "--image", folder / "003.jpg", "--json", *other)
    assert found.code == 0
    assert found.lines[0]["path"] == str(folder / "003.jpg")


def test_manifests_with_and_without_a_report_can_be_read(int8: Converted) -> None:
    """Those of fp32 have none; both survive being written again."""
    plain = Manifest.from_json((TINY / "model.json").read_text())
    assert plain.quantisation is None
    assert "quantisation" not in plain.to_json()
    reported = open_bundle(int8.folder).manifest
    assert Manifest.from_json(reported.to_json()) == reported


def test_an_int8_model_is_for_cpus_whatever_is_asked_for(int8: Converted) -> None:
    bundle = open_bundle(int8.folder)
    with pytest.raises(ProviderUnavailable, match="made for CPUs"):
        Model(bundle, Provider.CUDA)
    automatic = Model(bundle, Provider.AUTO)
    automatic.load()
    assert automatic.provider_in_use == "CPUExecutionProvider"


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_openvino_runs_the_same_int8_bundle(int8: Converted) -> None:
    bundle, batch = open_bundle(int8.folder), photographs(8)
    found, exact = (
        Model(bundle, provider).encode_images(batch)
        for provider in (Provider.OPENVINO, Provider.CPU)
    )
    assert (found * exact).sum(axis=1).min() >= 0.99
