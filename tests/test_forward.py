"""Stores and exports made by earlier versions open, and nothing in them is lost."""

from __future__ import annotations

import lzma
import os
import sqlite3
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import clipindex
from clipindex.collection import schema
from clipindex.errors import StoreError
from conftest import TINY, ingest, reconciles, run_clipindex, unpack
from copies import copied

DATA = Path(__file__).parent / "data"
MADE_IN = Path("/srv/clipindex-test/photos")  # where the pictures were when the store was made
COMMITS = ("8b08e4c",)
ENGINES = ("0.8.0",)  # qdrant-edge-py, before the one that clipindex asks for


@pytest.fixture(scope="module", params=COMMITS)
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `store`, `export` and `photos` as clipindex of that commit left them."""
    folder = tmp_path_factory.mktemp("unpacked")
    _unpack(f"store-{request.param}.tar.xz", folder)
    _restore_times(folder, MADE_IN)
    return folder


@pytest.fixture
def old(unpacked: Path, tmp_path: Path) -> Path:
    """A copy of what an earlier version left."""
    return copied(unpacked, tmp_path)


def _unpack(name: str, folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as whole,
        lzma.open(DATA / name) as file,
        tarfile.open(fileobj=file) as tar,
    ):
        unpack(tar, Path(whole))
        copied(Path(whole), folder)


def _restore_times(folder: Path, made_in: Path) -> None:
    """To the nanosecond, as the catalogue remembers them: a tar file keeps seconds."""
    (catalogue,) = (folder / "store").rglob("catalogue.sqlite")
    with sqlite3.connect(catalogue) as database:
        rows = database.execute("SELECT folder, name, mtime_ns FROM files").fetchall()
    for path, name, mtime_ns in rows:
        below = Path(os.fsdecode(os.path.join(path, name))).relative_to(made_in)
        os.utime(folder / "photos" / below, ns=(mtime_ns, mtime_ns))


def test_an_old_store_answers_and_still_knows_folders_tags_and_quarantine(old: Path) -> None:
    index = clipindex.Index(old / "store", model=str(TINY))
    status = index.status()
    assert (status.indexed, status.quarantined, status.skipped) == (7, 1, 1)
    assert status.roots == [str(MADE_IN)]
    (first, *_) = index.query(old / "photos" / "002.jpg")
    assert (first.path, first.score) == (str(MADE_IN / "002.jpg"), 1.0)
    assert first.tags == {"owner": "ann"}


def test_the_next_run_on_an_old_store_reads_nothing_again(old: Path) -> None:
    index = clipindex.Index(old / "store", model=str(TINY))
    assert index.relocate(MADE_IN, old / "photos") == 7
    run = ingest(index, old / "photos")
    assert (run.summary.unchanged, run.summary.embedded, run.summary.written) == (7, 0, 0)
    assert reconciles(run.summary)


def test_an_old_export_comes_back(old: Path) -> None:
    index = clipindex.Index(old / "anew", model=str(TINY))
    assert index.import_(old / "export") == 7
    assert index.status().roots == [str(MADE_IN)]


def test_a_catalogue_of_a_later_version_is_refused_and_left_as_it_is(old: Path) -> None:
    (catalogue,) = (old / "store").rglob("catalogue.sqlite")
    with sqlite3.connect(catalogue) as database:
        database.execute("PRAGMA user_version=99")
    before = catalogue.read_bytes()
    with pytest.raises(StoreError, match="99") as caught:
        clipindex.Index(old / "store").status()
    assert "delete" not in caught.value.hint
    assert catalogue.read_bytes() == before


def test_the_quarantine_of_an_old_store_is_listed_and_can_be_accepted(old: Path) -> None:
    index = clipindex.Index(old / "store", model=str(TINY))
    (file,) = index.quarantine()
    assert (file.first_seen, file.accepted) == (None, False)
    assert index.accept_quarantine() == 1
    index.relocate(MADE_IN, old / "photos")
    index.retry_quarantine()
    summary = ingest(index, old / "photos").summary
    assert (summary.quarantined, summary.accepted, summary.exit_code) == (1, 1, 0)


def test_what_vanished_from_an_old_store_is_pruned_once_a_run_has_seen_the_folder(
    old: Path,
) -> None:
    index = clipindex.Index(old / "store", model=str(TINY))
    index.relocate(MADE_IN, old / "photos")
    index.reindex()
    (old / "photos" / "002.jpg").unlink()
    assert len(index.prune().removed) == 1
    assert len(index.query(old / "photos" / "000.jpg")) == 5


def test_the_runs_of_an_old_store_are_shown_and_what_they_did_not_note_is_left_out(
    old: Path,
) -> None:
    status = clipindex.Index(old / "store").status()
    assert status.last_run is not None
    assert status.last_run == status.last_success
    assert (status.last_run["command"], status.last_run["pid"]) == (None, None)
    assert status.running is None
    done = run_clipindex("status", "--store", old / "store")
    (line,) = [line for line in done.out.splitlines() if line.startswith("last run")]
    assert "None" not in line
    assert str(status.last_run["finished"]) in line


@pytest.mark.slow
@pytest.mark.parametrize("version", ENGINES)
def test_a_store_that_an_earlier_engine_made_is_as_good_as_one_of_this_engine(
    tmp_path: Path, version: str
) -> None:
    """Nothing is embedded anew. `python -m benchmarks.engine_versions` made it, and tries any
    other version."""
    _unpack(f"engine-{version}.tar.xz", tmp_path)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    (root,) = index.status().roots
    _restore_times(tmp_path, Path(root))
    photos = sorted((tmp_path / "photos").iterdir())
    assert index.relocate(root, tmp_path / "photos") == len(photos) == 5
    for _ in ("as it is", "compacted"):
        for path in photos:
            first = index.query(path)[0]
            assert (first.path, first.score) == (str(path), 1.0)
            assert first.tags == {"owner": "ann"}
        summary = ingest(index, tmp_path / "photos").summary
        assert (summary.unchanged, summary.embedded, summary.written) == (5, 0, 0)
        checked = index.verify(clipindex.VerifyOptions(files=True, embed=True))
        wrong = (checked.wrong_points, checked.wrong_rows, checked.wrong_vectors)
        assert (checked.points, checked.files_read, *wrong) == (5, 5, 0, 0, 0)
        index.compact()


MORE: tuple[schema.Step, ...] = (
    ("ALTER TABLE files ADD COLUMN note TEXT", "UPDATE files SET note = 'old'"),
    ("CREATE TABLE albums (name TEXT PRIMARY KEY) WITHOUT ROWID",),
)


def content_of(catalogue: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(catalogue)) as database:
        tables = ("files", "roots", "runs")
        return [database.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_an_old_catalogue_gets_every_later_step_and_loses_nothing(old: Path) -> None:
    (catalogue,) = (old / "store").rglob("catalogue.sqlite")
    files, roots, runs = content_of(catalogue)
    schema.open_database(catalogue, (*schema.STEPS, *MORE)).close()
    new_files, *others = content_of(catalogue)
    assert [row[: len(files[0])] for row in new_files] == files  # later steps add columns
    assert {row[-1] for row in new_files} == {"old"}
    new_runs = [row[: len(runs[0])] for row in others[1]]
    assert [others[0], new_runs] == [roots, runs]
    with closing(sqlite3.connect(catalogue)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(schema.STEPS) + 2,)
        assert database.execute("SELECT * FROM albums").fetchall() == []
    schema.open_database(catalogue, (*schema.STEPS, *MORE)).close()  # and only once


def test_a_step_that_fails_leaves_the_catalogue_as_it_was(old: Path) -> None:
    (catalogue,) = (old / "store").rglob("catalogue.sqlite")
    before = content_of(catalogue)
    with pytest.raises(sqlite3.Error):
        schema.open_database(catalogue, (*schema.STEPS, *MORE, ("nonsense",)))
    assert content_of(catalogue) == before
    assert clipindex.Index(old / "store").status().roots == [str(MADE_IN)]


def test_processes_that_migrate_at_once_run_each_step_once(old: Path) -> None:
    (catalogue,) = (old / "store").rglob("catalogue.sqlite")
    steps = (*schema.STEPS, *MORE)
    with ThreadPoolExecutor(4) as threads:
        for database in threads.map(lambda _: schema.open_database(catalogue, steps), range(8)):
            database.close()
    assert len(content_of(catalogue)[0]) == 9


def test_a_contract_of_a_later_version_is_refused_and_says_to_update(old: Path) -> None:
    (contract,) = (old / "store").rglob("contract.json")
    contract.write_text(contract.read_text().replace('"schema": 1', '"schema": 3'))
    with pytest.raises(StoreError, match="schema 3") as caught:
        clipindex.Index(old / "store").status()
    assert "update clipindex" in caught.value.hint
