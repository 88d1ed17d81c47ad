"""Points and catalogue agree, whatever interrupted a run and whatever became of either."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import clipindex
from clipindex.collection.catalogue import Catalogue
from clipindex.collection.opening import open_for_change
from clipindex.ingest.events import PointsMissing
from clipindex.stores.edge import EdgePoints
from conftest import TINY, ingest, make_pictures, picture_bytes, run_clipindex
from copies import copied
from test_ingest import same_state, stored

KILL = "os.kill(os.getpid(), 9)"


def killed(index: clipindex.Index, patch: str, call: str) -> None:
    """Run `call` on the index in a process in which `patch` sets a deadly trap."""
    code = (
        "import os, clipindex\n"
        "from clipindex.stores.edge import EdgePoints\n"
        "from clipindex.collection.catalogue import Catalogue\n"
        f"{patch}\n"
        "options = clipindex.IngestOptions(batch_size=1, workers=1)\n"
        f"clipindex.Index({str(index.place.store)!r}).{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr


def owners(index: clipindex.Index) -> dict[str, object]:
    """Name -> tag; every stored point is that of a file that exists."""
    points = stored(index)
    assert all(map(os.path.exists, points))
    return {Path(path).name: point.payload.get("tag_owner") for path, point in points.items()}


TRAPS = {
    "before the new point": f"EdgePoints.upsert = lambda *_: {KILL}",
    "before its flush": f"EdgePoints.flush = lambda *_: {KILL}",
    "before the old point's deletion": f"EdgePoints.delete = lambda *_: {KILL}",
    "before the catalogue's rows": (
        "delete = EdgePoints.delete\n"
        f"def deadly(self, ids):\n    delete(self, ids)\n    self.flush()\n    {KILL}\n"
        "EdgePoints.delete = deadly"
    ),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
@pytest.mark.parametrize("names", [("000.jpg", "000b.jpg"), ("x.jpg", "y.jpg")], ids=["d", "n"])
def test_copies_keep_each_their_own_tag_wherever_a_move_is_killed(
    index: clipindex.Index, tmp_path: Path, trap: str, names: tuple[str, str]
) -> None:
    photos = tmp_path / "photos"
    (first,) = make_pictures(photos / "d", 1)
    second = first.with_name("000b.jpg")
    shutil.copy2(first, second)
    ingest(index, photos)
    index.tag({"owner": "ann"}, [first])
    index.tag({"owner": "bob"}, [second])
    (photos / "e").mkdir()
    for path, name in zip((first, second), names, strict=True):
        path.rename(photos / "e" / name)
    killed(index, trap, "reindex(options)")
    index.reindex()
    assert owners(index) == dict(zip(names, ("ann", "bob"), strict=True))
    assert index.reindex().written == 0


def test_a_move_that_was_killed_keeps_a_tag_that_was_set_since(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    index.tag({"owner": "ann"}, [path])
    moved = path.rename(path.with_name("x.jpg"))
    killed(index, TRAPS["before the old point's deletion"], "reindex(options)")
    index.tag({"owner": "bob"}, [moved])
    index.reindex()
    assert owners(index) == {"x.jpg": "bob"}


@pytest.mark.parametrize("workers", [1, 4])
def test_of_a_picture_renamed_and_copied_at_once_the_renamed_one_keeps_the_tag(
    index: clipindex.Index, tmp_path: Path, workers: int
) -> None:
    """A rename keeps the time of modification. It does not matter who was read first."""
    photos = tmp_path / "photos"
    paths = make_pictures(photos, 6)
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    ingest(index, photos)
    index.tag({"owner": "ann"}, paths)
    for number, path in enumerate(paths):
        before, after = ("a", "z") if number % 2 else ("z", "a")
        shutil.copy(path, photos / f"{before}-copy-{path.name}")
        path.rename(photos / f"{after}-renamed-{path.name}")
    options = clipindex.IngestOptions(workers=workers, batch_size=2)
    summary = index.reindex(options)
    assert (summary.moved, summary.duplicate, summary.vanished) == (6, 6, 0)
    tags = owners(index)
    assert [tag for name, tag in tags.items() if "renamed" in name] == ["ann"] * 6
    assert [tag for name, tag in tags.items() if "copy" in name] == [None] * 6


def test_points_are_flushed_before_they_are_believed(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 3)
    killed(index, TRAPS["before its flush"], f"ingest([{str(photos)!r}])")
    calls: list[str] = []
    for name in ("flush", "scroll", "retrieve"):
        method = getattr(EdgePoints, name)

        def logged(self: EdgePoints, *args: object, _name: str = name, _method=method) -> object:  # type: ignore[no-untyped-def]
            calls.append(_name)
            return _method(self, *args)

        monkeypatch.setattr(EdgePoints, name, logged)
    with open_for_change(index.place, "test"):
        assert calls[:2] == ["flush", "scroll"]


def test_a_store_without_its_points_is_filled_again_and_says_so(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """The folder `shard` was deleted to begin anew; contract.json may be gone as well."""
    photos = tmp_path / "photos"
    make_pictures(photos, 4)
    (photos / "bad.jpg").write_bytes(picture_bytes(9)[:300])
    ingest(index, photos)
    before = stored(index)
    shutil.rmtree(index.place.folder / "shard")
    (index.place.folder / "contract.json").unlink()
    events = list(index.ingest_events([photos]))
    assert PointsMissing(4, 4) in events
    summary = events[-1].summary  # type: ignore[union-attr]
    assert (summary.new, summary.unchanged, summary.points, summary.quarantined) == (4, 0, 4, 1)
    assert stored(index).keys() == before.keys()
    again = list(index.ingest_events([photos]))
    assert not any(isinstance(event, PointsMissing) for event in again)


def test_a_shard_from_an_older_backup_gets_its_missing_points_again(
    index: clipindex.Index, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    paths = make_pictures(photos, 2)
    ingest(index, photos)
    copied(index.place.folder / "shard", tmp_path / "backup")
    make_pictures(photos / "more", 2, first_seed=2)
    paths[0].write_bytes(picture_bytes(50))
    ingest(index, photos)
    shutil.rmtree(index.place.folder / "shard")
    copied(tmp_path / "backup", index.place.folder / "shard")
    run = run_clipindex("reindex", "--store", index.place.store)
    assert run.code == 0
    assert "2 of 4 remembered pictures are gone from the collection" in run.err
    fresh = clipindex.Index(tmp_path / "fresh", model=str(TINY))
    ingest(fresh, photos)
    assert same_state(index, fresh)


def test_another_sources_points_do_not_hide_that_points_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    make_pictures(tmp_path / "a", 3)
    make_pictures(tmp_path / "b", 4, first_seed=4)
    ours = clipindex.Index(tmp_path / "store", model=str(TINY), source="ours")
    others = clipindex.Index(tmp_path / "store", model=str(TINY), source="others")
    for index, folder in ((ours, "a"), (others, "b")):
        index.ingest([tmp_path / folder])
    with open_for_change(ours.place, "test") as collection:
        point = stored_point(collection.points, tmp_path / "a" / "000.jpg")
        collection.points.delete([point.id])
    assert PointsMissing(1, 3) in list(ours.ingest_events([tmp_path / "a"]))
    assert len(stored(ours)) == 7


def test_old_points_of_files_gone_bad_do_not_make_every_run_doubt(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    paths[0].write_bytes(b"\xff\xd8\xff broken")
    ingest(index, tmp_path / "photos")
    monkeypatch.setattr(EdgePoints, "scroll", None)  # a reconciliation would read every payload
    assert ingest(index, tmp_path / "photos").summary.unchanged == 2


def test_a_changed_ctime_alone_writes_no_point(index: clipindex.Index, tmp_path: Path) -> None:
    """chmod, a new hard link, a backup program: read again at most, and only once."""
    photos = tmp_path / "photos"
    paths = make_pictures(photos, 3)
    ingest(index, photos)
    before = stored(index)
    time.sleep(0.02)
    paths[0].chmod(0o600)
    os.link(paths[1], tmp_path / "link.jpg")
    summary = ingest(index, photos).summary
    assert (summary.found, summary.unchanged, summary.written) == (3, 3, 0)
    after = stored(index)
    assert [point.payload for point in after.values()] == [p.payload for p in before.values()]
    planned = index.dry_run([photos])
    assert (planned.unchanged, planned.to_read) == (3, 0)  # the row has the new ctime


def test_a_changed_ctime_writes_only_the_tags_that_are_asked_for(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos", 2)
    index.ingest([tmp_path / "photos"], tags={"owner": "ann"})
    for path in paths:
        path.chmod(0o600)
    assert index.ingest([tmp_path / "photos"], tags={"owner": "ann"}).written == 0
    for path in paths:
        path.chmod(0o644)
    assert index.ingest([tmp_path / "photos"], tags={"owner": "bob"}).written == 2
    assert set(owners(index).values()) == {"bob"}


# --- odd numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1601, 1677, 2300, 9999])
def test_a_file_of_any_date_is_indexed_and_unchanged_the_next_day(
    index: clipindex.Index, tmp_path: Path, year: int
) -> None:
    paths = make_pictures(tmp_path / "photos", 2)
    seconds = (year - 1970) * 31_556_952
    os.utime(paths[0], (seconds, seconds))
    assert ingest(index, tmp_path / "photos").summary.new == 2
    summary = ingest(index, tmp_path / "photos").summary
    assert (summary.unchanged, summary.written) == (2, 0)
    index.place.catalogue.unlink()
    assert ingest(index, tmp_path / "photos").summary.unchanged == 2


def test_a_collection_harmed_by_an_earlier_version_heals(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """It stored a time beyond 64 bits, which the engine gives back as a float, and failed before
    the catalogue's row; each later run failed at reading it."""
    paths = make_pictures(tmp_path / "photos", 2)
    ingest(index, tmp_path / "photos")
    os.utime(paths[0], (10_413_792_000, 10_413_792_000))
    with open_for_change(index.place, "test") as collection:
        point = stored_point(collection.points, paths[0])
        payload = {**point.payload, "mtime_ns": 10_413_792_000 * 10**9}
        collection.points.upsert([replace(point, payload=payload)])
        collection.points.flush()
        collection.catalogue.write(gone=[os.fsencode(paths[0])])
    with sqlite3.connect(index.place.catalogue) as database:
        database.execute("UPDATE runs SET finished = NULL")
    database.close()
    summary = ingest(index, tmp_path / "photos").summary
    assert (summary.found, summary.points) == (2, 2)
    assert ingest(index, tmp_path / "photos").summary.written == 0
    assert json.loads(run_clipindex("status", "--json", "--store", index.place.store).out)


