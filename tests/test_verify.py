"""Verifying: real damage to real stores and files is named, repaired, and nothing else is."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex import Finding, Sample, Verification, VerifyOptions
from clipindex.cli import values
from clipindex.collection.lock import locked
from clipindex.errors import UsageError
from clipindex.files.identity import point_id
from clipindex.stores.edge import EdgePoints, engine
from clipindex.stores.points import Point
from clipindex.upkeep.verify.findings import VerifyProgress, VerifyStarted
from conftest import TINY, ingest, make_pictures, picture_bytes, run_clipindex
from qdrant_double import Double

POINTS = VerifyOptions()
FILES = VerifyOptions(files=True)
EMBED = VerifyOptions(files=True, embed=True)


@pytest.fixture
def photos(tmp_path: Path, index: clipindex.Index) -> list[Path]:
    """Eight pictures, indexed; the first has a tag."""
    paths = make_pictures(tmp_path / "photos", 8)
    ingest(index, tmp_path / "photos")
    index.tag({"who": "ann"}, [paths[0]])
    return paths


def verified(
    index: clipindex.Index, options: VerifyOptions = POINTS
) -> tuple[Verification, list[Finding]]:
    events = list(index.verify_events(options))
    return events[-1].result, [event for event in events if isinstance(event, Finding)]  # type: ignore[union-attr]


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return sorted((found.kind.value, Path(found.path).name) for found in findings)


@contextmanager
def opened(index: clipindex.Index) -> Iterator[EdgePoints]:
    with closing(
        EdgePoints(index.place.folder / "shard", index.status().dimension, make=False)
    ) as points:
        yield points


def stored(points: EdgePoints, path: Path) -> Point:
    name = point_id("local", os.fsencode(path))
    return points.retrieve([name])[name]


def catalogue(index: clipindex.Index) -> sqlite3.Connection:
    return sqlite3.connect(index.place.folder / "catalogue.sqlite", isolation_level=None)


def flip_a_byte(path: Path) -> None:
    """As a failing disk does: other bytes, the same size and times (but for the change time)."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- all is well -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [POINTS, FILES, EMBED], ids=["points", "files", "embed"])
def test_a_sound_collection_is_found_sound(
    index: clipindex.Index, photos: list[Path], options: VerifyOptions
) -> None:
    result, findings = verified(index, options)
    assert (result.checked, result.left, result.exit_code, findings) == (8, 0, 0, [])
    assert result.files_read == (8 if options.files else 0)
    assert result.embedded == (8 if options.embed else 0)
    if options.files:
        assert result.bytes_read == sum(path.stat().st_size for path in photos)


def test_verifying_changes_nothing(index: clipindex.Index, photos: list[Path]) -> None:
    with closing(catalogue(index)) as database:
        before = database.execute("SELECT * FROM files").fetchall()
    times = [path.stat().st_mtime_ns for path in photos]
    verified(index, EMBED)
    with closing(catalogue(index)) as database:
        assert database.execute("SELECT * FROM files").fetchall() == before
    assert [path.stat().st_mtime_ns for path in photos] == times
    assert not list(index.place.folder.glob("verify-*"))


def test_without_a_collection_it_says_so(index: clipindex.Index) -> None:
    with pytest.raises(clipindex.StoreError, match="no collection"):
        index.verify()


@pytest.mark.usefixtures("photos")
def test_an_empty_collection_has_nothing_wrong(index: clipindex.Index) -> None:
    with opened(index) as points:
        points.delete([name for name, _ in points.scroll()])
        points.flush()
    with closing(catalogue(index)) as database:
        database.execute("DELETE FROM files")
    assert verified(index)[0].exit_code == 0


# --- damage to the store -----------------------------------------------------------------------


def test_a_vector_that_is_not_finite_is_named(index: clipindex.Index, photos: list[Path]) -> None:
    with opened(index) as points:
        point = stored(points, photos[3])
        broken = np.full_like(point.vector, np.nan)
        record = engine.Point(point.id, broken, dict(point.payload))
        points._shard.update(engine.UpdateOperation.upsert_points([record]))
        points.flush()
    result, findings = verified(index)
    assert (result.wrong_points, result.exit_code) == (1, 7)
    assert findings[0].path == str(photos[3])
    assert "vector" in findings[0].reason
    assert "verify --repair" in findings[0].hint


