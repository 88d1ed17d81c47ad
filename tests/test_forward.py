"""Stores and exports made by earlier versions open, and nothing in them is lost."""

from __future__ import annotations

import lzma
import os
import sqlite3
import tarfile
from pathlib import Path

import pytest

import clipindex
from clipindex.errors import StoreError
from conftest import TINY, ingest, reconciles, unpack

DATA = Path(__file__).parent / "data"
MADE_IN = Path("/srv/clipindex-test/photos")  # where the pictures were when the store was made
COMMITS = ("8b08e4c",)


@pytest.fixture(params=COMMITS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folders `store`, `export` and `photos` as clipindex of that commit left them."""
    with (
        lzma.open(DATA / f"store-{request.param}.tar.xz") as file,
        tarfile.open(fileobj=file) as tar,
    ):
        unpack(tar, tmp_path)
    _restore_times(tmp_path)
    return tmp_path


def _restore_times(folder: Path) -> None:
    """To the nanosecond, as the catalogue remembers them: a tar file keeps seconds."""
    (catalogue,) = (folder / "store").rglob("catalogue.sqlite")
    with sqlite3.connect(catalogue) as database:
        rows = database.execute("SELECT folder, name, mtime_ns FROM files").fetchall()
    for path, name, mtime_ns in rows:
        below = Path(os.fsdecode(os.path.join(path, name))).relative_to(MADE_IN)
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
