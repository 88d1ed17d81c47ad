"""Whatever is wrong with the input: a message that says what to do, and its own exit code."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipindex.cli.app import app
from clipindex.errors import ModelError
from clipindex.model.bundle import DEFAULT_MODEL, find_bundle
from conftest import TINY, Ended, make_pictures, picture_bytes, run_clipindex

COLLECTION = "image_embeddings"
ERROR_FIELDS = {"type", "code", "kind", "message", "path", "hint"}


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A command run in this process leaves its SIGTERM handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def clip(*args: object) -> Ended:
    """`clipindex ARGS` in this process, without a terminal."""
    done = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def fails(code: int, *said: str, args: list[object]) -> None:
    """The command ends with `code` and says all of `said`, to people and with --json."""
    done = clip(*args)
    assert (done.code, done.out) == (code, "")
    for part in said:
        assert part in words(done.err)
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    with_json = clip(*args, "--json")
    (error,) = with_json.lines
    assert (with_json.code, error["type"], error["code"]) == (code, "error", code)
    assert set(error) == ERROR_FIELDS
    for part in said:
        assert part in words(f"{error['message']} {error['path']} {error['hint']}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "in", 3)
    return tmp_path / "in"


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Path:
    """The photos, indexed."""
    assert clip("ingest", photos, "--store", tmp_path / "store", "--model", TINY).code == 0
    return tmp_path / "store"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return shutil.copytree(TINY, tmp_path / "model")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


# --- folders and files -----------------------------------------------------------------------


def test_no_such_folder_is_2(photos: Path, tmp_path: Path) -> None:
    new = ["--store", tmp_path / "store", "--model", TINY]
    missing = tmp_path / "no such folder"
    fails(2, "no such file or folder", str(missing), args=["ingest", photos, missing, *new])
    assert not (tmp_path / "store").exists()  # refused before anything was made or read
    fails(2, "no such file or folder", args=["ingest", missing, *new, "--dry-run"])


def test_a_folder_without_files_is_0_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY]
    done = clip(*run)
    assert done.code == 0
    assert "no pictures found" in done.out
    (summary,) = clip(*run, "--json").lines
    assert (summary["found"], summary["exit_code"]) == (0, 0)


def test_a_folder_without_pictures_is_0_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("hello")
    done = clip("ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY)
    assert done.code == 0
    assert "no pictures" in done.out


@pytest.mark.parametrize("gone", ["emptied", "missing"])
def test_a_remembered_folder_that_is_empty_or_missing_is_2(
    photos: Path, store: Path, gone: str
) -> None:
    shutil.rmtree(photos)
    if gone == "emptied":
        photos.mkdir()
    said = ("3 pictures", "is the disk mounted?", str(photos))
    fails(2, *said, args=["ingest", photos, "--store", store])
    fails(2, *said, args=["ingest", photos, "--store", store, "--dry-run"])
    assert len(clip("query", "a dog", "--store", store).out.splitlines()) == 3


def test_what_holds_no_picture_leaves_a_remembered_collection_alone(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    assert clip("ingest", tmp_path / "other", "--store", store).code == 0
    assert len(clip("query", "a dog", "--store", store).out.splitlines()) == 3


def _obey_permissions() -> None:
    """In the child: root keeps its name but not the right to pass over permissions."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if os.geteuid() == 0 and _LIBC.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(99)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def unprivileged(*args: object) -> Ended:
    """`clipindex ARGS` by someone whom permissions bind, even where root runs the tests."""
    if _LIBC is None:
        pytest.skip("needs Linux to give up root's rights")
    done = run_clipindex(*args, preexec_fn=_obey_permissions)
    if done.code == 99:
        pytest.skip("this root may not give up its rights")
    assert "Traceback" not in done.err
    return done


@pytest.fixture
def closed() -> Iterator[Callable[[Path, int], None]]:
    """Takes permissions away, and gives them back so that the folder can be removed."""
    before: list[tuple[Path, int]] = []

    def close(path: Path, mode: int) -> None:
        before.append((path, path.stat().st_mode))
        path.chmod(mode)

    yield close
    for path, mode in reversed(before):
        path.chmod(mode)


