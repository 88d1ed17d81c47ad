"""Ready-made exports become bundles without torch, and say what the export says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import clipindex
from clipindex.collection.contract import contract_of
from clipindex.errors import ContractMismatch, ModelError
from clipindex.model import registry
from clipindex.model.adapt import bundle as adapting
from clipindex.model.adapt.bundle import adapt
from clipindex.model.bundle import Bundle, open_bundle
from clipindex.model.encoder import Model, unit_length
from clipindex.model.onnxruntime_tower import load, session_options
from clipindex.model.registry import Graph, ModelDescription
from conftest import TINY, ingest, make_pictures
from tiny_exports import (
    DESCRIPTION,
    FLOAT,
    INT32,
    WIDTH,
    Builder,
    Text,
    Vision,
    arrived,
    export,
    safetensors,
    with_files,
)

VISION, TEXT = Vision(), Text()
Array = np.ndarray[Any, np.dtype[Any]]


def adapted(
    folder: Path,
    vision: Vision | None = VISION,
    text: Text | None = TEXT,
    description: ModelDescription = DESCRIPTION,
    **others: Path,
) -> Bundle:
    """The bundle of these exports, under what the description says of them."""
    graphs = {"vision": vision and export(vision), "text": text and export(text, seed=1)}
    present = {name: graph for name, graph in graphs.items() if graph is not None}
    description = replace(
        description,
        towers=tuple(present),  # type: ignore[arg-type]
        files=tuple(f for f in description.files if f.role in {*present, "tokenizer", "dense"}),
    )
    return adapt(description, arrived(folder / "arrived", **present, **others), folder / "bundle")


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def pixels(size: int, count: int = 5) -> Array:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def cosines(first: Array, second: Array) -> Array:
    return (unit_length(first).astype(float) * unit_length(second)).sum(axis=1)


def exported_vectors(folder: Path, batch: Array, vision: Vision = VISION) -> Array:
    """What the export itself makes of prepared pixels."""
    image = DESCRIPTION.image
    assert image is not None
    scaled = (batch / 255 - np.array(image.mean)) / np.array(image.std)
    session = load(folder / "arrived" / "vision.arrived", session_options())
    rows = scaled.transpose(0, 3, 1, 2).astype(np.float32)
    return np.concatenate(
        [session.run([vision.output], {vision.name: row[None]})[0] for row in rows]
    )


# --- the vision tower --------------------------------------------------------------------------

VISIONS = {
    "plain": Vision(),
    "normalised": Vision(normalised=True),
    "overlapping patches": Vision(patch=8, stride=4),
    "padded": Vision(patch=3, stride=2, pads=1),
    "said to be valid": Vision(is_valid=True),
    "a cast to the same type": Vision(through="Identity"),
    "nothing to fold into": Vision(through="Tanh"),
    "a batch of one": Vision(batch=1),
    "a batch of two": Vision(batch=2),
    "other names": Vision(name="image", output="embedding"),
    "our own names": Vision(name="pixels"),
}


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS)
def test_a_vision_tower_takes_raw_pixels_and_says_what_its_export_says(
    vision: Vision, tmp_path: Path
) -> None:
    graph = Graph(input=vision.name, input_type="float32", output=vision.output)
    bundle = adapted(tmp_path, vision, None, replace(DESCRIPTION, vision_graph=graph))
    bundle.verify()
    assert bundle.manifest.text is None
    batch = pixels(32)
    session = load(bundle.vision, session_options())
    (own,) = session.run(["image_embeds"], {"pixels": batch})
    assert own.shape == (5, 24)
    if isinstance(vision.batch, str):
        expected = exported_vectors(tmp_path, batch, vision)
        assert cosines(own, expected).min() > 0.999999


def test_what_prepares_pixels_is_folded_into_the_first_convolution(tmp_path: Path) -> None:
    """And a convolution of patches that do not overlap becomes one matrix product."""
    made = operators(adapted(tmp_path / "a", Vision(), None).vision)
    assert not {"Conv", "Sub", "Mul"} & set(made)
    handed_on = Vision(through="Identity", is_valid=True)
    assert operators(adapted(tmp_path / "d", handed_on, None).vision) == made
    overlapping = operators(adapted(tmp_path / "b", Vision(stride=4), None).vision)
    assert overlapping.count("Conv") == 1
    assert "Sub" not in overlapping
    padded = operators(adapted(tmp_path / "c", Vision(patch=3, stride=2, pads=1), None).vision)
    assert padded.count("Sub") == 1
    assert "Mul" not in padded


def test_an_output_is_found_without_its_name_and_in_any_order(tmp_path: Path) -> None:
    graph = Graph(input=None, input_type="float32", output=None)
    adapted(tmp_path, Vision(), None, replace(DESCRIPTION, vision_graph=graph))


# --- the text tower ----------------------------------------------------------------------------

TEXTS = {
    "plain": Text(),
    "int32": Text(kind=INT32, name="text", output="embedding"),
    "mask": Text(mask="attention_mask"),
    "positions": Text(positions=True),
    "kinds of tokens": Text(token_types=True),
    "fixed length": Text(length=77),
    "fixed length and batch": Text(length=77, batch=1, kind=INT32),
    "batch of three": Text(batch=3),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_tower_takes_ids_alone(text: Text, tmp_path: Path) -> None:
    kind = "int32" if text.kind == INT32 else "int64"
    graph = Graph(input=text.name, input_type=kind, output=text.output)
    bundle = adapted(tmp_path, Vision(), text, replace(DESCRIPTION, text_graph=graph))
    bundle.verify()
    session = load(bundle.text, session_options())
    assert [(port.name, port.type) for port in session.get_inputs()] == [
        ("input_ids", "tensor(int64)")
    ]
    assert bundle.text_spec.pad == ("max" if text.length == 77 else "longest")
    vectors = Model(bundle).encode_texts(["a cat", "two dogs", "a cat!"])
    assert vectors.shape == (3, 24)
    if text == Text():
        plain = load(tmp_path / "arrived" / "text.arrived", session_options())
        ids = np.array([[49406, 320, 2368, 49407]])
        (expected,) = plain.run(["text_embeds"], {"input_ids": ids})
        assert cosines(vectors[:1], expected)[0] > 0.999999


def test_a_text_tower_that_reads_padding_gets_all_of_it(tmp_path: Path) -> None:
    """SigLIP: every text has 64 tokens, and padding is read like words."""
    words = replace(DESCRIPTION.text, context_length=64, pad="context", cleaning="canonical")
    text = Text(length=64, context=64, reads_padding=True)
    bundle = adapted(tmp_path, Vision(), text, replace(DESCRIPTION, text=words))
    assert (bundle.text_spec.pad, bundle.text_spec.context_length) == ("max", 64)
    model = Model(bundle)
    np.testing.assert_array_equal(*model.encode_texts(["A cat.", "a cat"]))


def test_a_tower_whose_texts_change_with_their_padding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="depends on its padding"):
        adapted(tmp_path, Vision(), Text(reads_padding=True))


def multilingual(folder: Path, monkeypatch: pytest.MonkeyPatch, mate: Bundle) -> Bundle:
    """A lone text tower as sentence-transformers exports it: states, a mask, a map beside them."""
    random = np.random.default_rng(5)
    safetensors(folder / "dense", linear_weight=random.normal(0, 1, (24, WIDTH)))
    conversion = mate.manifest.conversion
    assert conversion is not None
    ((path, sha256),) = conversion.files.items()
    known = replace(DESCRIPTION.files[0], path=path, sha256=sha256)
    described = replace(DESCRIPTION, id="eyes", files=(known,))
    monkeypatch.setattr(adapting, "descriptions", lambda: {"eyes": described})
    graph = Graph(
        input="input_ids",
        input_type="int64",
        output=None,
        mask="attention_mask",
        pooling="mean",
    )
    description = replace(
        with_files(
            DESCRIPTION,
            text="onnx/model.onnx",
            dense="2_Dense/model.safetensors",
            tokenizer="tokenizer.json",
        ),
        id="many-tongues",
        towers=("text",),
        image=None,
        mate="eyes",
        text_graph=graph,
        text=replace(DESCRIPTION.text, pad_id=49407),  # a special token, as [PAD] is
    )
    states = export(Text(mask="attention_mask", pools=False, output="token_embeddings"), seed=1)
    downloaded = arrived(folder / "arrived-texts", **{"onnx/model.onnx": states})
    downloaded["2_Dense/model.safetensors"] = folder / "dense"
    return adapt(description, downloaded, folder / "texts")


def test_a_lone_text_tower_is_pooled_mapped_and_searches_its_mate_s_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes = adapted(tmp_path)
    texts = multilingual(tmp_path, monkeypatch, eyes)
    assert texts.manifest.image is None
    assert texts.manifest.mate is not None
    assert texts.manifest.mate.model == "eyes"
    index = clipindex.Index(tmp_path / "store", model=str(eyes.folder))
    ingest(index, make_pictures(tmp_path / "pictures", 3)[0].parent)
    own = index.query("a cat")
    others = clipindex.Index(tmp_path / "store", model=str(texts.folder)).query("a cat")
    assert {hit.path for hit in others} == {hit.path for hit in own}
    assert others != own
    strange = adapted(tmp_path / "strange", Vision(normalised=True))
    index = clipindex.Index(tmp_path / "strange-store", model=str(strange.folder))
    ingest(index, tmp_path / "pictures")
    with pytest.raises(ContractMismatch, match="'many-tongues' is for pictures"):
        clipindex.Index(tmp_path / "strange-store", model=str(texts.folder)).query("a cat")


# --- both --------------------------------------------------------------------------------------


def test_one_graph_of_both_towers_is_parted(tmp_path: Path) -> None:
    both = export(Vision(), Text(mask="attention_mask"))
    description = with_files(DESCRIPTION, vision="onnx/model.onnx", tokenizer="tokenizer.json")
    downloaded = arrived(tmp_path / "arrived", **{"onnx/model.onnx": both})
    bundle = adapt(description, downloaded, tmp_path / "bundle")
    names = {tensor.name for tensor in onnx.load(bundle.vision).graph.initializer}
    assert names
    largest = max(tensor.dims[0] for tensor in onnx.load(bundle.vision).graph.initializer)
    assert largest < 49_408  # the vocabulary is not in the vision tower
    assert set(bundle.manifest.files) == {"vision.onnx", "text.onnx", "tokenizer.json"}
    assert bundle.vision.stat().st_size < 100_000 < bundle.text.stat().st_size


def test_weights_in_a_file_of_their_own_are_found_under_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    onnx.save_model(
        export(Vision()),
        folder / "vision_model.onnx",
        save_as_external_data=True,
        location="vision_model.onnx_data",
        size_threshold=1024,
    )
    weights = (folder / "vision_model.onnx_data").rename(folder / "weights.arrived")
    description = replace(DESCRIPTION, towers=("vision",), files=DESCRIPTION.files[:1])
    downloaded = {"onnx/vision_model.onnx": folder / "vision_model.onnx"}
    with pytest.raises(ModelError, match=r"onnx/vision_model.onnx_data, which was not downloaded"):
        adapt(description, downloaded, tmp_path / "bundle")
    downloaded["onnx/vision_model.onnx_data"] = weights
    bundle = adapt(description, downloaded, tmp_path / "bundle")
    whole = adapted(tmp_path / "whole", Vision(), None)
    assert bundle.vision.read_bytes() == whole.vision.read_bytes()
    assert set(contract_of(bundle, "exact", 1).files) == set(downloaded)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("size", "dimension", "fit"),
    [
        (256, 768, "squash"),
        pytest.param(64, 7, "crop", marks=pytest.mark.slow),
        pytest.param(336, 1024, "crop", marks=pytest.mark.slow),
    ],
)
def test_size_and_dimension_come_from_the_bundle_everywhere(
    size: int, dimension: int, fit: Any, tmp_path: Path
) -> None:
    image = replace(DESCRIPTION.image, size=size, fit=fit, interpolation="bilinear")
    patch = size // 8
    vision = Vision(size=size, patch=patch, stride=patch, dimension=dimension)
    description = replace(DESCRIPTION, dimension=dimension, image=image)
    bundle = adapted(tmp_path, vision, Text(dimension=dimension), description)
    index = clipindex.Index(tmp_path / "store", model=str(bundle.folder))
    paths = make_pictures(tmp_path / "pictures", 3)
    assert ingest(index, tmp_path / "pictures").summary.new == 3
    assert index.query(paths[1])[0].score == 1.0
    assert len(index.query("a cat")) == 3
    assert index.status().dimension == dimension
    assert index.export(tmp_path / "export") is not None
    assert clipindex.Index(tmp_path / "again").import_(tmp_path / "export") == 3
    checks = {check.name: check.state.value for check in index.doctor()}
    assert {checks[name] for name in ("vision tower", "text tower", "batches")} == {"ok"}
    assert index.verify().exit_code == 0


# --- the same bytes everywhere -----------------------------------------------------------------

# SHA-256 of what the conversion makes of `Vision()` and `Text()`. A change of these means another
# conversion: raise `CONVERSION`, since collections name it in their contract.
VISION_SHA256 = "f429e14df6ffadbc8fafa580b1e847977433c4ce4c29e75b1dc5961777ceda66"
TEXT_SHA256 = "b5b3afd53650f6f7c8f03daa6d11427ad9488d89d96ee3f284d7ec6bfb30cf0b"


def test_the_conversion_gives_the_same_bytes_with_every_version_of_the_libraries(
    tmp_path: Path,
) -> None:
    files = adapted(tmp_path).manifest.files
    assert (adapting.CONVERSION, files["vision.onnx"].sha256) == (1, VISION_SHA256)
    assert files["text.onnx"].sha256 == TEXT_SHA256


def test_who_exported_a_graph_and_remarks_in_it_change_no_byte(tmp_path: Path) -> None:
    first = adapted(tmp_path / "first", Vision(), None)
    remarked = export(Vision())
    remarked.producer_version, remarked.doc_string = "9", "a remark"
    remarked.metadata_props.add(key="author", value="somebody")
    for node in remarked.graph.node:
        node.doc_string = "why"
    for tensor in remarked.graph.initializer:  # numbers instead of bytes
        if tensor.data_type == FLOAT:
            numbers = numpy_helper.to_array(tensor).reshape(-1)
            tensor.ClearField("raw_data")
            tensor.float_data.extend(numbers.tolist())
    description = replace(DESCRIPTION, towers=("vision",), files=DESCRIPTION.files[:1])
    downloaded = arrived(tmp_path / "arrived", vision=remarked)
    second = adapt(description, downloaded, tmp_path / "second-bundle")
    assert first.vision.read_bytes() == second.vision.read_bytes()


def test_two_machines_that_converted_one_download_share_a_contract(tmp_path: Path) -> None:
    one = contract_of(adapted(tmp_path / "one"), "exact", 1)
    two = contract_of(adapted(tmp_path / "two"), "exact", 1)
    one.check(two)
    graph = (tmp_path / "one" / "arrived" / "vision.arrived").read_bytes()
    assert one.files == {"onnx/vision_model.onnx": hashlib.sha256(graph).hexdigest()}
    assert one.conversion == adapting.CONVERSION


def test_large_weights_lie_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that they are mapped into memory, and no limit of the format is met."""
    whole = adapted(tmp_path / "whole", Vision(), None)
    monkeypatch.setattr("clipindex.model.onnx_graph.files.EXTERNAL_FROM", 1)
    parted = adapted(tmp_path / "parted", Vision(), None)
    parted.verify()
    assert set(parted.manifest.files) == {"vision.onnx", "vision.onnx.data"}
    batch = pixels(32)
    for bundle in (whole, parted):
        np.testing.assert_array_equal(
            Model(bundle).encode_images(batch), Model(whole).encode_images(batch)
        )


