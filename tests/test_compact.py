"""Promise: what edits, renames and deletions leave behind is reclaimed, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import clipindex
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.lock import holder_of
from clipindex.collection.sharing.asking import ask_for_hand_over
from clipindex.files import replacing
from clipindex.files.replacing import new_beside, old_beside, settle, size_on_disk
from clipindex.stores import shard_size
from clipindex.stores.edge import EdgePoints
from clipindex.stores.points import Point
from clipindex.upkeep import compact as compacting
from clipindex.upkeep import compact_after
from conftest import ingest, make_pictures

DIMENSION = 512


def contents(place: FolderPlace) -> dict[object, tuple[bytes, object]]:
    """Every point of a collection: its vector's bytes and its payload."""
    with place.open_for_reading(place.locate().require(), "test") as points:
        names = [name for name, _ in points.scroll()]
        stored = points.retrieve(names)
    return {name: (point.vector.tobytes(), point.payload) for name, point in stored.items()}


def place_of(index: clipindex.Index) -> FolderPlace:
    assert isinstance(index.place, FolderPlace)
    return index.place


@pytest.fixture
def wasteful(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A small collection with tags whose shard has grown by rewriting."""
    pictures = make_pictures(tmp_path / "pictures", 6)
    ingest(index, tmp_path / "pictures")
    for year in range(4):
        index.tag({"year": str(year)}, pictures)
    return index


def test_a_compacted_collection_has_the_same_points_and_takes_less_room(
    wasteful: clipindex.Index,
) -> None:
    place = place_of(wasteful)
    before, size = contents(place), size_on_disk(place.shard)
    catalogue = place.catalogue.read_bytes()
    steps: list[tuple[int, int]] = []
    done = wasteful.compact(lambda *step: steps.append(step))
    assert done is not None
    assert contents(place) == before
    assert (done.points, done.bytes_before) == (6, size)
    assert done.bytes_after == size_on_disk(place.shard) < size
    assert steps[-1] == (12, 12)
    assert place.catalogue.read_bytes() == catalogue
    assert {path.name for path in place.folder.iterdir() if path.name.startswith(".")} == set()
    assert wasteful.tag({"after": "yes"}, [place.store.parent / "pictures"]) == 6
    assert wasteful.query("a cat")


STEPS = {
    "while it is copied": (EdgePoints, "upsert", "before"),
    "before the old one is set aside": (replacing, "sync_tree", "before"),
    "between the two renames": (Path, "rename", "after"),
    "before the old one is deleted": (compacting, "settle", "before"),
    "after all": (compacting, "note_compacted", "before"),
}
KILLED = """
import os, sys, clipindex
from pathlib import Path
from clipindex.files import replacing
from clipindex.stores.edge import EdgePoints
from clipindex.upkeep import compact as compacting
owner, name, when = {owner}, {name!r}, {when!r}
original = getattr(owner, name)
def killed(*args, **options):
    if when == "after":
        original(*args, **options)
    os._exit(9)
def armed(*args):
    setattr(owner, name, killed)
def armed_replace(folder, replace=compacting.replace):
    armed()
    return replace(folder)
if owner is EdgePoints:
    armed()
compacting.replace = armed_replace
clipindex.Index({store!r}).compact()
"""
OWNERS = {EdgePoints: "EdgePoints", replacing: "replacing", Path: "Path", compacting: "compacting"}


@pytest.mark.parametrize("moment", STEPS)
def test_a_kill_at_any_moment_leaves_a_whole_collection(
    wasteful: clipindex.Index, moment: str
) -> None:
    place = place_of(wasteful)
    before = contents(place)
    owner, name, when = STEPS[moment]
    code = KILLED.format(owner=OWNERS[owner], name=name, when=when, store=str(place.store))
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert run.returncode == 9, run.stderr.decode()
    assert contents(place) == before
    leftovers = (new_beside(place.shard), old_beside(place.shard))
    assert not any(path.exists() for path in leftovers)
    assert wasteful.compact() is not None
    assert contents(place) == before


def test_a_copy_that_differs_is_thrown_away(
    wasteful: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(wasteful)
    before = contents(place)
    upsert = EdgePoints.upsert

    def swapped(self: EdgePoints, batch: list[Point]) -> None:
        first, second, *others = batch
        upsert(self, [Point(first.id, second.vector, first.payload), second, *others])

    monkeypatch.setattr(EdgePoints, "upsert", swapped)
    with pytest.raises(clipindex.VerificationFailed, match="differs"):
        wasteful.compact()
    monkeypatch.undo()
    assert contents(place) == before
    assert not new_beside(place.shard).exists()


def test_free_space_is_asked_before_anything_is_written(
    wasteful: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "free_space", lambda _: 250 << 20)
    with pytest.raises(clipindex.DiskFull, match="250 are free"):
        wasteful.compact()
    assert not new_beside(place_of(wasteful).shard).exists()


def test_a_compaction_that_began_by_itself_gives_way_to_a_writer(
    wasteful: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(wasteful)
    before = contents(place)
    monkeypatch.setattr(shard_size, "WORTHWHILE", 0)
    monkeypatch.setattr(shard_size, "needed", lambda *_: 1)
    handed_over: list[bool] = []
    upsert = EdgePoints.upsert

    def asked(self: EdgePoints, batch: list[Point]) -> None:
        handed_over.append(ask_for_hand_over(place.lock, holder_of(place.lock)))
        upsert(self, batch)

    monkeypatch.setattr(EdgePoints, "upsert", asked)
    with pytest.raises(clipindex.CollectionBusy, match="wants to write"):
        wasteful.compact(only_if_worthwhile=True)
    assert wasteful.compact() is not None  # by hand: the writer waits
    assert handed_over == [True, False]
    assert contents(place) == before


def test_queries_are_answered_while_a_collection_is_compacted(
    wasteful: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(wasteful)
    answers: list[str] = []
    upsert = EdgePoints.upsert

    def asked(self: EdgePoints, batch: list[Point]) -> None:
        query = [sys.executable, "-m", "clipindex", "query", "a cat", "--json", "--limit", "1"]
        run = subprocess.run(
            [*query, "--store", str(place.store)], check=True, capture_output=True, text=True
        )
        answers.append(run.stdout)
        upsert(self, batch)

    monkeypatch.setattr(EdgePoints, "upsert", asked)
    wasteful.compact()
    assert [json.loads(answer)["rank"] for answer in answers] == [1]


def test_it_is_not_compacted_where_little_would_be_freed(wasteful: clipindex.Index) -> None:
    assert wasteful.compact(only_if_worthwhile=True) is None


def test_large_payloads_are_no_reason_to_compact_each_night(tmp_path: Path) -> None:
    """The second size is judged by what the first compaction really needed."""
    shard = tmp_path / "shard"
    shard.mkdir()
    (shard / "file").write_bytes(bytes(40 << 20))
    assert shard_size.shard_size(shard, 1000, DIMENSION).is_worth_compacting
    shard_size.note_compacted(shard, 1000)
    assert not shard_size.shard_size(shard, 1000, DIMENSION).is_worth_compacting


def test_the_size_that_points_need_is_what_a_fresh_shard_takes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2000, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with closing(EdgePoints(tmp_path / "shard", DIMENSION)) as points:
        for start in range(0, 2000, 250):
            points.upsert([point(number, vectors[number]) for number in range(start, start + 250)])
        points.flush()
    size = size_on_disk(tmp_path / "shard")
    assert 0.7 < shard_size.needed(2000, DIMENSION) / size < 1.5


def point(number: int, vector: np.ndarray) -> Point:  # type: ignore[type-arg]
    from clipindex.files.identity import point_id

    path = f"/home/ann/Pictures/2019/holiday {number // 200}/IMG_{number:05d}.jpg"
    above = path.split("/")[:-1]
    payload = {
        "source": "local",
        "path": path,
        "folders": ["/".join(above[:depth]) or "/" for depth in range(1, len(above) + 1)],
        "name": Path(path).name,
        "sha256": f"{number:064x}",
        "bytes": 3_000_000 + number,
        "mtime_ns": 1_500_000_000_000_000_000 + number,
        "width": 4000,
        "height": 3000,
        "format": "JPEG",
        "taken": "2019-07-04T12:00:00",
        "camera": "Canon EOS 5D",
        "indexed_at": "2026-11-27T22:00:00+00:00",
        "schema": 1,
    }
    return Point(point_id("local", os.fsencode(path)), vector, payload)


def test_after_a_run_a_wasteful_collection_is_compacted_in_a_process_of_its_own(
    wasteful: clipindex.Index, tmp_path: Path
) -> None:
    place = place_of(wasteful)
    filler = place.shard / "wal" / "filler"
    filler.write_bytes(bytes(64 << 20))  # waste: the engine deletes nothing it does not know
    waited = ingest(wasteful, tmp_path / "pictures")
    assert waited.summary.unchanged == 6
    deadline = time.monotonic() + 60
    while filler.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not filler.exists()
    deadline = time.monotonic() + 30
    while (place.folder / ".shard-old").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(contents(place)) == 6


@pytest.mark.parametrize("reason", ["option", "worthless"])
def test_after_a_run_no_process_is_started_without_a_reason(
    wasteful: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    started: list[object] = []
    monkeypatch.setattr(compact_after.subprocess, "Popen", lambda *a, **_: started.append(a))
    if reason == "option":
        (place_of(wasteful).shard / "wal" / "filler").write_bytes(bytes(64 << 20))
    ingest(wasteful, tmp_path / "pictures", compact=reason != "option")
    assert started == []


def test_the_status_says_how_much_would_be_freed(wasteful: clipindex.Index) -> None:
    place = place_of(wasteful)
    (place.shard / "wal" / "filler").write_bytes(bytes(64 << 20))
    status = wasteful.status()
    assert status.disk_bytes == size_on_disk(place.shard)
    assert status.reclaimable_bytes is not None
    assert 60 << 20 < status.reclaimable_bytes < status.disk_bytes
    run = [sys.executable, "-m", "clipindex", "status", "--store", str(place.store)]
    told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert "`clipindex compact` would free about 6" in told


def test_the_command_says_what_it_freed(wasteful: clipindex.Index) -> None:
    run = [sys.executable, "-m", "clipindex", "compact", "--store", str(place_of(wasteful).store)]
    told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert told.startswith("6 points compacted and verified in ")
    told = subprocess.run([*run, "--json"], check=True, capture_output=True, text=True).stdout
    assert json.loads(told)["type"] == "compacted"
    assert json.loads(told)["points"] == 6


def test_an_old_shard_left_without_its_name_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    old_beside(folder).mkdir()
    (old_beside(folder) / "file").write_text("old")
    new_beside(folder).mkdir()
    settle(folder)
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]


def test_a_file_that_is_renamed_while_its_folder_is_made_durable_is_synced_under_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a thread of the engine's does with the next file of its log while a shard is created."""
    (tmp_path / "shard" / "wal").mkdir(parents=True)
    temporary = tmp_path / "shard" / "wal" / "tmp-open-2"
    temporary.write_text("log")
    (tmp_path / "shard" / "dangling").symlink_to("nowhere")
    synced: list[str] = []

    def sync_file(path: Path) -> None:
        if path == temporary:
            path.rename(path.with_name("open-2"))
        os.close(os.open(path, os.O_RDONLY))
        synced.append(path.name)

    monkeypatch.setattr(replacing, "sync_file", sync_file)
    replacing.sync_tree(tmp_path / "shard")
    assert synced == ["open-2"]


def test_a_server_is_not_compacted() -> None:
    server = clipindex.Server("http://localhost:1")
    with pytest.raises(clipindex.UsageError, match="by itself"):
        clipindex.Index(server=server).compact()
