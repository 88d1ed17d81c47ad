"""Export and import: a collection goes anywhere and comes back the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipindex
from clipindex.collection.opening import open_for_change
from clipindex.errors import (
    ClipIndexError,
    ContractMismatch,
    StoreError,
    UsageError,
    VerificationFailed,
)
from clipindex.stores import connection, edge
from clipindex.stores.address import Server
from clipindex.stores.points import Point
from clipindex.upkeep import export_reading, transfer
from conftest import TINY, ingest, make_pictures, run_clipindex
from qdrant_double import Double, Request
from test_cli import in_terminal
from test_ingest import same_state, stored


def is_late(request: Request, count: Iterator[int]) -> bool:
    """Whether it is a write, and five were before it."""
    return request.method == "PUT" and next(count) > 4


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> clipindex.Index:
    """Thirty pictures, some with tags; files of seven points, requests of three."""
    monkeypatch.setattr(transfer, "POINTS_PER_FILE", 7)
    monkeypatch.setattr(transfer, "POINTS_AT_ONCE", 3)
    make_pictures(tmp_path / "photos", 30)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, tmp_path / "photos")
    index.tag({"who": "ann"}, [tmp_path / "photos" / "003.jpg"])
    return index


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of thirty pictures in five pairs of files, made once."""
    folder = tmp_path_factory.mktemp("pristine")
    make_pictures(folder / "photos", 30)
    index = clipindex.Index(folder / "store", model=str(TINY))
    ingest(index, folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "POINTS_PER_FILE", 7)
        transfer.export(index.place, folder / "out")
    return folder / "out"


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    """An export to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def empty(tmp_path: Path, name: str = "other") -> clipindex.Index:
    return clipindex.Index(tmp_path / name)


def writes(double: Double) -> int:
    return sum(r.method == "PUT" and "/points" in r.path for r in double.log)


def test_an_export_comes_back_the_same(filled: clipindex.Index, tmp_path: Path) -> None:
    assert transfer.export(filled.place, tmp_path / "out") == 30
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[:2] == ["export.json", "points-00000.jsonl"]
    assert len(names) == 11
    other = empty(tmp_path)
    assert transfer.import_(tmp_path / "out", other.place) == 30
    assert same_state(filled, other)
    assert transfer.import_(tmp_path / "out", other.place) == 0
    assert len(other.query("x", clipindex.QueryOptions(where=(("who", "ann"),)))) == 1


def test_after_an_import_nothing_is_read_again(filled: clipindex.Index, tmp_path: Path) -> None:
    transfer.export(filled.place, tmp_path / "out")
    other = empty(tmp_path)
    transfer.import_(tmp_path / "out", other.place)
    last = list(other.reindex_events())[-1]  # the remembered folders came along
    assert isinstance(last, clipindex.RunFinished)
    assert (last.summary.unchanged, last.summary.written) == (30, 0)


@pytest.mark.slow
def test_from_a_folder_to_a_server_and_back(
    filled: clipindex.Index, double: Double, tmp_path: Path
) -> None:
    there = clipindex.Index(server=Server(double.url))
    assert transfer.copy(filled.place, there.place) == 30
    sources = {point.payload["source"] for point in stored(there).values()}
    assert sources == {there.place.source}
    last = list(there.reindex_events())[-1]
    assert isinstance(last, clipindex.RunFinished)
    assert (last.summary.unchanged, last.summary.written) == (30, 0)
    back = empty(tmp_path)
    assert transfer.copy(there.place, back.place) == 30
    assert same_state(filled, back)
    transfer.export(there.place, tmp_path / "out")
    again = empty(tmp_path, "again")
    transfer.import_(tmp_path / "out", again.place)
    assert same_state(filled, again)


def test_an_interrupted_copy_goes_on_where_it_stopped(
    filled: clipindex.Index, double: Double
) -> None:
    there = clipindex.Index(server=Server(double.url))
    count = iter(range(100))
    double.fail(
        "401",
        times=99,
        when=lambda r: "/points?" in r.path and r.method == "PUT" and next(count) > 4,
    )
    with pytest.raises(StoreError):
        transfer.copy(filled.place, there.place)
    assert len(stored(there)) == 15
    double.faults.clear()
    double.log.clear()
    assert transfer.copy(filled.place, there.place) == 15
    assert writes(double) == 5
    assert transfer.copy(filled.place, there.place) == 0
    assert len(stored(there)) == 30


def test_an_interrupted_export_keeps_its_whole_files(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    transfer.export(filled.place, out)
    kept = out / "vectors-00001.npy"
    before = kept.stat().st_mtime_ns
    (out / "export.json").unlink()
    (out / "points-00003.jsonl").rename(out / "points-00003.jsonl.partial")
    with pytest.raises(StoreError, match="no complete export"):
        transfer.import_(out, empty(tmp_path).place)
    transfer.export(filled.place, out)
    assert kept.stat().st_mtime_ns == before
    assert not list(out.glob("*.partial"))
    transfer.import_(out, empty(tmp_path).place)
    assert same_state(filled, empty(tmp_path))


def test_a_smaller_export_leaves_nothing_of_a_larger_one(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    transfer.export(filled.place, tmp_path / "out")
    with open_for_change(filled.place, "test") as held:
        held.points.delete([id for id, _ in held.points.scroll()][2:])
    assert transfer.export(filled.place, tmp_path / "out") == 2
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_an_export_deletes_no_file_but_its_own(filled: clipindex.Index, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "@eaDir").mkdir(parents=True)  # as a NAS creates it in every folder
    (out / "points-00008.jsonl").mkdir()

    def write_a_letter(done: int, _total: int) -> None:
        (out / f"letter {done}.doc").write_text("not yours")

    for _ in range(2):
        assert transfer.export(filled.place, out, write_a_letter) == 30
    letters = {f"letter {done}.doc" for done in (7, 14, 21, 28, 30)}
    names = {path.name for path in out.iterdir()}
    assert names >= {"@eaDir", "points-00008.jsonl"} | letters
    assert transfer.import_(out, empty(tmp_path).place) == 30
    assert same_state(filled, empty(tmp_path))


def test_another_collection_s_export_is_not_overwritten(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    transfer.export(filled.place, tmp_path / "out")
    make_pictures(tmp_path / "few", 2, first_seed=70)
    few = clipindex.Index(tmp_path / "small", model=str(TINY))
    ingest(few, tmp_path / "few")
    with pytest.raises(UsageError, match="another collection"):
        transfer.export(few.place, tmp_path / "out")
    target = clipindex.Index(tmp_path / "target")
    assert transfer.import_(tmp_path / "out", target.place) == 30


@pytest.mark.parametrize("content", ["[]", "{}", '{"of": 3}', '{"of": ["a"]}', "not JSON"])
def test_a_file_that_is_named_like_ours_and_is_not_is_left_alone(
    filled: clipindex.Index, tmp_path: Path, content: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text(content)
    with pytest.raises(UsageError, match=r"export\.json"):
        transfer.export(filled.place, tmp_path / "out")
    assert (tmp_path / "out" / "export.json").read_text() == content


@pytest.mark.parametrize("victim", ["points-00002.jsonl", "vectors-00002.npy"])
def test_a_damaged_export_is_exit_7(filled: clipindex.Index, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "out"
    transfer.export(filled.place, out)
    damaged = bytearray((out / victim).read_bytes())
    damaged[-40] ^= 1
    (out / victim).write_bytes(damaged)
    with pytest.raises(VerificationFailed, match="not what was written"):
        transfer.import_(out, empty(tmp_path).place)


# --- nothing in an export is trusted ---------------------------------------------------------


def rewrite(out: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the records of the last file, with a right checksum."""
    lines = max(out.glob("points-*.jsonl"))
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    change(records)
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    bless(out)