def stored_point(points: object, path: Path) -> clipindex.stores.points.Point:  # type: ignore[name-defined]
    for name, payload in points.scroll():  # type: ignore[attr-defined]
        if payload["path"] == str(path):
            return points.retrieve([name])[name]  # type: ignore[attr-defined]
    raise AssertionError(path)


# --- many copies -------------------------------------------------------------------------------


def test_the_work_for_a_copy_does_not_grow_with_the_number_of_copies(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the catalogue reads, for copies that are new, and again when they are renamed."""
    rows = 0
    copies_of = Catalogue.indexed_copies

    def counting(self: Catalogue, sha256: bytes, most: int) -> list[bytes]:
        nonlocal rows
        found = copies_of(self, sha256, most)
        rows += len(found)
        return found

    monkeypatch.setattr(Catalogue, "indexed_copies", counting)
    photos = tmp_path / "photos" / "a"
    (first,) = make_pictures(photos, 1)
    for number in range(1, 120):
        shutil.copy(first, photos / f"{number:03}.jpg")
    summary = ingest(index, tmp_path / "photos").summary
    assert (summary.new, summary.duplicate) == (1, 119)
    photos.rename(photos.with_name("b"))
    assert ingest(index, tmp_path / "photos").summary.moved == 120
    assert rows <= 2 * 120 * 5  # one to see that it is known, four that may give the vector