# --- refused -----------------------------------------------------------------------------------


def refused(folder: Path, **how: Any) -> str:
    with pytest.raises(ModelError) as caught:
        adapted(folder, **how)
    assert caught.value.hint
    assert not (folder / "bundle").exists()
    assert [path.name for path in folder.iterdir()] == ["arrived"]
    return caught.value.message


def described(**changes: Any) -> ModelDescription:
    return replace(DESCRIPTION, **changes)


REFUSED = {
    "no input named 'pixels_of'": {
        "description": described(
            vision_graph=Graph(input="pixels_of", input_type="float32", output=None)
        )
    },
    "takes int64, not int32": {
        "description": described(
            text_graph=Graph(input="input_ids", input_type="int32", output="text_embeds")
        )
    },
    "no output named 'embedding'; it has last_hidden_state": {
        "description": described(
            text_graph=Graph(input="input_ids", input_type="int64", output="embedding")
        )
    },
    "has 3 axes, not 2": {
        "description": described(
            text_graph=Graph(input="input_ids", input_type="int64", output="last_hidden_state")
        )
    },
    "it takes [None, 3, 64, 64], not [3, 32, 32] a picture": {"vision": Vision(size=64)},
    "it reads 64 tokens, not 77": {"text": Text(length=64)},
    "have 16 numbers, not 24": {"vision": Vision(dimension=16)},
}


