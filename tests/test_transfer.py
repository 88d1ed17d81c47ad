"""Export and import: a collection goes anywhere and comes back the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

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
from clipindex.stores import connection
from clipindex.stores.address import Server
from clipindex.upkeep import transfer
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


def test_an_export_of_another_model_is_refused(filled: clipindex.Index, tmp_path: Path) -> None:
    out = tmp_path / "out"
    transfer.export(filled.place, out)
    manifest = json.loads((out / "export.json").read_text())
    manifest["contract"]["contract"]["revision"] = "another"
    (out / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(ContractMismatch, match="another revision"):
        transfer.import_(out, filled.place)


def test_what_would_do_harm_is_a_usage_error(filled: clipindex.Index, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onto itself"):
        transfer.copy(filled.place, filled.place)
    with pytest.raises(ClipIndexError, match="no collection"):
        transfer.export(empty(tmp_path).place, tmp_path / "nothing")
    assert not (tmp_path / "nothing" / "export.json").exists()


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
    from clipindex.stores import server

    monkeypatch.setattr(server, "BULK", 20)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    transfer.copy(filled.place, clipindex.Index(server=Server(double.url)).place)
    links = [r.body["hnsw_config"]["m"] for r in double.log if r.method == "PATCH"]
    assert links == [0, 16]