def test_a_flipped_bit_of_a_vector_is_found_by_embedding_again(
    index: clipindex.Index, photos: list[Path]
) -> None:
    """It is still of length 1: only the picture itself can tell."""
    with opened(index) as points:
        point = stored(points, photos[3])
        bits = point.vector.view(np.uint32).copy()
        bits[int(np.argmax(np.abs(point.vector)))] ^= 1 << 12
        points.upsert([replace(point, vector=bits.view(np.float32))])
        points.flush()
    assert verified(index)[0].exit_code == 0
    result, findings = verified(index, EMBED)
    assert kinds(findings) == [("vector", "003.jpg")]
    assert (result.wrong_vectors, result.exit_code) == (1, 7)
    assert (result.embedded, result.bit_equal) == (8, 7)


def test_another_pictures_vector_is_found_on_any_version(
    index: clipindex.Index, photos: list[Path]
) -> None:
    contract = index.place.folder / "contract.json"
    noted = json.loads(contract.read_text())
    noted["noted"]["pillow"] = "1.0"
    contract.write_text(json.dumps(noted))
    with opened(index) as points:
        one, other = (stored(points, path) for path in photos[:2])
        points.upsert([replace(one, vector=other.vector)])
        points.flush()
    events = list(index.verify_events(EMBED))
    (start,) = (event for event in events if isinstance(event, VerifyStarted))
    assert "0.999" in start.rule
    findings = [event for event in events if isinstance(event, Finding)]
    assert kinds(findings) == [("vector", "000.jpg")]
    assert "cosine" in findings[0].reason


def swap_payloads(index: clipindex.Index, *paths: Path) -> None:
    with opened(index) as points:
        one, other = (stored(points, path) for path in paths)
        points.upsert([replace(one, payload=other.payload), replace(other, payload=one.payload)])
        points.flush()


def test_swapped_payloads_are_both_named(index: clipindex.Index, photos: list[Path]) -> None:
    swap_payloads(index, photos[0], photos[1])
    result, findings = verified(index)
    assert kinds(findings) == [("point", "000.jpg"), ("point", "001.jpg")]
    assert all("its id is not that of its source and path" in f.reason for f in findings)
    assert str(photos[1]) in next(f.reason for f in findings if f.path == str(photos[0]))
    assert result.exit_code == 7


def test_a_payload_without_its_path_is_named_by_the_catalogue(
    index: clipindex.Index, photos: list[Path]
) -> None:
    with opened(index) as points:
        point = stored(points, photos[5])
        payload = {name: value for name, value in point.payload.items() if name != "path"}
        points.upsert([replace(point, payload=payload)])
        points.flush()
    _, findings = verified(index)
    assert kinds(findings) == [("point", "005.jpg")]
    assert "lacks the field 'path'" in findings[0].reason


def test_a_point_without_a_row_and_a_row_without_a_point_are_named(
    index: clipindex.Index, photos: list[Path]
) -> None:
    with closing(catalogue(index)) as database:
        database.execute("DELETE FROM files WHERE name = ?", (b"002.jpg",))
        database.execute("UPDATE files SET sha256 = ? WHERE name = ?", (b"\1" * 32, b"006.jpg"))
    with opened(index) as points:
        points.delete([point_id("local", os.fsencode(photos[4]))])
        points.flush()
    result, findings = verified(index)
    assert kinds(findings) == [
        ("catalogue", "002.jpg"),
        ("catalogue", "004.jpg"),
        ("catalogue", "006.jpg"),
    ]
    assert (result.wrong_rows, result.exit_code) == (3, 7)


@pytest.mark.usefixtures("photos")
def test_an_interrupted_run_is_no_damage(index: clipindex.Index) -> None:
    """Its points may lack their rows: the next run makes both agree, as ever."""
    with closing(catalogue(index)) as database:
        database.execute("DELETE FROM files WHERE name = ?", (b"002.jpg",))
        database.execute("INSERT INTO runs (started) VALUES ('2026-01-01T00:00:00+00:00')")
    events = list(index.verify_events(POINTS))
    (start,) = (event for event in events if isinstance(event, VerifyStarted))
    assert "not finished" in start.note
    assert events[-1].result.exit_code == 0  # type: ignore[union-attr]


