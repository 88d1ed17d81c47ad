"""From folders to verified points: the promises of a run, on the real engine."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clipindex
from clipindex.errors import DiskNotMounted, StoreError, UsageError, VerificationFailed
from clipindex.files.identity import point_id
from clipindex.model.encoder import Model
from clipindex.stores.edge import EdgePoints
from clipindex.stores.points import Point, Points
from clipindex.stores.verified import BatchVerified, verify
from conftest import TINY, Run, ingest, make_pictures, picture, picture_bytes, reconciles


def stored(index: clipindex.Index) -> dict[str, Point]:
    """Every point of a collection by path."""
    with index.place.open_for_reading(index.place.locate().require(), "test") as store:
        ids = [id for id, _ in store.scroll()]
        return {str(point.payload["path"]): point for point in store.retrieve(ids).values()}


def without_time(point: Point) -> dict[str, object]:
    return {name: value for name, value in point.payload.items() if name != "indexed_at"}


def same_state(one: clipindex.Index, other: clipindex.Index) -> bool:
    """Same ids, vectors and payloads, `indexed_at` aside."""
    mine, theirs = stored(one), stored(other)
    return mine.keys() == theirs.keys() and all(
        mine[path].id == theirs[path].id
        and np.array_equal(mine[path].vector, theirs[path].vector)
        and without_time(mine[path]) == without_time(theirs[path])
        for path in mine
    )


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts files opened, pictures embedded and points written, on the real objects."""
    counts = {"opened": 0, "embedded": 0, "written": 0}
    from clipindex.ingest import stations
    from clipindex.stores.edge import EdgePoints

    read, embed, upsert = stations.read_content, Model.encode_images, EdgePoints.upsert

    def counting_read(path):  # type: ignore[no-untyped-def]
        counts["opened"] += 1
        return read(path)

    def counting_embed(self, pixels):  # type: ignore[no-untyped-def]
        counts["embedded"] += len(pixels)
        return embed(self, pixels)

    def counting_upsert(self, points):  # type: ignore[no-untyped-def]
        counts["written"] += len(points)
        return upsert(self, points)

    monkeypatch.setattr(stations, "read_content", counting_read)
    monkeypatch.setattr(Model, "encode_images", counting_embed)
    monkeypatch.setattr(EdgePoints, "upsert", counting_upsert)
    return counts


def test_every_picture_becomes_a_durable_unit_vector(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos", 30)
    run = ingest(index, tmp_path / "photos")
    assert run.summary.new == run.summary.points == run.summary.embedded == 30
    assert reconciles(run.summary)
    points = stored(index)
    assert set(points) == {str(path) for path in paths}
    for path, point in points.items():
        assert point.id == point_id("local", os.fsencode(path))
        assert abs(np.linalg.norm(point.vector.astype(np.float64)) - 1) < 1e-6
        assert point.payload["folders"][0] == str(tmp_path / "photos")  # type: ignore[index]


def test_batches_have_the_asked_size_and_name_their_ids(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 12)
    run = ingest(index, tmp_path / "photos", batch_size=5)
    batches = [event for event in run.events if isinstance(event, BatchVerified)]
    assert [batch.points for batch in batches] == [5, 5, 2]
    ids = {id for batch in batches for id in batch.ids}
    assert ids == {str(point.id) for point in stored(index).values()}


def test_a_second_run_opens_embeds_and_writes_nothing(
    index: clipindex.Index, tmp_path: Path, counted: dict[str, int]
) -> None:
    make_pictures(tmp_path / "photos", 10)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "photos" / "bad.jpg").write_bytes(picture_bytes(99)[:500])
    first = ingest(index, tmp_path / "photos")
    rows = list(_rows(index))
    assert counted == {"opened": 12, "embedded": 10, "written": 10}
    second = ingest(index, tmp_path / "photos")
    assert counted == {"opened": 12, "embedded": 10, "written": 10}
    assert list(_rows(index)) == rows
    assert (second.summary.unchanged, second.summary.quarantined, second.summary.skipped) == (
        10,
        1,
        1,
    )
    assert (first.summary.exit_code, second.summary.exit_code) == (3, 0)
    assert second.summary.newly_quarantined == 0
    assert reconciles(second.summary)