@pytest.mark.parametrize("said", REFUSED)
def test_an_export_that_is_not_as_described_is_refused(said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path, **REFUSED[said])


def test_an_input_that_cannot_be_told_from_a_text_is_refused(tmp_path: Path) -> None:
    builder = Builder(1)
    Text().build(builder)
    prompt = builder.input("prompt", FLOAT, ["batch", 24])
    embeds = builder.add("Add", "text_embeds", prompt)
    builder.output(embeds, "prompted", ["batch", 24])
    description = described(
        towers=("text",),
        image=None,
        mate="vit-b-32",
        text_graph=Graph(input="input_ids", input_type="int64", output="prompted"),
    )
    downloaded = arrived(tmp_path / "arrived", text=builder.model())
    with pytest.raises(ModelError, match="asks for 'prompt', which cannot be told from a text"):
        adapt(description, downloaded, tmp_path / "bundle")


def test_a_tower_that_says_something_else_than_its_export_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipindex.model.adapt.vision.LARGEST", 250)
    prepare = adapting.vision.prepared

    def as_it_should_be(*args: Any) -> Array:
        with monkeypatch.context() as right:
            right.setattr("clipindex.model.adapt.vision.LARGEST", 255)
            return prepare(*args)

    monkeypatch.setattr(adapting.vision, "prepared", as_it_should_be)
    assert "differ from the export's: cosine 0.99" in refused(tmp_path, text=None)


