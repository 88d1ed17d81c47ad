"""The contract covers what makes picture vectors: text towers may be exchanged, others may not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import clipindex
from clipindex.collection.contract import (
    SINCE_2,
    Contract,
    StoredContract,
    contract_of,
    foreign_contract,
)
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.errors import ContractMismatch, ModelError
from clipindex.model.bundle import MANIFEST, Bundle, open_bundle
from clipindex.stores.address import Server
from conftest import TINY, ingest, make_pictures
from copies import copied
from qdrant_double import Double

Change = Callable[[dict[str, Any]], object]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def variant(folder: Path, *comments: str, change: Change = lambda _: None) -> Path:
    """The tiny bundle; a comment in each of the named graphs changes its bytes and no vector."""
    shutil.copytree(TINY, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in comments:
        doc_string = b"\x32" + bytes([len(folder.name)]) + folder.name.encode()  # ModelProto's
        with open(folder / name, "ab") as file:
            file.write(doc_string)
        manifest["files"][name] = described(folder / name)
    manifest["model"] = folder.name
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def text_only(folder: Path, mate: Path = TINY) -> Path:
    """A lone text tower for the vectors of the bundle `mate`."""

    def without_vision(manifest: dict[str, Any]) -> None:
        del manifest["files"]["vision.onnx"]
        vision = contract_of(open_bundle(mate), "exact", 1).files
        manifest.update(image=None, mate={"model": "tiny-clip", "files": vision})

    variant(folder, "text.onnx", change=without_vision)
    (folder / "vision.onnx").unlink()
    return folder


def picture_only(folder: Path) -> Path:
    def without_texts(manifest: dict[str, Any]) -> None:
        del manifest["files"]["text.onnx"], manifest["files"]["tokenizer.json"]
        manifest["text"] = None

    return variant(folder, change=without_texts)


def ready_made(folder: Path, **conversion: object) -> Path:
    """A bundle that says which downloaded file its vision tower was made of."""
    stated = {"version": 1, "files": {"onnx/vision_model.onnx": "ab" * 32}, **conversion}
    return variant(folder, change=lambda manifest: manifest.update(conversion=stated))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `pictures`, and `store` that has them, indexed with the tiny bundle."""
    folder = tmp_path_factory.mktemp("indexed")
    make_pictures(folder / "pictures", 3)
    ingest(clipindex.Index(folder / "store", model=str(TINY)), folder / "pictures")
    return folder


@pytest.fixture
def pictures(indexed: Path) -> Path:
    """The folder of 000.jpg, 001.jpg and 002.jpg."""
    return indexed / "pictures"


@pytest.fixture
def collection(indexed: Path, tmp_path: Path) -> clipindex.Index:
    """The three pictures indexed with the tiny bundle, a copy for each test."""
    copied(indexed / "store", tmp_path / "store")
    return clipindex.Index(tmp_path / "store", model=str(TINY))


def asked(index: clipindex.Index, model: Path, term: str = "a cat") -> list[clipindex.Hit]:
    return clipindex.Index(index.place.store, model=str(model)).query(term)


# --- text towers alone -------------------------------------------------------------------------


def test_a_lone_text_tower_searches_the_vectors_of_its_mate(
    collection: clipindex.Index, tmp_path: Path
) -> None:
    voice = text_only(tmp_path / "voice")
    assert asked(collection, voice) == collection.query("a cat")


def test_pictures_beside_a_lone_text_tower_are_embedded_by_the_collection_s_own_model(
    collection: clipindex.Index, tmp_path: Path, pictures: Path
) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(text_only(tmp_path / "voice")))
    picture = pictures / "001.jpg"
    assert index.query(picture)[0].score == 1.0
    terms = [clipindex.Term("a cat"), clipindex.Term(str(picture))]
    assert index.query(terms) == collection.query(terms)


def test_a_lone_text_tower_needs_no_other_bundle_for_texts(tmp_path: Path, pictures: Path) -> None:
    """The machine that searches may lack the vision tower."""
    elsewhere = variant(tmp_path / "tiny-clip")
    index = clipindex.Index(tmp_path / "store", model=str(elsewhere))
    ingest(index, pictures)
    expected = index.query("a cat")
    shutil.rmtree(elsewhere)
    voice = text_only(tmp_path / "voice")
    assert asked(index, voice) == expected
    with pytest.raises(ModelError, match="has only a text tower") as caught:
        asked(index, voice, str(make_pictures(tmp_path / "others", 1, 90)[0]))
    assert "ingest with --model tiny-clip" in caught.value.hint