def test_an_unreadable_folder_is_3_and_the_rest_is_indexed(
    photos: Path, tmp_path: Path, closed: Callable[[Path, int], None]
) -> None:
    make_pictures(photos / "secret", 2, first_seed=10)
    closed(photos / "secret", 0o000)
    run = ["ingest", photos, "--store", tmp_path / "store", "--json"]
    for model in (["--model", TINY], []):
        done = unprivileged(*run, *model)
        assert done.code == 3
        assert f"could not be read: {photos / 'secret'}: permission denied" in done.err
        assert done.lines[-1]["found"] == 3
    (photos / "secret").chmod(0o700)
    healed = unprivileged(*run)
    assert healed.code == 0
    assert (healed.lines[-1]["new"], healed.lines[-1]["unchanged"]) == (2, 3)


def test_an_unreadable_file_is_3_each_time_until_it_can_be_read(
    photos: Path, tmp_path: Path, closed: Callable[[Path, int], None]
) -> None:
    closed(photos / "001.jpg", 0o000)
    run = ["ingest", photos, "--store", tmp_path / "store", "--json"]
    first, second = unprivileged(*run, "--model", TINY), unprivileged(*run)
    assert (first.code, second.code) == (3, 3)
    assert [first.lines[-1][name] for name in ("new", "quarantined")] == [2, 1]
    assert [second.lines[-1][name] for name in ("unchanged", "quarantined")] == [2, 1]
    assert any(line.get("reason") == "permission denied" for line in second.lines)
    (photos / "001.jpg").chmod(0o600)
    assert unprivileged(*run).lines[-1]["new"] == 1


def test_a_damaged_picture_is_3_once_and_then_known(photos: Path, tmp_path: Path) -> None:
    (photos / "cut.jpg").write_bytes(picture_bytes(9)[:900])
    run = ["ingest", photos, "--store", tmp_path / "store", "--model", TINY]
    first = clip(*run)
    assert first.code == 3
    assert f"quarantined: {photos / 'cut.jpg'}: damaged or not decodable" in first.err
    assert "1 in quarantine (1 of them new)" in words(first.out)
    assert clip(*run).code == 0


# --- models ----------------------------------------------------------------------------------


def test_without_a_model_it_is_4_and_says_what_to_type(photos: Path, tmp_path: Path) -> None:
    try:
        find_bundle(DEFAULT_MODEL)
    except ModelError:
        said = ("'mini' is not on this machine", "install clipindex again")
        fails(4, *said, args=["ingest", photos, "--store", tmp_path / "store"])
        assert not (tmp_path / "store").exists()
    else:
        pytest.skip("the default model is bundled")


def test_an_unknown_model_is_4(photos: Path, tmp_path: Path) -> None:
    new = ["ingest", photos, "--store", tmp_path / "store"]
    fails(4, "no model named 'ViT-Z'", "--model", args=[*new, "--model", "ViT-Z"])
    nowhere = tmp_path / "nowhere"
    fails(4, "no model.json", str(nowhere), "--model", args=[*new, "--model", nowhere])
    fails(4, "no model.json", args=[*new, "--model", photos])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["vision.onnx", "text.onnx", "tokenizer.json"])
def test_a_model_that_lacks_a_file_is_4(
    photos: Path, tmp_path: Path, model: Path, name: str
) -> None:
    (model / name).unlink()
    new = ["ingest", photos, "--store", tmp_path / "store", "--model", model]
    fails(4, "damaged", name, "missing", "again", args=new)