def bless(out: Path) -> None:
    """Write the sums of the files as they are into the manifest."""
    manifest = json.loads((out / "export.json").read_text())
    for number, pair in enumerate(manifest["files"]):
        names = (f"points-{number:05d}.jsonl", f"vectors-{number:05d}.npy")
        pair["sha256"] = [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names]
    (out / "export.json").write_text(json.dumps(manifest))


def deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


BAD_RECORDS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "a deep payload": lambda records: records[1]["payload"].update(tag_x=deep(130)),
    "a field no filter could find": lambda records: records[1]["payload"].update({"a.b": 1}),
    "a missing field": lambda records: records[1]["payload"].pop("width"),
    "a huge number": lambda records: records[1]["payload"].update(bytes=2**64),
    "another id": lambda records: records[1].update(id=str(uuid.uuid4())),
    "no id": lambda records: records[1].update(id=3),
    "no payload": lambda records: records[1].pop("payload"),
    "a payload that is a list": lambda records: records[1].update(payload=[1]),
    "no record": lambda records: records.__setitem__(1, 5),
    "too few lines": lambda records: records.pop(),
    "too many lines": lambda records: records.append(records[0]),
}


@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_a_bad_record_is_refused_before_anything_is_written(
    out: Path, tmp_path: Path, bad: str
) -> None:
    rewrite(out, BAD_RECORDS[bad])
    with pytest.raises(StoreError, match=r"cannot be read: .*line") as caught:
        transfer.import_(out, empty(tmp_path).place)
    assert caught.value.path == str(out / "points-00004.jsonl")
    assert not (tmp_path / "other").exists()