def _rows(index: clipindex.Index):  # type: ignore[no-untyped-def]
    from clipindex.collection.catalogue import Catalogue

    catalogue = Catalogue(index.place.catalogue)
    yield from catalogue.rows()
    catalogue.close()


def test_new_changed_duplicate_and_moved_are_told_apart(
    index: clipindex.Index, tmp_path: Path, counted: dict[str, int]
) -> None:
    photos = tmp_path / "photos"
    one, two, three, four = make_pictures(photos, 4)
    ingest(index, photos)
    one.write_bytes(picture_bytes(50))  # changed
    moved = two.rename(photos / "renamed.jpg")
    copy = photos / "copy.jpg"
    shutil.copy(three, copy)
    fresh = photos / "fresh.jpg"
    fresh.write_bytes(picture_bytes(51))
    os.utime(four)  # touched: the same bytes
    counted["embedded"] = 0
    run = ingest(index, photos)
    assert run.status(one) == "changed"
    assert run.status(moved) == "moved"
    assert run.status(copy) == "duplicate"
    assert run.status(fresh) == "new"
    assert run.status(four) == "unchanged"
    assert counted["embedded"] == run.summary.embedded == 2
    assert str(two) not in stored(index)
    assert run.summary.points == 6
    assert reconciles(run.summary)


def test_a_renamed_file_and_a_copy_cost_no_inference(
    index: clipindex.Index, tmp_path: Path, counted: dict[str, int]
) -> None:
    one, two = make_pictures(tmp_path / "photos", 2)
    ingest(index, tmp_path / "photos")
    before = stored(index)
    renamed = one.rename(tmp_path / "photos" / "x.jpg")
    shutil.copy(two, tmp_path / "photos" / "y.jpg")
    counted["embedded"] = 0
    ingest(index, tmp_path / "photos")
    after = stored(index)
    assert counted["embedded"] == 0
    assert np.array_equal(after[str(renamed)].vector, before[str(one)].vector)
    assert after[str(renamed)].payload["width"] == 320


