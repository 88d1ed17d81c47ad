"""The model bundle and the contract that it makes with a collection."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.collection.contract import (
    Contract,
    StoredContract,
    contract_of,
    read_contract,
    write_contract,
)
from clipindex.collection.own_bundle import bundle_for
from clipindex.errors import ContractMismatch, ModelError, StoreError
from clipindex.model.bundle import MANIFEST, find_bundle, open_bundle
from clipindex.model.manifest import FileSpec, ImageSpec, Manifest, TextSpec
from conftest import TINY

# The towers' graphs say who made them, and nothing else.
FILES = {
    name: b"\x12\x7f" + name.encode().ljust(127)
    for name in ("vision.onnx", "text.onnx", "tokenizer.json")
}


def write_bundle(
    folder: Path,
    model: str = "small",
    vision_tower: bytes = FILES["vision.onnx"],
    text_tower: bytes = FILES["text.onnx"],
    **changes: object,
) -> Path:
    """A whole bundle with a few bytes for each tower: nothing here loads them."""
    folder.mkdir(parents=True)
    files = {**FILES, "vision.onnx": vision_tower, "text.onnx": text_tower}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    specs = {
        name: FileSpec(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
    }
    manifest = replace(open_bundle(TINY).manifest, model=model, files=specs)
    raw = {**asdict(manifest), **changes}
    (folder / MANIFEST).write_text(json.dumps(raw), "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "small")


# --- manifest --------------------------------------------------------------------------------

words = st.text(max_size=20)
colours = st.floats(2**-20, 1)
triples = st.tuples(colours, colours, colours)
manifests = st.builds(
    Manifest,
    schema=st.just(1),
    model=words,
    revision=words,
    architecture=words,
    dimension=st.integers(1, 4096),
    precision=st.sampled_from(["fp32", "int8"]),
    image=st.builds(
        ImageSpec,
        size=st.integers(16, 999),
        mean=triples,
        std=triples,
        interpolation=st.just("bicubic"),
        fit=st.sampled_from(["crop", "squash"]),
    ),
    text=st.builds(
        TextSpec,
        context_length=st.integers(2, 999),
        pad_id=st.integers(0, 99_999),
        pad=st.just("longest"),
        cleaning=st.sampled_from(["openai", "none"]),
    ),
    opset=st.integers(1, 30),
    licence=words,
    source=words,
    files=st.dictionaries(
        st.from_regex(r"[a-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True),
        st.builds(FileSpec, st.integers(1, 10**10), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        max_size=4,
    ),
)


@given(manifests)
@settings(max_examples=60, deadline=None)
def test_a_manifest_is_written_and_read_back_equal(manifest: Manifest) -> None:
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert text.encode("utf-8", "surrogatepass")
    assert text.endswith("}\n")


def test_the_bundle_of_the_tests_is_whole() -> None:
    bundle = open_bundle(TINY)
    bundle.verify()
    assert set(bundle.manifest.files) == {"vision.onnx", "text.onnx", "tokenizer.json"}
    assert (bundle.vision.name, bundle.text.name) == ("vision.onnx", "text.onnx")
    assert (TINY / MANIFEST).read_text("utf-8") == bundle.manifest.to_json()


# --- missing and damaged bundles -------------------------------------------------------------


def refused(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_bundle(folder)
    assert caught.value.hint
    return caught.value


def test_a_folder_without_a_bundle_says_how_to_get_one(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert "no model bundle there" in error.message
    assert error.path == str(tmp_path)
    assert "--model" in error.hint
    assert "no model bundle there" in refused(tmp_path / "gone").message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        "{}",
        '{"schema": 1}',
        "\ufeff{}",
    ],
)
def test_a_manifest_that_is_none_is_damage(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, "utf-8")
    assert "damaged or of an unknown kind: model.json" in refused(folder).message


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None},
        {"image": {}},
        {"text": []},
        {"files": None},
        {"files": []},
        {"files": {"vision.onnx": 7}},
        {"files": {"vision.onnx": {"bytes": 1}}},
        {"unheard-of": 1},
    ],
    ids=str,
)
def test_a_manifest_with_a_broken_field_is_damage(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    write_bundle(tmp_path / "broken", **changes)
    assert "damaged or of an unknown kind: model.json" in refused(tmp_path / "broken").message


def test_a_manifest_that_is_no_text_is_damage(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00")
    assert "damaged" in refused(folder).message


def test_a_bundle_of_another_schema_is_refused_with_both_numbers(tmp_path: Path) -> None:
    write_bundle(tmp_path / "new", schema=99)
    assert "schema 99, this clipindex knows 1" in refused(tmp_path / "new").message


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    error = refused(folder)
    assert f"{name}: it is missing" in error.message
    assert error.path == str(folder / name)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named_with_its_sizes(folder: Path, name: str) -> None:
    data = FILES[name]
    (folder / name).write_bytes(data[:-1])
    error = refused(folder)
    assert f"{name}: {len(data) - 1} bytes where model.json says {len(data)}" in error.message


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_by_verify(folder: Path, name: str) -> None:
    bundle = open_bundle(folder)
    bundle.verify()
    (folder / name).write_bytes(b"X" + FILES[name][1:])
    open_bundle(folder)
    with pytest.raises(ModelError, match=f"{name}: its content differs"):
        bundle.verify()


@pytest.mark.parametrize("name", FILES)
def test_a_manifest_that_leaves_out_a_needed_file_is_damage(tmp_path: Path, name: str) -> None:
    """What is not listed is not hashed, and so would not be part of the contract."""
    some = {o: asdict(FileSpec(len(d), "0" * 64)) for o, d in FILES.items() if o != name}
    write_bundle(tmp_path / "partial", files=some)
    assert "damaged" in refused(tmp_path / "partial").message


# --- finding ---------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of models, empty; the working folder is empty as well."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache" / "clipindex" / "models"


def test_a_name_that_is_not_known_says_which_are(cache: Path) -> None:
    write_bundle(cache / "mine")
    said = r"no model named 'ViT-B-32'; installed: .*mine"
    with pytest.raises(ModelError, match=said) as caught:
        find_bundle("ViT-B-32")
    assert "clipindex models pull vit-b-32" in caught.value.hint


def test_a_bundle_is_found_by_name_in_the_cache(cache: Path) -> None:
    write_bundle(cache / "mine")
    assert find_bundle("mine").folder == cache / "mine"


@pytest.mark.parametrize("typed", ["./small", "small", "../here/small", "small/", "{}/here/small"])
def test_a_bundle_is_found_by_the_path_of_its_folder(
    cache: Path, tmp_path: Path, typed: str
) -> None:
    write_bundle(tmp_path / "here" / "small")
    found = find_bundle(typed.format(tmp_path))
    assert found.manifest.model == "small"
    assert found.folder.is_absolute()
    assert not cache.exists()


def test_a_path_without_a_bundle_is_not_taken_for_a_name(cache: Path) -> None:
    write_bundle(cache / "mine")
    with pytest.raises(ModelError, match="no model bundle there"):
        find_bundle("./mine")


# --- contract --------------------------------------------------------------------------------

CONTRACT = Contract(
    model="small",
    revision="r1",
    precision="fp32",
    files={"a.onnx": "aa", "b.onnx": "bb"},
    dimension=512,
    preprocessing="exact",
    preprocessing_version=1,
    image={"size": 224, "fit": "crop", "interpolation": "bicubic"},
)
OTHER: dict[str, object] = {
    "files": {"a.onnx": "aa", "b.onnx": "xx"},
    "dimension": 768,
    "preprocessing": "dct-scaled",
    "preprocessing_version": 2,
    "precision": "int8",
    "conversion": 1,
    "image": {"size": 256, "fit": "crop", "interpolation": "bicubic"},
}
# These name things: they say which model it is, and the files decide.
NAMES = {"model", "revision", "schema", "fp32_files"}


def test_a_file_that_vanishes_before_it_is_hashed_is_a_model_error(folder: Path) -> None:
    bundle = open_bundle(folder)
    bundle.tokenizer.unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        bundle.verify()


def test_equal_contracts_agree() -> None:
    CONTRACT.check(replace(CONTRACT, files=dict(reversed(CONTRACT.files.items()))))


def test_every_field_of_the_contract_is_tried_below() -> None:
    assert set(OTHER) | NAMES == {field.name for field in fields(Contract)}


@pytest.mark.parametrize("name", OTHER)
def test_a_contract_that_differs_names_the_field_and_both_values(name: str) -> None:
    with pytest.raises(ContractMismatch) as caught:
        CONTRACT.check(replace(CONTRACT, **{name: OTHER[name]}))
    message = caught.value.message
    if name == "files":
        assert "other model files: " in message
        assert "b.onnx" in message
        assert "a.onnx" not in message
    elif name == "image":
        assert message.endswith("another image: size 224 (asked for: 256)")
    else:
        assert f"another {name.replace('_', ' ')}: " in message
        assert f"{getattr(CONTRACT, name)} (asked for: {OTHER[name]})" in message
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_a_contract_with_other_names_agrees_where_the_files_do() -> None:
    CONTRACT.check(replace(CONTRACT, model="large", revision="r2"))


def test_another_model_is_named_before_its_files() -> None:
    other = replace(CONTRACT, model="large", files={"a.onnx": "cc"}, dimension=768)
    with pytest.raises(ContractMismatch, match=r"another model: small \(asked for: large\)"):
        CONTRACT.check(other)


def test_the_contract_of_a_bundle_holds_what_decides_a_picture_vector(folder: Path) -> None:
    contract = contract_of(open_bundle(folder), "dct-scaled", 1)
    vision = hashlib.sha256(FILES["vision.onnx"]).hexdigest()
    assert contract.files == {"vision.onnx": vision}
    assert contract.image == {"size": 224, "fit": "crop", "interpolation": "bicubic"}
    assert (contract.model, contract.dimension, contract.precision) == ("small", 512, "fp32")
    assert (contract.preprocessing, contract.preprocessing_version) == ("dct-scaled", 1)


def stored_contract(bundle: Path = Path("gone"), **noted: str) -> StoredContract:
    return StoredContract(CONTRACT, str(bundle), noted)


def test_a_contract_is_written_and_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    assert read_contract(path) is None
    for contract in (
        stored_contract(pillow="13"),
        stored_contract(tmp_path / "é\udce9", pillow="14"),
    ):
        write_contract(path, contract)
        assert read_contract(path) == contract


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"contract": {}, "bundle": "", "noted": {}}']
)
def test_a_damaged_contract_is_a_store_error_not_a_new_collection(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "contract.json"
    path.write_text(text)
    with pytest.raises(StoreError, match="contract cannot be read") as caught:
        read_contract(path)
    assert caught.value.path == str(path)
    assert caught.value.hint


def test_a_contract_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    write_contract(path, stored_contract(pillow="13"))
    unwritable = stored_contract(pillow="14", libjpeg=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write_contract(path, unwritable)
    assert read_contract(path) == stored_contract(pillow="13")


def test_a_reader_never_sees_half_a_contract(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    both = [stored_contract(pillow="13" * 20_000), stored_contract(pillow="14")]
    write_contract(path, both[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            write_contract(path, both[turn % 2])
        done.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    while not done.is_set() and writer.is_alive():
        assert read_contract(path) in both
    writer.join()
    assert done.is_set()
    assert [entry.name for entry in tmp_path.iterdir()] == ["contract.json"]


# --- the bundle of a collection --------------------------------------------------------------


def test_a_collection_finds_its_bundle_where_it_was(folder: Path) -> None:
    contract = contract_of(open_bundle(folder), "exact", 1)
    assert bundle_for(StoredContract(contract, str(folder), {}), None).folder == folder


def test_a_bundle_that_is_gone_can_be_named_at_its_new_place(folder: Path) -> None:
    contract = StoredContract(contract_of(open_bundle(folder), "exact", 1), str(folder), {})
    moved = folder.rename(folder.with_name("moved"))
    with pytest.raises(ModelError, match="'small' is no longer at its place") as caught:
        bundle_for(contract, None)
    assert "--model" in caught.value.hint
    assert bundle_for(contract, str(moved)).folder == moved


def test_a_bundle_that_is_there_but_damaged_is_not_called_gone(folder: Path) -> None:
    contract = StoredContract(contract_of(open_bundle(folder), "exact", 1), str(folder), {})
    (folder / "vision.onnx").unlink()
    with pytest.raises(ModelError, match=r"vision\.onnx: it is missing"):
        bundle_for(contract, None)


def test_another_bundle_in_its_place_is_a_mismatch(folder: Path, tmp_path: Path) -> None:
    contract = StoredContract(contract_of(open_bundle(folder), "exact", 1), str(folder), {})
    other = write_bundle(tmp_path / "other", "other", vision_tower=b"\x12\x01x" * 9)
    with pytest.raises(ContractMismatch, match="another model: small"):
        bundle_for(contract, str(other))


def test_a_bundle_with_the_same_vision_tower_may_have_another_name_and_text_tower(
    folder: Path, tmp_path: Path
) -> None:
    contract = StoredContract(contract_of(open_bundle(folder), "exact", 1), str(folder), {})
    other = write_bundle(tmp_path / "other", "other", text_tower=b"\x12\x01x" * 9)
    assert bundle_for(contract, str(other)).folder == other