def test_a_model_cut_short_is_4(photos: Path, tmp_path: Path, model: Path) -> None:
    whole = (model / "vision.onnx").read_bytes()
    (model / "vision.onnx").write_bytes(whole[: len(whole) // 2])
    new = ["ingest", photos, "--store", tmp_path / "store", "--model", model]
    fails(4, "damaged", "vision.onnx", f"{len(whole)}", args=new)


def test_a_model_with_another_content_of_the_same_size_is_4(
    photos: Path, tmp_path: Path, model: Path
) -> None:
    whole = (model / "vision.onnx").read_bytes()
    half = len(whole) // 2
    (model / "vision.onnx").write_bytes(whole[:half] + bytes(len(whole) - half))
    new = ["ingest", photos, "--store", tmp_path / "store", "--model", model]
    fails(4, "damaged", "vision.onnx", "differs from model.json", args=new)
    assert not (tmp_path / "store" / COLLECTION).exists()


def test_a_model_that_was_damaged_later_is_4_as_soon_as_it_would_embed(
    photos: Path, tmp_path: Path, model: Path
) -> None:
    again = ["ingest", photos, "--store", tmp_path / "store", "--model", model]
    assert run_clipindex(*again).code == 0
    whole = (model / "text.onnx").read_bytes()
    (model / "text.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run_clipindex(*again).code == 0  # nothing is new: nothing is embedded
    make_pictures(photos, 1, first_seed=90)
    fails(4, "damaged", "text.onnx", "differs from model.json", args=again)
    (model / "text.onnx").write_bytes(whole)
    assert run_clipindex(*again).code == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "{}", '{"schema": 99}', "\0\xff"])
def test_a_broken_model_json_is_4(photos: Path, tmp_path: Path, model: Path, content: str) -> None:
    (model / "model.json").write_text(content, "latin-1")
    new = ["ingest", photos, "--store", tmp_path / "store", "--model", model]
    fails(4, "damaged", "model.json", args=new)


def test_a_collection_whose_model_is_gone_is_4_and_takes_its_new_place(
    photos: Path, tmp_path: Path, model: Path
) -> None:
    place = ["--store", tmp_path / "store"]
    clip("ingest", photos, *place, "--model", model)
    moved = model.rename(tmp_path / "moved")
    for args in (["query", "a dog", *place], ["ingest", photos, *place]):
        fails(4, "tiny-clip", str(model), "--model DIR", args=args)
        done = clip(*args, "--model", moved)
        assert done.code == 0
    assert clip("query", "a dog", *place).code == 0  # the ingest noted the new place


def test_a_text_tower_that_onnxruntime_refuses_is_4(
    photos: Path, tmp_path: Path, model: Path
) -> None:
    place = ["--store", tmp_path / "store"]
    clip("ingest", photos, *place, "--model", model)
    size = (model / "text.onnx").stat().st_size
    (model / "text.onnx").write_bytes(b"\xff" * size)
    fails(4, "text.onnx", args=["query", "a dog", *place])


# --- contracts -------------------------------------------------------------------------------


def test_another_preprocessing_is_5_and_named(photos: Path, store: Path) -> None:
    args = ["ingest", photos, "--store", store, "--preprocessing", "exact"]
    fails(5, "preprocessing: dct-scaled (asked for: exact)", "--collection", args=args)


def test_an_older_version_of_the_preprocessing_is_5_and_says_to_ingest_again(
    photos: Path, store: Path
) -> None:
    edit(
        store / COLLECTION / "contract.json",
        lambda stored: stored["contract"].update(preprocessing_version=1),
    )
    said = ("another preprocessing version: dct-scaled 1", "dct-scaled 2", "new --collection")
    asked = ["ingest", photos, "--preprocessing", "dct-scaled"]
    for args in (["ingest", photos], asked, ["query", "a dog"]):
        fails(5, *said, args=[*args, "--store", store])


def other_weights(manifest: dict[str, Any]) -> None:
    manifest["files"]["vision.onnx"].update(sha256="0" * 64)


def test_another_model_is_5_and_named(photos: Path, store: Path, model: Path) -> None:
    edit(model / "model.json", other_weights)
    edit(model / "model.json", lambda manifest: manifest.update(model="other-clip"))
    for command in (["ingest", photos], ["query", "a dog"]):
        args = [*command, "--store", store, "--model", model]
        fails(5, "another model: tiny-clip (asked for: other-clip)", args=args)


def test_another_revision_and_other_weights_are_5_and_named(
    photos: Path, store: Path, model: Path
) -> None:
    args = ["ingest", photos, "--store", store, "--model", model]
    edit(model / "model.json", other_weights)
    fails(5, "other model files: vision.onnx", args=args)
    edit(model / "model.json", lambda manifest: manifest.update(revision="seed-1"))
    fails(5, "another revision: seed-0 (asked for: seed-1)", args=args)


def test_the_same_weights_under_another_name_are_the_same_model(
    photos: Path, store: Path, model: Path
) -> None:
    edit(model / "model.json", lambda manifest: manifest.update(model="other", revision="1"))
    assert clip("ingest", photos, "--store", store, "--model", model).code == 0


def test_another_dimension_and_precision_are_5_and_named(store: Path, model: Path) -> None:
    args = ["query", "a dog", "--store", store, "--model", model]
    edit(model / "model.json", lambda manifest: manifest.update(dimension=256))
    fails(5, "another dimension: 512 (asked for: 256)", args=args)
    edit(model / "model.json", lambda manifest: manifest.update(dimension=512, precision="int8"))
    fails(5, "another precision: fp32 (asked for: int8)", args=args)


def test_a_refused_ingest_changes_nothing(photos: Path, store: Path) -> None:
    before = clip("query", "a dog", "--store", store, "--json").out
    make_pictures(photos / "later", 1, first_seed=50)
    clip("ingest", photos, "--store", store, "--preprocessing", "exact")
    assert clip("query", "a dog", "--store", store, "--json").out == before


# --- collections -----------------------------------------------------------------------------


def test_a_missing_collection_is_6_and_nothing_is_made(tmp_path: Path, store: Path) -> None:
    nowhere = ["--store", tmp_path / "nowhere"]
    said = ("there is no collection 'image_embeddings'", "clipindex ingest")
    fails(6, *said, args=["query", "a dog", *nowhere])
    fails(6, *said, args=["status", *nowhere])
    other = ["--store", store, "--collection", "other"]
    fails(6, "there is no collection 'other'", args=["query", "a dog", *other])
    assert not (tmp_path / "nowhere").exists()
    assert not (store / "other").exists()


def test_an_empty_collection_is_0_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    place = ["--store", tmp_path / "store"]
    clip("ingest", tmp_path / "in", *place, "--model", TINY)
    done = clip("query", "a dog", *place)
    assert (done.code, done.out) == (0, "")
    assert done.err.strip()
    (status,) = clip("status", *place, "--json").lines
    assert status["indexed"] == 0


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-a", "a/b", "../a", "a b", "ä", "a\n"])
def test_a_name_that_no_collection_can_have_is_2(photos: Path, tmp_path: Path, name: str) -> None:
    place = ["--store", tmp_path / "store", f"--collection={name}"]
    said = "cannot name a collection" if name else "--collection is empty"
    fails(2, said, args=["ingest", photos, *place, "--model", TINY])
    fails(2, said, args=["query", "a dog", *place])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["a file", "below a file"])
