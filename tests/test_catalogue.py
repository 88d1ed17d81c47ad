"""What a collection remembers of the files: whole, durable, and gladly rebuilt."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipindex.collection import run_history
from clipindex.collection.catalogue import (
    INDEXED,
    QUARANTINED,
    SKIPPED,
    Catalogue,
    KnownFolder,
    Row,
)
from clipindex.collection.schema import STEPS, open_database
from clipindex.errors import StoreError

ROW = Row(
    path=b"/p/1.jpg", size=100, mtime_ns=200, ctime_ns=300, sha256=b"\x01" * 32, state=INDEXED
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.sqlite"


@pytest.fixture
def catalogue(place: Path) -> Iterator[Catalogue]:
    catalogue = Catalogue(place)
    yield catalogue
    catalogue.close()


names = st.binary(min_size=1, max_size=8).filter(
    lambda name: b"\0" not in name and b"/" not in name
)
int64 = st.integers(-(2**63), 2**63 - 1)
rows = st.builds(
    Row,
    path=st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts)),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=int64,
    ctime_ns=st.none() | int64,
    sha256=st.none() | st.binary(min_size=32, max_size=32),
    state=st.sampled_from([INDEXED, QUARANTINED, SKIPPED]),
    reason=st.none() | st.text(st.characters(codec="utf-8")),
    decoders=st.none() | st.text(st.characters(codec="utf-8")),
    transient=st.booleans(),
    described=st.integers(0, 9),
)


@given(st.lists(rows, unique_by=lambda row: row.path, max_size=12))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rows_come_back_as_they_were_written(catalogue: Catalogue, written: list[Row]) -> None:
    catalogue.write(gone=[row.path for row in catalogue.rows()])
    catalogue.write(written)
    by_path = {row.path: row for row in written}
    assert {row.path: row for row in catalogue.rows()} == by_path
    for path, row in by_path.items():
        assert catalogue.get(path) == row
        assert catalogue.in_folder(os.path.dirname(path))[path] == row
    assert sum(catalogue.counts().values()) == len(written)


def test_a_path_that_is_not_utf8_is_a_path(catalogue: Catalogue) -> None:
    row = ROW._replace(path=b"/caf\xe9/\xff\xfe.jpg")
    catalogue.write([row])
    assert catalogue.get(row.path) == row
    assert catalogue.in_folder(b"/caf\xe9") == {row.path: row}
    assert catalogue.indexed_by_folder() == {b"/caf\xe9": 1}


def test_a_file_in_the_root_folder_is_a_file(catalogue: Catalogue) -> None:
    row = ROW._replace(path=b"/1.jpg")
    catalogue.write([row])
    assert catalogue.in_folder(b"/") == {row.path: row}


def test_what_was_written_is_there_after_reopening(place: Path) -> None:
    first = Catalogue(place)
    first.write([ROW])
    first.close()
    again = Catalogue(place)
    assert list(again.rows()) == [ROW]
    again.close()


def test_a_newer_row_replaces_the_older(catalogue: Catalogue) -> None:
    catalogue.write([ROW])
    newer = ROW._replace(size=1, sha256=None, state=QUARANTINED, reason="damaged")
    catalogue.write([newer])
    assert list(catalogue.rows()) == [newer]
    assert catalogue.indexed_copies(b"\x01" * 32, 9) == []


def test_a_path_taken_out_and_put_in_at_once_is_in(catalogue: Catalogue) -> None:
    """A file moved over another: the old path goes, the new row stays."""
    catalogue.write([ROW])
    catalogue.write([ROW._replace(size=5)], gone=[ROW.path, b"/never/there"])
    assert list(catalogue.rows()) == [ROW._replace(size=5)]
    catalogue.write(gone=[ROW.path])
    assert catalogue.get(ROW.path) is None


def test_a_folder_holds_its_own_files_not_those_below(catalogue: Catalogue) -> None:
    paths = [b"/p/1.jpg", b"/p/2.jpg", b"/p/q/3.jpg", b"/pq/4.jpg"]
    catalogue.write([ROW._replace(path=path) for path in paths])
    assert set(catalogue.in_folder(b"/p")) == {b"/p/1.jpg", b"/p/2.jpg"}
    assert catalogue.in_folder(b"/") == {}
    assert catalogue.indexed_by_folder() == {b"/p": 2, b"/p/q": 1, b"/pq": 1}


def test_files_with_the_same_content_come_in_path_order(catalogue: Catalogue) -> None:
    paths = [b"/b/1.jpg", b"/a/2.jpg", b"/a/1.jpg", b"/a/b/0.jpg"]
    catalogue.write([ROW._replace(path=path) for path in paths])
    catalogue.write([ROW._replace(path=b"/other.jpg", sha256=b"\x02" * 32)])
    catalogue.write([ROW._replace(path=b"/none.jpg", sha256=None)])
    catalogue.write([ROW._replace(path=b"/bad.jpg", state=QUARANTINED)])
    copies = catalogue.indexed_copies(b"\x01" * 32, 9)
    assert copies == [b"/a/1.jpg", b"/a/2.jpg", b"/a/b/0.jpg", b"/b/1.jpg"]
    assert catalogue.indexed_copies(b"\x01" * 32, 2) == copies[:2]
    assert catalogue.indexed_copies(b"\x03" * 32, 9) == []


def test_only_a_lasting_refusal_by_these_decoders_stands_for_a_content(
    catalogue: Catalogue,
) -> None:
    digest = b"\x01" * 32
    bad = ROW._replace(state=QUARANTINED, reason="damaged", decoders="2")
    for row in (
        bad._replace(decoders="1"),
        bad._replace(transient=True),
        bad._replace(state=SKIPPED),
        bad._replace(sha256=b"\x02" * 32),
    ):
        catalogue.write([row])
        assert catalogue.refusal(digest, "2") is None
    catalogue.write([bad])
    assert catalogue.refusal(digest, "2") == "damaged"


def test_what_is_known_of_a_content_is_found_without_reading_its_other_copies(
    catalogue: Catalogue,
) -> None:
    """By an index that also gives the order: the work does not grow with the copies."""
    plans: list[str] = []
    catalogue._database.set_trace_callback(plans.append)
    catalogue.indexed_copies(b"\x01" * 32, 4)
    catalogue.refusal(b"\x01" * 32, "1")
    catalogue._database.set_trace_callback(None)
    for statement, index in zip(plans, ("files_indexed", "files_refused"), strict=True):
        steps = catalogue._database.execute("EXPLAIN QUERY PLAN " + statement).fetchall()
        assert [index in step[3] for step in steps] == [True], steps


def test_a_move_is_known_until_its_old_path_is_gone(catalogue: Catalogue) -> None:
    catalogue.begin_moves({b"/a": b"/b", b"/c": b"/d"})
    catalogue.write([ROW._replace(path=b"/b")], gone=[b"/a"])
    assert catalogue.begun_moves() == {b"/c": b"/d"}
    catalogue.forget_moves()
    assert catalogue.begun_moves() == {}


@pytest.mark.parametrize("inode", [0, 2, 2**63, 2**64 - 1, 2**128 - 1])
def test_folders_come_back_whatever_their_inode(catalogue: Catalogue, inode: int) -> None:
    folders = {b"/caf\xe9": KnownFolder(inode, True), b"/": KnownFolder(inode, False)}
    catalogue.remember_folders({b"/": KnownFolder(7, True)})
    catalogue.remember_folders(folders)
    assert catalogue.folders() == folders


def test_counts_are_by_state(catalogue: Catalogue) -> None:
    assert catalogue.counts() == {}
    states = [INDEXED] * 3 + [QUARANTINED] * 2 + [SKIPPED]
    catalogue.write(
        [ROW._replace(path=b"/p/%d" % n, state=state) for n, state in enumerate(states)]
    )
    assert catalogue.counts() == {INDEXED: 3, QUARANTINED: 2, SKIPPED: 1}
    assert catalogue.indexed_by_folder() == {b"/p": 3}


# --- all or nothing --------------------------------------------------------------------------


def test_a_write_that_fails_leaves_everything_as_it_was(catalogue: Catalogue) -> None:
    catalogue.write([ROW])
    broken = ROW._replace(path=b"/p/3.jpg", state=None)  # type: ignore[arg-type]
    with pytest.raises((sqlite3.Error, StoreError)):
        catalogue.write([ROW._replace(path=b"/p/2.jpg"), broken], gone=[ROW.path])
    assert list(catalogue.rows()) == [ROW]
    catalogue.write([ROW._replace(path=b"/p/2.jpg")])
    assert catalogue.counts() == {INDEXED: 2}


WRITE_FOREVER = """
import sys
from pathlib import Path
from clipindex.collection.catalogue import INDEXED, Catalogue, Row