@pytest.mark.usefixtures("photos")
def test_a_lost_catalogue_is_no_damage(index: clipindex.Index) -> None:
    for file in index.place.folder.glob("catalogue.sqlite*"):
        file.unlink()
    result, findings = verified(index, FILES)
    assert (findings, result.checked, result.files_read) == ([], 8, 8)


# --- files -------------------------------------------------------------------------------------


def test_a_decayed_file_is_named_and_an_edited_or_deleted_one_only_counted(
    index: clipindex.Index, photos: list[Path]
) -> None:
    flip_a_byte(photos[0])
    photos[1].write_bytes(picture_bytes(99))
    status = photos[2].stat()
    photos[2].write_bytes(photos[2].read_bytes() + b"\0")
    os.utime(photos[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    photos[3].unlink()
    os.utime(photos[4])  # touched: the same bytes
    result, findings = verified(index, FILES)
    assert kinds(findings) == [
        ("bit-rot", "000.jpg"),
        ("changed", "001.jpg"),
        ("changed", "002.jpg"),
        ("missing", "003.jpg"),
    ]
    assert (result.bit_rot, result.changed, result.missing, result.wrong) == (1, 2, 1, 1)
    assert result.exit_code == 7
    assert result.checked == 8


def test_edits_and_deletions_alone_are_exit_code_0(
    index: clipindex.Index, photos: list[Path]
) -> None:
    photos[1].write_bytes(picture_bytes(99))
    photos[3].unlink()
    assert verified(index, EMBED)[0].exit_code == 0


def test_a_file_whose_head_decayed_is_bit_rot_too(
    index: clipindex.Index, photos: list[Path]
) -> None:
    """It no longer looks like a picture."""
    status = photos[0].stat()
    data = photos[0].read_bytes()
    photos[0].write_bytes(b"\0" * 512 + data[512:])
    os.utime(photos[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert kinds(verified(index, FILES)[1]) == [("bit-rot", "000.jpg")]


def test_who_changed_the_bytes_is_told_by_the_change_time(
    index: clipindex.Index, photos: list[Path]
) -> None:
    flip_a_byte(photos[0])
    assert "or a program changed it" in verified(index, FILES)[1][0].reason
    with closing(catalogue(index)) as database:
        database.execute("UPDATE files SET ctime_ns = ?", (photos[0].stat().st_ctime_ns,))
    assert verified(index, FILES)[1][0].reason.endswith("it decayed")


def test_a_file_that_cannot_be_read_is_exit_code_3(
    index: clipindex.Index, photos: list[Path]
) -> None:
    photos[0].unlink()
    photos[0].symlink_to("/proc/self/mem")  # a regular file whose reading fails
    result, findings = verified(index, FILES)
    assert kinds(findings) == [("unreadable", "000.jpg")]
    assert result.exit_code == 3


# --- repair ------------------------------------------------------------------------------------


def everything(index: clipindex.Index) -> dict[str, object]:
    with opened(index) as points:
        ids = [name for name, _ in points.scroll()]
        return {
            str(name): (point.vector.tobytes(), {**point.payload, "indexed_at": None})
            for name, point in points.retrieve(ids).items()
        }


def test_repair_and_reindex_give_back_the_collection_as_it_was(
    index: clipindex.Index, photos: list[Path]
) -> None:
    """Also where copies share a vector, so that a wrong one would be taken for theirs."""
    copies = [photos[0].with_name(f"copy-of-{path.name}") for path in photos]
    for path, copy in zip(photos, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    index.reindex()
    before = everything(index)
    swap_payloads(index, photos[0], photos[1])
    with opened(index) as points:
        two, three, four = (stored(points, path) for path in photos[2:5])
        nan = engine.Point(two.id, np.full_like(two.vector, np.nan), dict(two.payload))
        points._shard.update(engine.UpdateOperation.upsert_points([nan]))
        points.upsert([replace(three, vector=four.vector)])
        points.delete([four.id])
        points.flush()
    with closing(catalogue(index)) as database:
        database.execute("DELETE FROM files WHERE name = ?", (b"005.jpg",))
    with pytest.warns(clipindex.ClipIndexWarning, match="1 of the 15"):
        result, findings = verified(index, replace(EMBED, repair=True))
    assert len(findings) == result.repaired == result.wrong == 6
    index.reindex()
    assert everything(index) == before
    assert verified(index, EMBED)[0].exit_code == 0
    with opened(index) as points:
        assert stored(points, photos[0]).payload["tag_who"] == "ann"


def test_repair_leaves_decayed_files_alone(index: clipindex.Index, photos: list[Path]) -> None:
    flip_a_byte(photos[0])
    decayed, before = photos[0].read_bytes(), everything(index)
    result, _ = verified(index, replace(FILES, repair=True))
    assert (result.repaired, result.bit_rot) == (0, 1)
    assert photos[0].read_bytes() == decayed
    assert everything(index) == before


# --- samples, interruptions, the lock ------------------------------------------------------------


@pytest.mark.usefixtures("photos")
def test_as_many_nights_as_parts_check_every_point_once(index: clipindex.Index) -> None:
    results = [verified(index, VerifyOptions(sample=Sample(number, 3)))[0] for number in (1, 2, 3)]
    assert sum(result.checked for result in results) == 8
    assert all(result.checked == result.points for result in results)


@given(number=st.uuids(version=5), of=st.integers(1, 1000))
def test_a_point_is_in_one_part(number: object, of: int) -> None:
    parts = [part for part in range(1, of + 1) if Sample(part, of).takes(number)]  # type: ignore[arg-type]
    assert len(parts) == 1


def test_the_automatic_sample_takes_each_part_once_in_as_many_days() -> None:
    taken = {str(values.sample("auto/30", day)) for day in range(20_000, 20_030)}
    assert taken == {f"{number}/30" for number in range(1, 31)}
    assert values.sample(None) == Sample()


@pytest.mark.parametrize("text", ["0/3", "4/3", "auto", "auto/0", "1/", "/2", "a/b", "1/2/3", ""])
def test_an_odd_sample_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        values.sample(text)


@pytest.mark.parametrize("options", [POINTS, EMBED], ids=["points", "embed"])
def test_a_verification_that_ran_out_of_time_goes_on(
    index: clipindex.Index, photos: list[Path], options: VerifyOptions
) -> None:
    """Whatever little time it gets, it comes to the end."""
    flip_a_byte(photos[6])
    checked, findings = [], []
    for _ in range(8):
        result, found = verified(index, replace(options, max_seconds=0.0))
        checked.append((result.checked_before, result.checked, result.left))
        findings += found
    assert checked == [(n, 1, 7 - n) for n in range(8)]
    assert len(findings) == (1 if options.embed else 0)
    assert verified(index, options)[0].checked_before == 0  # the ninth begins anew


@pytest.mark.usefixtures("photos")
def test_an_interrupted_verification_goes_on(index: clipindex.Index) -> None:
    events = index.verify_events(FILES)
    for event in events:
        if isinstance(event, VerifyProgress) and event.done == 5:
            break
    events.close()
    (start,) = (e for e in index.verify_events(FILES) if isinstance(e, VerifyStarted))
    assert (start.points, start.checked_before) == (8, 5)
    assert verified(index, POINTS)[0].checked_before == 0  # another question
    restarted = verified(index, replace(FILES, restart=True))[0]
    assert (restarted.checked_before, restarted.checked) == (0, 8)


@pytest.mark.usefixtures("photos")
def test_a_damaged_bookmark_is_ignored(index: clipindex.Index) -> None:
    for text in (b"", b"null", b'{"version": 1, "mode": "points 1/1"}', b"\xff"):
        (index.place.folder / "verify-local.json").write_bytes(text)
        assert verified(index)[0].checked == 8


@pytest.mark.usefixtures("photos")
def test_others_get_the_collection_while_files_are_read(index: clipindex.Index) -> None:
    moments = 0
    for event in index.verify_events(EMBED):
        if isinstance(event, VerifyProgress):
            with locked(index.place.lock, "query"):
                moments += 1
    assert moments == 8
    assert index.query("a cat")


def test_others_get_the_collection_while_points_are_listed(
    index: clipindex.Index, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: each opening lists a few of them, and all of them list all."""
    for size in (2, 3, 8, 9):
        monkeypatch.setattr("clipindex.upkeep.verify.points.SURVEYED_AT_ONCE", size)
        result, findings = verified(index)
        assert (result.checked, findings) == (len(photos), [])


def test_a_file_that_is_indexed_anew_meanwhile_is_no_damage(
    index: clipindex.Index, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipindex.upkeep.verify.run.SLICE_WITH_FILES", 4)
    other = clipindex.Index(index.place.name, model=str(TINY))
    for event in index.verify_events(EMBED):
        if isinstance(event, VerifyProgress) and event.done == 2:
            photos[7].write_bytes(picture_bytes(77))
            photos[6].unlink()
            other.reindex()
        assert not isinstance(event, Finding) or event.kind.value == "missing"


# --- a server ------------------------------------------------------------------------------------


def test_a_collection_on_a_server_is_verified(
    double: Double, tmp_path: Path, photos: list[Path]
) -> None:
    index = clipindex.Index(server=clipindex.Server(double.url), source="here", model=str(TINY))
    index.ingest(tmp_path / "photos")
    elsewhere = clipindex.Index(
        server=clipindex.Server(double.url), source="elsewhere", model=str(TINY)
    )
    elsewhere.ingest(tmp_path / "photos")
    assert verified(index, EMBED)[0].exit_code == 0
    (database,) = index.place.folder.glob("*-here.sqlite")
    with closing(sqlite3.connect(database, isolation_level=None)) as rows:
        rows.execute("DELETE FROM files WHERE name = ?", (b"002.jpg",))
    flip_a_byte(photos[0])
    result, findings = verified(index, FILES)
    assert kinds(findings) == [("bit-rot", "000.jpg"), ("catalogue", "002.jpg")]
    assert (result.checked, result.files_read) == (16, 8)  # the other machine's points as well


@pytest.mark.usefixtures("photos")
def test_a_machine_that_never_ingested_verifies_the_points_of_a_server(
    double: Double, tmp_path: Path
) -> None:
    server = clipindex.Server(double.url)
    clipindex.Index(server=server, source="there", model=str(TINY)).ingest(tmp_path / "photos")
    result, findings = verified(clipindex.Index(server=server, source="here"), FILES)
    assert (result.checked, result.files_read, findings) == (8, 0, [])


# --- the command ---------------------------------------------------------------------------------


def test_the_command_names_what_is_wrong_and_sums_up(
    index: clipindex.Index, photos: list[Path]
) -> None:
    flip_a_byte(photos[0])
    swap_payloads(index, photos[1], photos[2])
    photos[3].unlink()
    done = run_clipindex("verify", "--files", "--store", index.place.name)
    assert done.code == 7
    assert done.out.startswith("checked 8 points, 2 wrong")
    assert "1 decayed, 1 missing" in done.out
    assert f"bit-rot: {photos[0]}" in done.err
    assert f"point: {photos[1]}" in done.err
    assert str(photos[3]) not in done.err
    assert "reindex" in done.err


def test_the_command_prints_findings_and_a_result_as_json(
    index: clipindex.Index, photos: list[Path]
) -> None:
    flip_a_byte(photos[0])
    photos[3].unlink()
    done = run_clipindex("verify", "--files", "--json", "--store", index.place.name)
    *findings, result = done.lines
    assert [line["kind"] for line in findings] == ["bit-rot", "missing"]
    assert {tuple(line) for line in findings} == {("type", "kind", "path", "id", "reason", "hint")}
    assert (result["type"], result["exit_code"], result["bit_rot"]) == ("verify", 7, 1)


@pytest.mark.usefixtures("photos")
def test_quiet_says_nothing_while_all_is_well_and_the_log_says_it(
    index: clipindex.Index, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    done = run_clipindex("verify", "-q", "--log-file", log, "--store", index.place.name)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "verified: 8 points, none wrong; exit code 0" in log.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("photos")
def test_a_running_ingest_is_named(index: clipindex.Index) -> None:
    with locked(index.place.lock, "ingest"):
        started = time.monotonic()
        done = run_clipindex("verify", "--store", index.place.name)
    assert (done.code, time.monotonic() - started < 30) == (11, True)
    assert "ingest, process" in done.err