def test_a_store_that_cannot_be_a_folder_is_6(photos: Path, tmp_path: Path, kind: str) -> None:
    store = tmp_path / "file"
    store.write_text("not a folder")
    store = store if kind == "a file" else store / "store"
    fails(6, str(store), args=["ingest", photos, "--store", store, "--model", TINY])


def test_a_store_that_may_not_be_written_is_6(
    photos: Path, tmp_path: Path, closed: Callable[[Path, int], None]
) -> None:
    (tmp_path / "theirs").mkdir()
    closed(tmp_path / "theirs", 0o500)
    new = ["ingest", photos, "--store", tmp_path / "theirs", "--model", TINY, "--json"]
    done = unprivileged(*new)
    assert done.code == 6
    (error,) = done.lines
    assert "Permission denied" in error["message"]
    assert "--store" in error["hint"]


def test_a_collection_of_someone_else_is_read_and_6_where_it_would_be_written(
    photos: Path, store: Path, closed: Callable[[Path, int], None]
) -> None:
    for path in sorted((store / COLLECTION).rglob("*")):
        if path.is_file():
            closed(path, 0o400)
    closed(store / COLLECTION, 0o500)
    done = unprivileged("ingest", photos, "--store", store)
    assert done.code == 6
    assert "permissions" in done.err
    done = unprivileged("query", "a dog", "--store", store)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == len(list(photos.iterdir()))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"contract": {}}', "\xff\xfe"])