def test_a_tower_whose_vectors_change_with_the_batch_is_refused(tmp_path: Path) -> None:
    """As dynamically quantised graphs do, whose scale is that of the whole batch."""
    builder = Builder()
    Vision(output="plain").build(builder)
    largest = builder.add("ReduceMax", "plain", keepdims=0)
    third = builder.constant(np.array([0, 0, 1] * 8, dtype=np.float32))
    moved = builder.add("Add", "plain", builder.add("Mul", largest, third))
    builder.output(moved, "image_embeds", ["batch", 24])
    description = described(towers=("vision",), files=DESCRIPTION.files[:1])
    downloaded = arrived(tmp_path / "arrived", vision=builder.model())
    with pytest.raises(ModelError, match=r"cosine|with the batch"):
        adapt(description, downloaded, tmp_path / "bundle")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x08"])
def test_a_file_that_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(content)
    description = described(towers=("vision",), files=DESCRIPTION.files[:1])
    with pytest.raises(ModelError) as caught:
        adapt(description, {"onnx/vision_model.onnx": broken}, tmp_path / "bundle")
    assert caught.value.hint
    assert not (tmp_path / "bundle").exists()


def test_operators_of_an_old_set_are_refused_with_what_to_do(tmp_path: Path) -> None:
    old = export(Vision(), opset=17)
    old.opset_import[0].version = 9
    old.ir_version = 4
    description = described(towers=("vision",), files=DESCRIPTION.files[:1])
    downloaded = arrived(tmp_path / "arrived", vision=old)
    with pytest.raises(ModelError):
        adapt(description, downloaded, tmp_path / "bundle")


def test_a_broken_map_behind_a_text_tower_is_refused(
    tmp_path: Path,
) -> None:
    for content in (b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "dense").write_bytes(content)
        with pytest.raises(ModelError, match="linear map"):
            adapting.text.read_dense(tmp_path / "dense")


def test_every_export_of_the_registry_says_what_the_conversion_needs() -> None:
    for description in registry.descriptions().values():
        if description.origin != "export":
            continue
        assert ("vision" in description.towers) == (description.image is not None)
        assert ("text" in description.towers) == (description.text is not None)
        roles = {file.role for file in description.files}
        assert set(description.towers) <= roles
        if description.image is None:
            assert registry.descriptions()[description.mate].file("vision").sha256


def test_the_tokenizer_cuts_and_pads_nothing_itself(tmp_path: Path) -> None:
    tokenizer = json.loads((TINY / "tokenizer.json").read_text())
    tokenizer |= {"truncation": {"max_length": 3}, "padding": {"pad_id": 0}}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer))
    bundle = adapted(tmp_path, **{"tokenizer.json": path})
    written = json.loads(bundle.tokenizer.read_text("utf-8"))
    assert written["truncation"] is written["padding"] is None
    assert open_bundle(bundle.folder) == bundle