def test_a_touched_file_gets_its_new_time_in_the_payload(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    os.utime(path, ns=(10**18, 10**18))
    run = ingest(index, tmp_path / "photos")
    assert run.summary.unchanged == 1
    assert stored(index)[str(path)].payload["mtime_ns"] == 10**18
    assert run.summary.embedded == 0


@pytest.mark.parametrize("copies", [2, 40])
def test_equal_new_files_in_one_run_cost_one_inference(
    index: clipindex.Index, tmp_path: Path, copies: int, counted: dict[str, int]
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(copies):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(picture_bytes(1))
    run = ingest(index, tmp_path / "photos", workers=4, batch_size=7)
    assert (run.summary.new, run.summary.duplicate) == (1, copies - 1)
    assert counted["embedded"] == run.summary.embedded == 1
    assert run.summary.points == copies


def test_equal_bad_files_share_one_quarantine(index: clipindex.Index, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(picture_bytes(1)[:600])
    run = ingest(index, tmp_path / "photos", workers=4)
    assert run.summary.quarantined == run.summary.newly_quarantined == 20
    assert reconciles(run.summary)


def test_a_file_that_goes_bad_is_quarantined_and_its_old_point_stays(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    whole = path.read_bytes()
    path.write_bytes(whole[:700])
    run = ingest(index, tmp_path / "photos")
    assert run.status(path) == "quarantined"
    assert run.summary.exit_code == 3
    assert run.summary.points == 1
    path.write_bytes(whole)
    healed = ingest(index, tmp_path / "photos")
    assert healed.summary.points == 1
    assert healed.summary.quarantined == 0


def test_swapped_files_take_each_others_vectors(index: clipindex.Index, tmp_path: Path) -> None:
    one, two = make_pictures(tmp_path / "photos", 2)
    ingest(index, tmp_path / "photos")
    before = stored(index)
    swap = tmp_path / "swap"
    one.rename(swap)
    two.rename(one)
    swap.rename(two)
    for batch_size in (1, 25):
        run = ingest(index, tmp_path / "photos", batch_size=batch_size)
        assert run.summary.changed + run.summary.unchanged == 2
    after = stored(index)
    assert np.array_equal(after[str(one)].vector, before[str(two)].vector)
    assert np.array_equal(after[str(two)].vector, before[str(one)].vector)


def test_an_old_path_serves_one_move_only(index: clipindex.Index, tmp_path: Path) -> None:
    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    data = path.read_bytes()
    path.unlink()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).write_bytes(data)
    run = ingest(index, tmp_path / "photos")
    assert (run.summary.moved, run.summary.duplicate, run.summary.points) == (1, 2, 3)
    assert run.summary.vanished == 0


def test_a_file_moved_out_of_an_unwalked_root_counts_as_a_copy(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (path,) = make_pictures(tmp_path / "a", 1)
    make_pictures(tmp_path / "b", 1, first_seed=7)
    ingest(index, tmp_path / "a", tmp_path / "b")
    moved = path.rename(tmp_path / "b" / "from_a.jpg")
    run = ingest(index, tmp_path / "b")
    assert run.status(moved) == "duplicate"
    assert run.summary.points == 3


def test_what_is_missing_is_counted_and_never_deleted(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos" / "sub", 3)
    make_pictures(tmp_path / "photos", 1, first_seed=9)
    ingest(index, tmp_path / "photos")
    paths[0].unlink()
    run = ingest(index, tmp_path / "photos")
    assert (run.summary.vanished, run.summary.points) == (1, 4)
    shutil.rmtree(tmp_path / "photos" / "sub")
    run = ingest(index, tmp_path / "photos")
    assert (run.summary.vanished, run.summary.points) == (3, 4)


def test_an_empty_or_missing_root_that_held_pictures_asks_for_the_disk(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "disk" / "photos", 2)
    ingest(index, tmp_path / "disk")
    shutil.move(tmp_path / "disk" / "photos", tmp_path / "elsewhere")
    with pytest.raises(DiskNotMounted, match="remembers 2 pictures"):
        ingest(index, tmp_path / "disk")
    (tmp_path / "disk").rmdir()
    with pytest.raises(DiskNotMounted):
        ingest(index, tmp_path / "disk")
    with pytest.raises(UsageError, match="no such file"):
        ingest(index, tmp_path / "never")
    assert len(stored(index)) == 2


def test_overlapping_roots_reach_each_file_once(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "a", 2)
    make_pictures(tmp_path / "a" / "b", 2, first_seed=5)
    monkeypatch.chdir(tmp_path)
    run = ingest(index, Path("a"), Path("a/b"), Path("./a"), Path("a/000.jpg"))
    assert run.summary.found == run.summary.new == run.summary.points == 4
    again = ingest(index, tmp_path / "a")
    assert again.summary.unchanged == 4


def test_the_limit_counts_files_read_and_the_next_run_goes_on(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 9)
    for new, unchanged, deferred in ((4, 0, 5), (4, 4, 1), (1, 8, 0)):
        summary = ingest(index, tmp_path / "photos", limit=4).summary
        assert (summary.new, summary.unchanged, summary.deferred) == (new, unchanged, deferred)
        assert reconciles(summary)


def test_stopping_early_is_safe_and_the_next_run_ends_where_an_undisturbed_one_does(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 20)
    undisturbed = clipindex.Index(tmp_path / "other", model=str(TINY))
    ingest(undisturbed, tmp_path / "photos")
    events = index.ingest_events([tmp_path / "photos"], clipindex.IngestOptions(batch_size=5))
    for event in events:
        if isinstance(event, BatchVerified):
            break
    events.close()
    assert len(stored(index)) >= 5
    ingest(index, tmp_path / "photos")
    assert same_state(index, undisturbed)


def test_a_deleted_catalogue_comes_back_without_opening_a_picture(
    index: clipindex.Index, tmp_path: Path, counted: dict[str, int]
) -> None:
    make_pictures(tmp_path / "photos", 5)
    ingest(index, tmp_path / "photos")
    for path in index.place.folder.glob("catalogue.sqlite*"):
        path.unlink()
    counted["opened"] = 0
    run = ingest(index, tmp_path / "photos")
    assert run.summary.unchanged == 5
    assert counted["opened"] == 0


def test_points_lost_behind_the_catalogues_back_are_made_again_after_an_interruption(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    events = index.ingest_events([tmp_path / "photos"])
    next(events)  # a run that began and never finished
    events.close()
    with closing(EdgePoints(index.place.shard, 512)) as store:
        store.delete([point_id("local", os.fsencode(paths[0]))])
        store.flush()
    run = ingest(index, tmp_path / "photos")
    assert run.summary.points == 3
    assert run.status(paths[0]) == "new"


def test_copies_of_a_picture_whose_point_is_lost_are_embedded_again_once(
    index: clipindex.Index, tmp_path: Path, counted: dict[str, int]
) -> None:
    """The catalogue promises a vector that is in no point any more."""
    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    before = stored(index)[str(path)]
    with closing(EdgePoints(index.place.shard, 512)) as points:
        points.delete([before.id])
        points.flush()
    copies = [path.with_name(name) for name in ("a.jpg", "b.jpg")]
    for copy in copies:
        shutil.copy(path, copy)
    counted["embedded"] = 0
    run = ingest(index, tmp_path / "photos")
    assert sorted(map(run.status, (path, *copies))) == ["duplicate", "duplicate", "new"]
    assert counted["embedded"] == run.summary.embedded == 1
    assert reconciles(run.summary)
    for copy in copies:
        assert np.array_equal(stored(index)[str(copy)].vector, before.vector)


def test_a_transient_read_error_heals_on_the_next_run(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipindex.pictures import content

    make_pictures(tmp_path / "photos", 3)
    bad, open_file = os.fsencode(tmp_path / "photos" / "001.jpg"), os.open

    def failing_open(path, flags, *rest):  # type: ignore[no-untyped-def]
        if path == bad:
            raise OSError(5, "Input/output error")
        return open_file(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(content.os, "open", failing_open)
        run = ingest(index, tmp_path / "photos")
    assert (run.summary.quarantined, run.summary.new, run.summary.exit_code) == (1, 2, 3)
    assert "Input/output error" in str(run.files[os.fsdecode(bad)].reason)
    healed = ingest(index, tmp_path / "photos")
    assert (healed.summary.new, healed.summary.unchanged, healed.summary.exit_code) == (1, 2, 0)


def test_a_path_that_is_not_utf8_goes_in_and_comes_back(
    index: clipindex.Index, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    path = os.path.join(folder, b"caf\xe9 \xff.jpg")
    with open(path, "wb") as file:
        file.write(picture_bytes(1))
    ingest(index, tmp_path / "photos")
    (point,) = stored(index).values()
    assert str(point.payload["path"]).endswith(r"caf\xe9 \xff.jpg")
    from clipindex.files.identity import path_from_payload

    assert path_from_payload(point.payload) == path
    assert ingest(index, tmp_path / "photos").summary.unchanged == 1
    (hit,) = index.query(os.fsdecode(path))
    assert hit.score == 1.0


def test_a_picture_and_its_copies_are_one_hit_and_the_query_file_stands_for_them(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos", 8)
    for number in range(150):  # more copies than a page of the search holds
        shutil.copy(paths[3], tmp_path / "photos" / f"copy{number:03d}.jpg")
    ingest(index, tmp_path / "photos")
    hits = index.query(tmp_path / "photos" / "copy007.jpg", clipindex.QueryOptions(limit=5))
    assert len({hit.id for hit in hits}) == 5
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0].score == 1.0
    assert hits[0].path.endswith("copy007.jpg")
    assert len(hits[0].paths) == 151
    assert all(one.score >= two.score for one, two in itertools.pairwise(hits))


def test_under_keeps_to_the_folder_and_not_to_its_namesakes(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (inside,) = make_pictures(tmp_path / "a", 1)
    shutil.copytree(tmp_path / "a", tmp_path / "ab")
    make_pictures(tmp_path / "ab", 2, first_seed=1)
    ingest(index, tmp_path)
    hits = index.query("anything", clipindex.QueryOptions(under=tmp_path / "a"))
    assert [hit.paths for hit in hits] == [(str(inside),)]


def test_hits_below_the_least_score_are_left_out(index: clipindex.Index, tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "photos", 6)
    ingest(index, tmp_path / "photos")
    hits = index.query(paths[2], clipindex.QueryOptions(min_score=0.9999))
    assert [hit.path for hit in hits] == [str(paths[2])]


def test_a_vector_does_not_depend_on_batch_place_or_workers(tiny_model: Model) -> None:
    pixels = np.stack([np.asarray(picture(seed, (224, 224))) for seed in range(25)])
    together = tiny_model.encode_images(pixels)
    for place in range(25):
        alone = tiny_model.encode_images(pixels[place : place + 1])
        assert np.abs(alone[0] - together[place]).max() <= 1e-6
    shuffled = tiny_model.encode_images(pixels[::-1])
    assert np.abs(shuffled[::-1] - together).max() <= 1e-6


def test_a_point_that_reads_back_differently_stops_the_run(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(index, tmp_path / "photos")
    point = next(iter(stored(index).values()))
    with closing(EdgePoints(index.place.shard, 512)) as store:
        verify(store, [point])
        _refuses(store, Point(point.id, -point.vector, point.payload), "differs")
        _refuses(store, Point(point.id, point.vector, {**point.payload, "width": 1}), "differs")
        _refuses(store, Point(uuid.uuid4(), point.vector, point.payload), "missing")


def _refuses(store: Points, point: Point, word: str) -> None:
    with pytest.raises(VerificationFailed, match=word):
        verify(store, [point])


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["write", "copy", "move", "delete", "touch", "break", "ingest", "stop"]
            ),
            st.integers(0, 5),
            st.integers(0, 5),
        ),
        max_size=20,
    )
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_to_the_files_the_index_ends_equal_to_the_folder(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Counts reconcile after every run, and each readable file has its own content's point."""
    base = tmp_path_factory.mktemp("life")
    photos = base / "photos"
    photos.mkdir()
    (photos / "always.jpg").write_bytes(_CONTENTS[0])
    index = clipindex.Index(base / "store", model=str(TINY))
    for action, one, two in steps:
        _act(index, photos, action, photos / f"{one}.jpg", photos / f"{two}.jpg", one)
    _checked_ingest(index, photos)
    points = stored(index)
    for path in photos.iterdir():
        if (content := path.read_bytes()) in _CONTENTS:
            assert points[str(path)].payload["sha256"] == hashlib.sha256(content).hexdigest()
    assert ingest(index, photos).summary.written == 0


_CONTENTS = [picture_bytes(100 + number) for number in range(6)]


def _checked_ingest(index: clipindex.Index, photos: Path) -> Run:
    run = ingest(index, photos, batch_size=2)
    assert reconciles(run.summary)
    return run


def _act(
    index: clipindex.Index, photos: Path, action: str, one: Path, two: Path, seed: int
) -> None:
    if action == "write":
        one.write_bytes(_CONTENTS[seed])
    elif action == "break":
        one.write_bytes(_CONTENTS[seed][:400])
    elif action == "ingest":
        _checked_ingest(index, photos)
    elif action == "stop":
        events = index.ingest_events([photos], clipindex.IngestOptions(batch_size=1))
        for event in events:
            if isinstance(event, BatchVerified):
                break
        events.close()
    elif one.exists():
        if action == "copy" and one != two:
            shutil.copy(one, two)
        elif action == "move":
            one.rename(two)
        elif action == "delete":
            one.unlink()
        elif action == "touch":
            os.utime(one)


# --- the Python API --------------------------------------------------------------------------


def test_ingest_and_reindex_run_at_once_and_return_the_summary(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    assert index.ingest(tmp_path / "photos").new == 3
    assert index.reindex().unchanged == 3
    events = list(index.ingest_events([tmp_path / "photos"]))
    assert isinstance(events[-1], clipindex.RunFinished)
    assert events[-1].summary.unchanged == 3


def test_wrong_arguments_raise_at_the_call_and_create_nothing(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for wrong in (
        lambda: index.ingest(),
        lambda: index.ingest_events([]),
        lambda: index.ingest_events([tmp_path / "nowhere"]),
        lambda: index.ingest_events([tmp_path / "photos"], tags={"a key": "x"}),
        lambda: index.ingest_events([tmp_path], part=clipindex.Part(3, 2)),
        lambda: index.ingest_events([tmp_path], clipindex.IngestOptions(workers=0)),
        lambda: index.dry_run(),
        lambda: index.alias("name"),
        lambda: index.unalias("name"),
        lambda: index.copy_to(index),
    ):
        with pytest.raises((UsageError, StoreError)):
            wrong()
    with pytest.raises(StoreError, match="there is no collection"):
        index.reindex_events()
    assert not (tmp_path / "store").exists()


def test_each_named_file_may_have_tags_of_its_own(index: clipindex.Index, tmp_path: Path) -> None:
    one, two = make_pictures(tmp_path / "photos", 2)
    index.ingest(tmp_path / "photos", tags={"of": "us", "n": "0"})
    summary = index.ingest(files={one: {"n": "1"}, two: {}})
    assert (summary.unchanged, summary.tagged) == (2, 1)
    tags = {Path(hit.path).name: hit.tags for hit in index.query("a cat")}
    assert tags == {"000.jpg": {"of": "us", "n": "1"}, "001.jpg": {"of": "us", "n": "0"}}
    with pytest.raises(UsageError):
        index.ingest(files={one: {"a key": "x"}})


def test_an_empty_list_of_files_is_a_run_over_none(index: clipindex.Index) -> None:
    """What `find ... | clipindex ingest --files-from -` gives on a quiet night."""
    assert index.ingest(files=[]).found == 0


def test_a_collection_can_be_exported_imported_and_copied_with_a_callback(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    calls: list[tuple[int, int]] = []
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    imported = clipindex.Index(tmp_path / "imported", model=str(TINY))
    copied = clipindex.Index(tmp_path / "copied", model=str(TINY))
    assert index.export(tmp_path / "export", progress) == 3
    assert imported.import_(tmp_path / "export", progress) == 3
    assert index.copy_to(copied, progress) == 3
    assert calls == [(3, 3)] * 3
    assert same_state(index, imported)
    assert same_state(index, copied)
    assert index.copy_to(copied) == 0


def test_refused_files_of_a_run_that_was_stopped_are_not_reported_again(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    broken = picture_bytes(1)[:-400]
    for number in range(20):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(broken)
    events = index.ingest_events(tmp_path / "in")
    files = (event.path for event in events if isinstance(event, clipindex.FileDone))
    reported = set(itertools.islice(files, 5))
    events.close()
    run = ingest(index, tmp_path / "in")
    assert len(reported) == 5
    assert not reported & set(run.files)
    assert (run.summary.quarantined, run.summary.newly_quarantined) == (20, 15)