def test_a_lone_text_tower_for_another_vision_tower_is_refused(
    collection: clipindex.Index, tmp_path: Path
) -> None:
    voice = text_only(tmp_path / "voice", mate=variant(tmp_path / "other", "vision.onnx"))
    with pytest.raises(ContractMismatch, match="its vectors mean other things") as caught:
        asked(collection, voice)
    assert "'voice'" in caught.value.message
    assert "'tiny-clip'" in caught.value.message


def test_an_ingest_with_a_lone_text_tower_is_refused_and_says_what_to_do(
    collection: clipindex.Index, tmp_path: Path, pictures: Path
) -> None:
    voice = text_only(tmp_path / "voice")
    assert collection.place.folder.parent == tmp_path / "store"
    for store in (tmp_path / "store", tmp_path / "new"):
        with pytest.raises(ModelError, match="it makes no vectors of pictures") as caught:
            ingest(clipindex.Index(store, model=str(voice)), pictures)
        assert caught.value.hint == "ingest with --model tiny-clip, then query with --model voice"
    assert not (tmp_path / "new").exists()


def test_doctor_checks_a_lone_text_tower_and_the_collection_s_vision_tower(
    collection: clipindex.Index, tmp_path: Path
) -> None:
    voice = text_only(tmp_path / "voice")
    index = clipindex.Index(collection.place.store, model=str(voice))
    checks = {check.name: check for check in index.doctor()}
    assert checks["vision tower"].state.value == checks["text tower"].state.value == "ok"
    nothing = clipindex.Index(tmp_path / "no", model=str(voice))
    alone = {check.name: check for check in nothing.doctor()}
    assert alone["vision tower"].text == "the model has none"


def test_a_text_tower_without_a_mate_is_no_bundle(tmp_path: Path) -> None:
    voice = text_only(tmp_path / "voice")
    manifest = json.loads((voice / MANIFEST).read_text())
    del manifest["mate"]
    (voice / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="names none as its mate"):
        open_bundle(voice)


def test_a_damaged_text_tower_is_found_when_it_speaks_for_another_bundle(tmp_path: Path) -> None:
    voice = text_only(tmp_path / "voice")
    joined = open_bundle(TINY).with_text_tower_of(open_bundle(voice))
    joined.verify()
    data = bytearray(joined.text.read_bytes())
    data[-1] ^= 1
    joined.text.write_bytes(data)
    with pytest.raises(ModelError, match=r"text\.onnx: its content differs"):
        joined.verify()


def test_an_int8_tower_is_searched_by_the_text_towers_of_the_fp32_it_was_made_from(
    tmp_path: Path,
) -> None:
    """Its vectors are close to those of fp32, and mean the same."""
    made_from = contract_of(open_bundle(TINY), "exact", 1).files
    report = {
        **dict.fromkeys(("mean_cosine", "smallest_cosine", "image_overlap"), 1),
        "text_overlap": 1,
        "weight_bits": 8,
        "calibrated_on": 50,
        "compared_on": 50,
    }

    def int8(manifest: dict[str, Any]) -> None:
        manifest.update(precision="int8", quantisation={**report, "made_from": made_from})

    folder = variant(tmp_path / "int8", "vision.onnx", change=int8)
    contract = contract_of(open_bundle(folder), "exact", 1)
    assert set(contract.files.values()) != set(made_from.values())
    stored = StoredContract(contract, str(folder), {})
    voice = text_only(tmp_path / "voice")
    assert bundle_for_query(stored, str(voice)).other_text == open_bundle(voice)
    other = text_only(tmp_path / "other", mate=variant(tmp_path / "x", "vision.onnx"))
    with pytest.raises(ContractMismatch):
        bundle_for_query(stored, str(other))


# --- pictures alone ----------------------------------------------------------------------------