def test_a_damaged_contract_is_6(photos: Path, store: Path, content: str) -> None:
    contract = store / COLLECTION / "contract.json"
    contract.write_text(content, "latin-1")
    for args in (["ingest", photos], ["query", "a dog"], ["status"]):
        said = ("contract cannot be read", str(contract), "backup")
        fails(6, *said, args=[*args, "--store", store])


@pytest.mark.parametrize("field", ["preprocessing", "schema", "preprocessing_version"])
def test_a_contract_of_a_later_clipindex_is_refused_in_plain_words(
    photos: Path, store: Path, field: str
) -> None:
    later = "learned" if field == "preprocessing" else 99
    edit(
        store / COLLECTION / "contract.json",
        lambda stored: stored["contract"].update({field: later}),
    )
    for args in (["ingest", photos], ["query", "a dog"]):
        done = clip(*args, "--store", store)
        assert done.code in (5, 6)
        assert "unexpected" not in done.err


@pytest.mark.parametrize("name", ["edge_config.json", "wal/first-index", "segments/*/segment.json"])
def test_a_damaged_shard_is_6_and_whole_again_once_it_is_mended(
    photos: Path, store: Path, name: str
) -> None:
    (path,) = (store / COLLECTION / "shard").glob(name)
    content = path.read_bytes()
    for args in (["query", "a dog"], ["ingest", photos]):
        path.write_bytes(content[:-5])
        fails(6, "cannot be opened", "backup", args=[*args, "--store", store])
        path.write_bytes(content)
        assert len(clip("query", "a dog", "--store", store).out.splitlines()) == 3


def test_a_shard_on_which_the_engine_panics_is_6_without_a_traceback(
    photos: Path, store: Path
) -> None:
    (status,) = (store / COLLECTION / "shard").glob("segments/*/vector_storage/vectors/status.dat")
    status.write_bytes(b"")
    for args in (["query", "a dog"], ["ingest", photos]):
        done = run_clipindex(*args, "--store", store)
        assert done.code == 6
        assert "Traceback" not in done.err


@pytest.mark.parametrize("lost", ["edge_config.json", "the whole shard"])
def test_a_collection_whose_points_are_lost_is_6_and_nothing_is_made_or_deleted(
    photos: Path, store: Path, lost: str
) -> None:
    shard = store / COLLECTION / "shard"
    if lost == "the whole shard":
        shutil.rmtree(shard)
    else:
        (shard / lost).unlink()
    kept = sorted(shard.rglob("*"))
    for args in (["query", "a dog"], ["ingest", photos]):
        assert clip(*args, "--store", store).code == 6
        assert sorted(shard.rglob("*")) == kept


# --- the catalogue ---------------------------------------------------------------------------


def test_a_deleted_catalogue_comes_back_from_the_points_without_opening_a_picture(
    photos: Path, store: Path, closed: Callable[[Path, int], None]
) -> None:
    for path in (store / COLLECTION).glob("catalogue.sqlite*"):
        path.unlink()
    for path in photos.iterdir():
        closed(path, 0o000)  # what cannot be opened cannot have been read
    done = unprivileged("ingest", photos, "--store", store, "--json")
    assert done.code == 0
    summary = done.lines[-1]
    counts = [summary[name] for name in ("found", "unchanged", "embedded", "written", "points")]
    assert counts == [3, 3, 0, 0, 3]
    (status,) = clip("status", "--store", store, "--json").lines
    assert status["indexed"] == 3