def test_a_good_collection_outlives_a_bad_import(out: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "more", 3, first_seed=80)
    good = clipindex.Index(tmp_path / "good", model=str(TINY))
    ingest(good, tmp_path / "more")
    rewrite(out, BAD_RECORDS["a deep payload"])
    with pytest.raises(StoreError, match="invalid value in the field 'tag_x'"):
        transfer.import_(out, good.place)
    assert len(stored(good)) == 3
    assert len(good.query("a dog")) == 3
    assert ingest(good, tmp_path / "more").summary.unchanged == 3


def wrong_vectors(out: Path, vectors: np.ndarray[Any, Any]) -> None:
    np.save(out / "vectors-00000.npy", vectors)
    bless(out)


@pytest.mark.parametrize("wrong", ["long", "nan", "float64", "few", "short", "objects", "zip"])
def test_bad_vectors_are_refused_before_anything_is_written(
    out: Path, tmp_path: Path, wrong: str
) -> None:
    vectors = np.load(out / "vectors-00000.npy")
    nan = vectors.copy()
    nan[3, 5] = np.nan
    wrong_vectors(
        out,
        {
            "long": vectors * np.float32(1.5),
            "nan": nan,
            "float64": vectors.astype(np.float64),
            "few": vectors[:-1],
            "short": vectors[:, :100],
            "objects": vectors.astype(object),
            "zip": vectors,
        }[wrong],
    )
    if wrong == "zip":
        with open(out / "vectors-00000.npy", "wb") as file:
            np.savez(file, vectors)
        bless(out)
    with pytest.raises((StoreError, VerificationFailed)):
        transfer.import_(out, empty(tmp_path).place)
    assert not (tmp_path / "other").exists()


BAD_MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a newer format": lambda raw: raw.update(format=2),
    "no format": lambda raw: raw.pop("format"),
    "a folder without options": lambda raw: raw["roots"][0].pop("options"),
    "an unknown option": lambda raw: raw["roots"][0]["options"]["policy"].update(x=1),
    "an option that is none": lambda raw: raw["roots"][0]["options"]["policy"].update(hidden="x"),
    "patterns that are none": lambda raw: raw["roots"][0]["options"]["policy"].update(exclude=[1]),
    "a tag that is none": lambda raw: raw["roots"][0]["options"]["tags"].update({"a.b": "c"}),
    "a wrong path": lambda raw: raw["roots"][0].update(path="!"),
    "wrong sums": lambda raw: raw["files"][0].update(sha256=["", "", ""]),
    "too many points": lambda raw: raw["files"][0].update(points=10**9),
    "another number": lambda raw: raw.update(points=29),
    "a text as number": lambda raw: raw.update(points="30"),
    "no contract": lambda raw: raw.update(contract=None),
    "another contract": lambda raw: raw["contract"]["contract"].update(more=1),
    "escapes": lambda raw: raw["contract"]["contract"].update(model="\x1b[2J"),
    "a text as dimension": lambda raw: raw["contract"]["contract"].update(dimension="512"),
    "a list": lambda raw: raw.update(files=5),
}


@pytest.mark.parametrize("bad", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused_before_anything_is_written(
    out: Path, tmp_path: Path, bad: str
) -> None:
    manifest = json.loads((out / "export.json").read_text())
    BAD_MANIFESTS[bad](manifest)
    (out / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError) as caught:
        transfer.import_(out, empty(tmp_path).place)
    assert caught.value.path == str(out / "export.json")
    assert caught.value.message.isprintable()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["export.json", "points-00000.jsonl", "vectors-00000.npy"])