def row(number, name):
    path = b"/p/%d/%d.jpg" % (number, name)
    return Row(path=path, size=number, mtime_ns=0, ctime_ns=0, sha256=None, state=INDEXED)

catalogue = Catalogue(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    old, new = number - 1, number
    catalogue.write(
        [row(new, n) for n in range(400)],
        gone=[b"/p/%d/%d.jpg" % (old, n) for n in range(400)],
    )
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7])
def test_a_kill_between_leaves_one_whole_transaction(place: Path, after: int) -> None:
    """And every transaction that was reported is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, place], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = 0
    while reported < after:
        reported = int(process.stdout.readline())
    process.kill()
    reported = max([reported, *map(int, process.communicate()[0].split())])
    catalogue = Catalogue(place)
    sizes = [row.size for row in catalogue.rows()]
    catalogue.close()
    assert len(sizes) == 400
    assert len(set(sizes)) == 1
    assert sizes[0] in (reported, reported + 1)


def test_threads_read_while_one_writes(catalogue: Catalogue) -> None:
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(len(catalogue.in_folder(b"/p")))
            catalogue.indexed_copies(b"\x01" * 32, 4)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(30):
        pair = (b"/p/%d.jpg" % number, b"/p/%d-copy.jpg" % number)
        catalogue.write([ROW._replace(path=path) for path in pair])
    stop.set()
    for reader in readers:
        reader.join()
    assert all(count % 2 == 0 for count in seen)
    assert len(catalogue.in_folder(b"/p")) == 60


# --- roots and runs --------------------------------------------------------------------------


def test_roots_are_remembered_with_their_options(catalogue: Catalogue) -> None:
    options: dict[str, object] = {"batch_size": 25, "exclude": ["*.bak", "é"]}
    catalogue.remember_root(b"/photos/caf\xe9", options)
    catalogue.remember_root(b"/a", {})
    assert catalogue.roots() == {b"/a": {}, b"/photos/caf\xe9": options}
    catalogue.remember_root(b"/a", {"batch_size": 5})
    assert catalogue.roots()[b"/a"] == {"batch_size": 5}


def test_remembering_what_is_known_and_writing_nothing_write_nothing(
    catalogue: Catalogue, place: Path
) -> None:
    catalogue.remember_root(b"/a", {"batch_size": 5})
    other = sqlite3.connect(place)
    version = other.execute("PRAGMA data_version").fetchone()
    catalogue.remember_root(b"/a", {"batch_size": 5})
    catalogue.write()
    catalogue.write([], [])
    assert other.execute("PRAGMA data_version").fetchone() == version
    catalogue.write([ROW])
    assert other.execute("PRAGMA data_version").fetchone() != version
    other.close()


def test_a_run_that_did_not_finish_is_noticed_once(place: Path) -> None:
    def begin(finish: bool) -> bool:
        catalogue = Catalogue(place)
        number, before_finished = catalogue.begin_run("2026-01-01T00:00:00+00:00")
        if finish:
            catalogue.finish_run(number, "2026-01-01T00:01:00+00:00", {"new": number})
        catalogue.close()
        return before_finished

    assert not begin(finish=True)  # a new one: nothing says that it agrees with the points
    assert begin(finish=False)
    assert not begin(finish=True)
    assert begin(finish=True)


def test_the_last_run_is_told_with_its_summary(catalogue: Catalogue) -> None:
    assert catalogue.last_run() is None
    number, _ = catalogue.begin_run("2026-01-01T00:00:00+00:00", "reindex")
    run = catalogue.last_run()
    assert run is not None
    assert (run.command, run.pid, run.finished, run.ended) == ("reindex", os.getpid(), None, None)
    catalogue.finish_run(number, "2026-01-01T00:01:00+00:00", {"new": 3, "exit_code": 3})
    run = catalogue.last_run()
    assert run is not None
    assert (run.finished, run.summary) == (run.ended, {"new": 3, "exit_code": 3})
    assert (run.exit_code, run) == (3, catalogue.last_success())
    catalogue.begin_run("2026-01-02T00:00:00+00:00")
    catalogue.begin_run("2026-01-03T00:00:00+00:00")
    last = catalogue.last_run()
    assert last is not None
    assert (last.started, last.finished) == ("2026-01-03T00:00:00+00:00", None)
    assert catalogue.last_success() == run


def test_the_counts_of_a_run_are_written_with_its_rows_or_not_at_all(catalogue: Catalogue) -> None:
    catalogue.begin_run("2026-01-01T00:00:00+00:00")
    catalogue.count(to_read=9)
    catalogue.write([ROW], done={"done": 2, "written": 1})
    wrong = ROW._replace(path=b"/p/other.jpg", size=cast("int", object()))
    with pytest.raises(StoreError):
        catalogue.write([wrong], done={"done": 5})
    catalogue.write(done={"done": 1})
    run = catalogue.unended_run()
    assert run is not None
    assert run.counts == {"to_read": 9, "done": 3, "written": 1}


def test_a_run_that_could_not_begin_hides_neither_the_one_under_way_nor_its_end(
    place: Path,
) -> None:
    """A second run is busy while the first one goes on, and the first one is killed then."""
    first, second = Catalogue(place), Catalogue(place)
    number, _ = first.begin_run("2026-01-01T00:00:00+00:00")
    second.refuse_run("2026-01-01T00:00:01+00:00", "ingest", 11, "busy")
    under_way = second.unended_run()
    assert under_way is not None
    assert under_way.number == number
    last = second.last_run()
    assert last is not None
    assert (last.exit_code, last.refused, last.reason) == (11, True, "busy")
    assert second.begin_run("2026-01-02T00:00:00+00:00")[1] is False
    first.close()
    second.close()


def test_old_runs_are_forgotten_but_not_the_last_that_did_its_work(
    place: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "KEPT", 5)
    number, _ = catalogue.begin_run("2026-01-01T00:00:00+00:00")
    catalogue.finish_run(number, "2026-01-01T00:01:00+00:00", {"new": 3}, points=3)
    for day in range(20):
        catalogue.refuse_run(f"2026-01-02T00:00:{day:02}+00:00", "reindex", 8, "no disk")
    success = catalogue.last_success()
    assert success is not None
    assert (success.number, catalogue.noted_points()) == (number, 3)
    begun = catalogue.latest_begun()
    assert begun is not None
    assert begun.number == number
    with closing(sqlite3.connect(place)) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (6,)


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 900])
def test_a_damaged_catalogue_is_a_store_error_that_says_what_to_do(
    place: Path, content: bytes
) -> None:
    place.write_bytes(content)
    with pytest.raises(StoreError, match="the catalogue cannot be read") as caught:
        Catalogue(place)
    assert caught.value.path == str(place)
    assert "delete" in caught.value.hint


def test_damage_found_later_is_a_store_error_as_well(place: Path) -> None:
    """The first page is whole, the others are not: the file opens, its rows cannot be read."""
    catalogue = Catalogue(place)
    catalogue.write([ROW._replace(path=b"/p/%d.jpg" % n) for n in range(2000)])
    catalogue.close()
    data = place.read_bytes()
    place.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    damaged = Catalogue(place)
    try:
        with pytest.raises(StoreError) as caught:
            list(damaged.rows())
        assert "delete" in caught.value.hint
        with pytest.raises(StoreError):
            damaged.write([ROW])
    finally:
        damaged.close()


def test_a_catalogue_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Catalogue(tmp_path / "no such folder" / "catalogue.sqlite")


def test_a_catalogue_of_a_later_clipindex_is_left_alone(place: Path) -> None:
    with sqlite3.connect(place) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = place.read_bytes()
    with pytest.raises(StoreError, match="has schema 99, this clipindex knows") as caught:
        Catalogue(place)
    assert caught.value.hint
    assert place.read_bytes()[96:] == before[96:]
    with sqlite3.connect(place) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


def test_an_empty_file_becomes_a_new_catalogue(place: Path) -> None:
    """What a crash at the very first moment leaves."""
    place.touch()
    catalogue = Catalogue(place)
    catalogue.write([ROW])
    assert catalogue.get(ROW.path) == ROW
    catalogue.close()


def test_a_catalogue_of_the_first_schema_is_brought_up_to_date_with_all_it_remembers(
    place: Path,
) -> None:
    database = open_database(place, STEPS[:1])
    database.execute(
        "INSERT INTO files VALUES (?, ?, 1, 2, 3, ?, 'indexed', NULL, NULL, 0)",
        (b"/p", b"1.jpg", b"\x01" * 32),
    )
    database.execute("INSERT INTO roots VALUES (?, '{}')", (b"/p",))
    database.close()
    catalogue = Catalogue(place)
    assert catalogue.indexed_copies(b"\x01" * 32, 9) == [b"/p/1.jpg"]
    assert (catalogue.roots(), catalogue.folders()) == ({b"/p": {}}, {})
    assert (catalogue.noted_points(), catalogue.newest()) == (None, [])
    catalogue.close()


def test_the_number_of_points_is_that_of_the_latest_run_that_noted_it(catalogue: Catalogue) -> None:
    """A run of an earlier version, or one that was interrupted, notes none."""
    assert catalogue.noted_points() is None
    for points in (7, 5, None):
        number, _ = catalogue.begin_run("2026-01-01T00:00:00+00:00")
        catalogue.finish_run(number, "2026-01-01T00:01:00+00:00", None, points)
    catalogue.begin_run("2026-01-02T00:00:00+00:00")
    assert catalogue.noted_points() == 5


def test_only_the_last_fifty_paths_are_the_newest_and_only_while_they_are_indexed(
    catalogue: Catalogue,
) -> None:
    rows = [ROW._replace(path=b"/p/%03d.jpg" % number) for number in range(120)]
    for start in range(0, 120, 30):
        batch = rows[start : start + 30]
        catalogue.write(batch, newest=[row.path for row in batch])
    catalogue.write([rows[0]])  # its point was not written
    assert sorted(row.path for row in catalogue.newest()) == [row.path for row in rows[70:]]
    catalogue.write([rows[119]._replace(state=QUARANTINED)], gone=[rows[118].path])
    assert len(catalogue.newest()) == 48


def test_remembering_a_root_does_not_read_all_others(catalogue: Catalogue) -> None:
    statements: list[str] = []
    catalogue._database.set_trace_callback(statements.append)
    catalogue.remember_root(b"/p", {"a": 1})
    catalogue.remember_root(b"/p", {"a": 1})
    catalogue._database.set_trace_callback(None)
    assert len(statements) == 3  # looked at, written, looked at
    assert all("/p" in statement or "x'2f70'" in statement.lower() for statement in statements)


def test_a_signal_between_the_lock_and_its_block_does_not_hang_the_thread(tmp_path: Path) -> None:
    """What it raises there lives on, and with it the lock; the run's bad end is noted all the
    same."""
    done: list[dict[str, int]] = []

    def ended_there() -> None:
        with closing(Catalogue(tmp_path / "catalogue.sqlite")) as catalogue:
            held = catalogue._held()
            held.__enter__()  # and never left, as when a signal arrives before the block
            done.append(catalogue.counts())

    thread = threading.Thread(target=ended_there, daemon=True)
    thread.start()
    thread.join(10)
    assert done == [{}]