def test_a_lone_vision_tower_indexes_and_is_searched_by_pictures_only(
    tmp_path: Path, pictures: Path
) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(picture_only(tmp_path / "seer")))
    ingest(index, pictures)
    assert index.query(pictures / "002.jpg")[0].score == 1.0
    with pytest.raises(ModelError, match="has no text tower") as caught:
        index.query("a cat")
    assert "--image" in caught.value.hint


# --- what decides, and what does not -----------------------------------------------------------


def test_another_text_tower_beside_the_same_vision_tower_opens_the_collection(
    collection: clipindex.Index, tmp_path: Path, pictures: Path
) -> None:
    other = variant(tmp_path / "other", "text.onnx")
    assert asked(collection, other) == collection.query("a cat")
    index = clipindex.Index(collection.place.store, model=str(other))
    assert ingest(index, pictures).summary.unchanged == 3


def test_another_vision_tower_does_not(collection: clipindex.Index, tmp_path: Path) -> None:
    other = variant(tmp_path / "tiny-clip", "vision.onnx")
    with pytest.raises(ContractMismatch, match=r"other model files: vision\.onnx"):
        asked(collection, other)


def test_a_vision_tower_cannot_hide_its_weights_in_a_file_of_the_text_tower(
    tmp_path: Path,
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(TINY, bundle)
    # ModelProto.graph.initializer.external_data: location = text.onnx.data
    entry = b"\x0a\x08location\x12\x0etext.onnx.data"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    with open(bundle / "vision.onnx", "ab") as file:
        file.write(b"\x3a" + bytes([len(graph)]) + graph)
    (bundle / "text.onnx.data").write_bytes(b"weights")
    manifest = json.loads((bundle / MANIFEST).read_text())
    for name in ("vision.onnx", "text.onnx.data"):
        manifest["files"][name] = described(bundle / name)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="weights from a file of the text tower"):
        open_bundle(bundle).verify()


@pytest.mark.parametrize("name", ["size", "fit", "interpolation"])
def test_how_pictures_are_brought_to_size_is_part_of_the_contract(
    collection: clipindex.Index, tmp_path: Path, name: str
) -> None:
    value = {"size": 256, "fit": "squash", "interpolation": "bilinear"}[name]
    other = variant(tmp_path / "other", change=lambda m: m["image"].update({name: value}))
    with pytest.raises(ContractMismatch, match=f"another image: {name} .* {value}"):
        asked(collection, other)


def test_a_ready_made_tower_is_known_by_what_was_downloaded_and_the_conversion(
    tmp_path: Path,
) -> None:
    """Not by its bytes, so that another machine may fill the same collection."""
    contract = contract_of(open_bundle(ready_made(tmp_path / "one")), "exact", 1)
    assert contract.files == {"onnx/vision_model.onnx": "ab" * 32}
    assert contract.conversion == 1
    contract.check(contract_of(open_bundle(ready_made(tmp_path / "two")), "exact", 1))
    newer = contract_of(open_bundle(ready_made(tmp_path / "newer", version=2)), "exact", 1)
    with pytest.raises(ContractMismatch, match=r"another conversion: 1 \(asked for: 2\)"):
        contract.check(newer)
    files = {"onnx/vision_model.onnx": "cd" * 32}
    other = contract_of(open_bundle(ready_made(tmp_path / "one-b", files=files)), "exact", 1)
    with pytest.raises(ContractMismatch, match="another model: one"):
        contract.check(other)


# --- collections of earlier versions -----------------------------------------------------------


def of_schema_1(bundle: Bundle) -> Contract:
    """As the versions before this one wrote it: every file of the bundle."""
    files = {name: spec.sha256 for name, spec in bundle.manifest.files.items()}
    contract = contract_of(bundle, "dct-scaled", 2)
    return replace(contract, files=files, schema=1, image={})


def make_old(index: clipindex.Index) -> Path:
    """Rewrite a collection's contract as an earlier version wrote it; returns its file."""
    path = index.place.folder / "contract.json"
    stored = StoredContract.from_json(json.loads(path.read_text()))
    old = replace(stored, contract=of_schema_1(open_bundle(TINY)))
    path.write_text(json.dumps(old.to_json(), indent=2))
    assert not set(SINCE_2) & json.loads(path.read_text())["contract"].keys()
    return path