@pytest.mark.parametrize("content", ["deep", "endless", "pipe", "device", "folder", "empty"])
def test_a_file_that_is_no_file_of_an_export_neither_hangs_nor_crashes(
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str,
) -> None:
    monkeypatch.setattr(export_reading, "LARGEST_MANIFEST", 1 << 20)
    monkeypatch.setattr(export_reading, "LONGEST_LINE", 1 << 20)
    victim = out / name
    victim.unlink()
    match content:
        case "deep":
            victim.write_bytes(b"[" * 500_000)
        case "endless":
            victim.write_bytes(b" " * (3 << 20))
        case "pipe":
            os.mkfifo(victim)
        case "device":
            victim.symlink_to("/dev/zero")
        case "folder":
            victim.mkdir()
        case "empty":
            victim.touch()
    if name != "export.json" and content in ("deep", "endless", "empty"):
        bless(out)
    with pytest.raises((StoreError, VerificationFailed)):
        transfer.import_(out, empty(tmp_path).place)
    assert not (tmp_path / "other").exists()


def test_an_export_replaces_files_that_were_damaged_on_the_disk(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    transfer.export(filled.place, out)
    vectors = np.load(out / "vectors-00001.npy")
    np.save(out / "vectors-00001.npy", vectors[::-1])
    assert transfer.export(filled.place, out) == 30
    assert transfer.import_(out, empty(tmp_path).place) == 30
    assert same_state(filled, empty(tmp_path))


@pytest.mark.parametrize("damage", ["vector", "payload", "id"])
def test_a_damaged_point_is_never_exported_or_copied(
    filled: clipindex.Index, tmp_path: Path, damage: str
) -> None:
    path, point = next(iter(sorted(stored(filled).items())))
    with open_for_change(filled.place, "test") as held:
        assert isinstance(held.points, edge.EdgePoints)
        damaged = {
            "vector": Point(point.id, point.vector * np.float32("nan"), point.payload),
            "payload": Point(point.id, point.vector, {**point.payload, "width": "wide"}),
            "id": Point(uuid.uuid4(), point.vector, point.payload),
        }[damage]
        record = edge.engine.Point(damaged.id, damaged.vector, damaged.payload)
        held.points._shard.update(edge.engine.UpdateOperation.upsert_points([record]))
    for bring in (
        lambda: transfer.export(filled.place, tmp_path / "out"),
        lambda: transfer.copy(filled.place, empty(tmp_path).place),
    ):
        with pytest.raises(VerificationFailed, match="damaged") as caught:
            bring()
        assert caught.value.path == str(path)
        assert "touch the picture" in caught.value.hint
    assert not (tmp_path / "out" / "export.json").exists()
    if damage != "id":
        os.utime(path)
        summary = ingest(filled, tmp_path / "photos").summary
        assert (summary.embedded, summary.points) == (1, 30)
        assert transfer.export(filled.place, tmp_path / "out") == 30


@pytest.mark.parametrize("year", [1601, 2300])
def test_a_collection_with_a_time_beyond_64_bits_heals(
    filled: clipindex.Index, tmp_path: Path, year: int
) -> None:
    """As an earlier version left it: the point is stored, the run ended at the catalogue."""
    nanoseconds = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    picture = tmp_path / "photos" / "005.jpg"
    point = stored(filled)[str(picture)]
    with open_for_change(filled.place, "test") as held:
        held.points.upsert(
            [Point(point.id, point.vector, {**point.payload, "mtime_ns": nanoseconds})]
        )
    (tmp_path / "store" / "image_embeddings" / "catalogue.sqlite").unlink()
    summary = ingest(filled, tmp_path / "photos").summary
    assert (summary.points, summary.embedded) == (30, 0)
    assert ingest(filled, tmp_path / "photos").summary.unchanged == 30
    assert transfer.export(filled.place, tmp_path / "out") == 30
    assert transfer.import_(tmp_path / "out", empty(tmp_path).place) == 30


@pytest.mark.parametrize("kept", [("source", "path", "folders", "sha256"), ("source", "path"), ()])
def test_a_point_with_an_incomplete_payload_is_made_anew_by_an_ingest(
    filled: clipindex.Index, tmp_path: Path, kept: tuple[str, ...]
) -> None:
    picture = tmp_path / "photos" / "005.jpg"
    point = stored(filled)[str(picture)]
    incomplete = {name: point.payload[name] for name in kept}
    with open_for_change(filled.place, "test") as held:
        held.points.upsert([Point(point.id, point.vector, incomplete)])
    (tmp_path / "store" / "image_embeddings" / "catalogue.sqlite").unlink()
    found = filled.query("a dog", clipindex.QueryOptions(limit=30))
    assert len(found) == (30 if "sha256" in kept else 29)
    summary = ingest(filled, tmp_path / "photos").summary
    assert (summary.new, summary.unchanged, summary.points) == (1, 29, 30)
    assert stored(filled)[str(picture)].payload["width"] == point.payload["width"]


def test_an_export_of_another_model_is_refused(filled: clipindex.Index, tmp_path: Path) -> None:
    out = tmp_path / "out"
    transfer.export(filled.place, out)
    manifest = json.loads((out / "export.json").read_text())
    manifest["contract"]["contract"] |= {"revision": "another", "files": {"vision.onnx": "00"}}
    (out / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(ContractMismatch, match="another revision"):
        transfer.import_(out, filled.place)


def test_what_would_do_harm_is_a_usage_error(filled: clipindex.Index, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onto itself"):
        transfer.copy(filled.place, filled.place)
    with pytest.raises(ClipIndexError, match="no collection"):
        transfer.export(empty(tmp_path).place, tmp_path / "nothing")
    assert not (tmp_path / "nothing" / "export.json").exists()


@pytest.mark.slow
def test_the_commands_go_there_and_back(
    filled: clipindex.Index, double: Double, tmp_path: Path
) -> None:
    store, out = str(filled.place.name), tmp_path / "out"
    assert run_clipindex("export", "--store", store, "--to-url", double.url).out == "30 copied\n"
    ended = run_clipindex("export", out, "--url", double.url, "--json")
    assert ended.lines == [{"type": "exported", "count": 30}]
    other = tmp_path / "other"
    assert run_clipindex("import", out, "--store", other).out == "30 imported\n"
    assert same_state(filled, empty(tmp_path))
    assert run_clipindex("export", out, "--to-store", other).code == 2


def test_a_copy_waits_for_its_target_as_long_as_it_is_told(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    store, target = str(filled.place.name), empty(tmp_path)
    ingest(target, *make_pictures(tmp_path / "more", 1))
    copy = ("export", "--store", store, "--to-store", target.place.folder.parent, "--wait", "0")
    with open_for_change(target.place, "tag"):
        done = run_clipindex(*copy)
    assert (done.code, "--wait" in done.err) == (11, True)
    done = run_clipindex("export", tmp_path / "out", "--store", store, "--wait", "0")
    assert (done.code, "not with a folder" in done.err) == (2, True)


def test_a_transfer_tells_how_far_it_is(filled: clipindex.Index, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def moved(done: int, total: int) -> None:
        seen.append((done, total))

    transfer.export(filled.place, tmp_path / "out", moved)
    assert seen == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]
    for bring in (
        lambda: transfer.import_(tmp_path / "out", empty(tmp_path).place, moved),
        lambda: transfer.copy(filled.place, empty(tmp_path, "third").place, moved),
    ):
        seen.clear()
        assert bring() == 30
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert (seen[-1], {total for _, total in seen}) == ((30, 30), {30})


@pytest.mark.slow
def test_only_a_terminal_shows_how_far_a_transfer_is(
    filled: clipindex.Index, tmp_path: Path
) -> None:
    export = ("export", tmp_path / "out", "--store", filled.place.name)
    code, screen = in_terminal(*export)
    assert code == 0
    assert re.search(r"30/30 .*points/s", screen)
    assert screen.rstrip().endswith("30 exported")
    for silent in ("--quiet", "--json"):
        assert "points/s" not in in_terminal(*export, silent)[1]
    piped = run_clipindex("import", tmp_path / "out", "--store", tmp_path / "other")
    assert (piped.out, piped.err) == ("30 imported\n", "")


def test_a_large_import_builds_the_index_once(
    filled: clipindex.Index, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipindex.stores import server_bulk

    monkeypatch.setattr(server_bulk, "LARGE", 20)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    transfer.copy(filled.place, clipindex.Index(server=Server(double.url)).place)
    links = [r.body["hnsw_config"]["m"] for r in double.log if r.method == "PATCH"]
    assert links == [0, 16]