@pytest.mark.parametrize("damage", ["not a database", "damaged pages"])
def test_a_damaged_catalogue_is_6_with_a_hint_that_helps(
    photos: Path, store: Path, damage: str
) -> None:
    catalogue = store / COLLECTION / "catalogue.sqlite"
    content = catalogue.read_bytes()
    kept = content[:4096] if damage == "damaged pages" else b""
    catalogue.write_bytes(kept + b"Z" * (len(content) - len(kept)))
    for args in (["ingest", photos], ["ingest", photos, "--dry-run"], ["status"]):
        said = ("the catalogue cannot be read", "delete that file", str(catalogue))
        fails(6, *said, args=[*args, "--store", store])
    assert clip("query", "a dog", "--store", store).code == 0  # a query does not need it
    catalogue.unlink()
    assert clip("ingest", photos, "--store", store, "--json").lines[-1]["unchanged"] == 3


def test_a_catalogue_of_a_later_clipindex_is_6(photos: Path, store: Path) -> None:
    import sqlite3

    db = sqlite3.connect(store / COLLECTION / "catalogue.sqlite")
    db.execute("PRAGMA user_version=99")
    db.close()
    fails(6, "schema 99", args=["ingest", photos, "--store", store])


# --- queries ---------------------------------------------------------------------------------


def test_a_query_picture_that_is_none_is_2(store: Path, tmp_path: Path) -> None:
    for name, content, said in (
        ("notes.txt", b"hello", "not a picture"),
        ("bad.jpg", b"hello", "has a picture's extension, but is not a picture"),
        ("empty.jpg", b"", "empty file"),
        ("cut.jpg", picture_bytes(9)[:900], "damaged or not decodable"),
    ):
        (tmp_path / name).write_bytes(content)
        args = ["query", tmp_path / name, "--store", store]
        fails(2, "the query picture cannot be read", said, str(tmp_path / name), args=args)


def test_a_query_picture_that_may_not_be_read_is_2(
    store: Path, photos: Path, closed: Callable[[Path, int], None]
) -> None:
    closed(photos / "000.jpg", 0o000)
    done = unprivileged("query", photos / "000.jpg", "--store", store)
    assert (done.code, done.out) == (2, "")
    assert "permission denied" in done.err


def test_a_text_longer_than_the_context_is_cut_with_a_warning(store: Path) -> None:
    done = clip("query", "a dog " * 100, "--store", store)
    assert done.code == 0
    assert len(done.out.splitlines()) == 3
    assert "the model reads 77" in done.err
    assert "the rest is cut" in done.err
    with_json = clip("query", "a dog " * 100, "--store", store, "--json")
    assert len(with_json.lines) == 3


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", " ", "\0", "🌊", "a" * 100_000, "\udcff", "\x1b[31m"])
def test_no_text_breaks_a_query(store: Path, text: str) -> None:
    done = clip("query", "--store", store, "--", text)
    assert done.code in (0, 2)
    assert "unexpected" not in done.err


@pytest.mark.parametrize(
    "option",
    [
        *(["ingest", ".", "--batch-size", value] for value in ("0", "-1", "251", "x", "2.5")),
        *(["ingest", ".", "--limit", value] for value in ("-1", "x")),
        *(["ingest", ".", "--workers", value] for value in ("0", "x")),
        ["ingest", ".", "--preprocessing", "blurred"],
        *(["query", "a dog", "--limit", value] for value in ("0", "-1", "x")),
        *(["query", "a dog", "--min-score", value] for value in ("1.1", "-1.1", "x")),
    ],
    ids=" ".join,
)
def test_a_value_out_of_range_is_2_and_the_option_is_named(option: list[str]) -> None:
    done = clip(*option)
    assert (done.code, done.out) == (2, "")
    assert option[2] in words(done.err)


# --- the disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    place = tmp_path / "small disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root on Linux to mount a small file system")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_9_before_the_engine_can_die_of_it(photos: Path, small_disk: Path) -> None:
    new = ["ingest", photos, "--store", small_disk / "store", "--model", TINY]
    fails(9, "MiB are free", "free some space", args=new)