def test_a_collection_of_an_earlier_version_opens_and_keeps_its_contract(
    collection: clipindex.Index, tmp_path: Path, pictures: Path
) -> None:
    """An earlier clipindex, on this machine or another, goes on with it as well."""
    path = make_old(collection)
    before = path.read_bytes()
    index = clipindex.Index(collection.place.store)
    assert index.query(pictures / "000.jpg")[0].score == 1.0
    assert ingest(index, pictures).summary.unchanged == 3
    moved = variant(tmp_path / "tiny-clip")
    ingest(clipindex.Index(collection.place.store, model=str(moved)), pictures)
    after = json.loads(path.read_bytes())
    assert after.pop("bundle") == str(moved)
    assert after == {k: v for k, v in json.loads(before).items() if k != "bundle"}


def test_a_lone_text_tower_searches_a_collection_of_an_earlier_version(
    collection: clipindex.Index, tmp_path: Path
) -> None:
    make_old(collection)
    assert asked(collection, text_only(tmp_path / "voice")) == collection.query("a cat")
    other = text_only(tmp_path / "other", mate=variant(tmp_path / "x", "vision.onnx"))
    with pytest.raises(ContractMismatch):
        asked(collection, other)


def test_an_export_of_an_earlier_version_joins_a_collection_of_this_one_and_back(
    collection: clipindex.Index, tmp_path: Path, pictures: Path
) -> None:
    collection.export(tmp_path / "new")
    make_old(collection)
    collection.export(tmp_path / "old")
    raw = json.loads((tmp_path / "old" / "export.json").read_text())["contract"]["contract"]
    assert raw == {k: v for k, v in asdict(of_schema_1(open_bundle(TINY))).items() if k in raw}
    assert raw["schema"] == 1
    for first, second in (("old", "new"), ("new", "old")):
        index = clipindex.Index(tmp_path / f"{first}-first", model=str(TINY))
        assert index.import_(tmp_path / first) == 3
        assert index.import_(tmp_path / second) == 0  # all are there
        assert index.query(pictures / "000.jpg")[0].score == 1.0


def test_a_backup_of_an_earlier_version_is_restored(
    collection: clipindex.Index, tmp_path: Path
) -> None:
    path = make_old(collection)
    collection.backup(tmp_path / "backup")
    restored = clipindex.Index(tmp_path / "again")
    restored.restore(tmp_path / "backup")
    again = restored.place.folder / "contract.json"
    assert json.loads(again.read_text())["contract"] == json.loads(path.read_text())["contract"]
    assert len(restored.query("a cat")) == 3


def test_two_machines_with_different_text_towers_fill_one_collection_on_a_server(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_pictures(tmp_path / "pictures", 4)
    models = [ready_made(tmp_path / "ann" / "m"), ready_made(tmp_path / "bob" / "m")]
    (models[1] / "text.onnx").write_bytes((models[1] / "text.onnx").read_bytes() + b"\x32\x01x")
    manifest = json.loads((models[1] / MANIFEST).read_text())
    manifest["files"]["text.onnx"] = described(models[1] / "text.onnx")
    (models[1] / MANIFEST).write_text(json.dumps(manifest))
    for number, model in enumerate(models):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / f"state-{number}"))
        index = clipindex.Index(
            server=Server(double.url), source=f"machine-{number}", model=str(model)
        )
        run = ingest(index, *made[2 * number : 2 * number + 2])
        assert run.summary.new == 2
    assert len(index.query("a cat")) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"size": 224.0}},
        {"image": {"size": -1}},
        {"image": {"fit": None}},
        {"image": [7]},
        {"fp32_files": {"a": 1}},
        {"fp32_files": {"a\n": "b"}},
        {"conversion": -1},
        {"conversion": "1"},
        {"conversion": True},
    ],
    ids=str,
)
def test_a_contract_that_anybody_may_have_written_is_checked(change: dict[str, object]) -> None:
    stored = StoredContract(contract_of(open_bundle(TINY), "exact", 1), "tiny", {})
    raw = stored.to_json()
    assert foreign_contract(raw) == stored
    raw["contract"]["image"]["resize"] = 256
    assert foreign_contract(raw) == StoredContract.from_json(raw)
    raw["contract"].update(change)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        foreign_contract(raw)
