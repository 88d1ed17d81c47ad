"""Points that are gone from a collection are noticed by the next run, and embedded again."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

import clipindex
from clipindex.collection import agreement
from clipindex.collection.opening import open_for_change
from clipindex.files.identity import point_id
from clipindex.ingest.events import PointsMissing
from clipindex.stores.edge import EdgePoints
from conftest import TINY, ingest, make_pictures, picture_bytes, run_clipindex
from copies import copied
from qdrant_double import Double
from test_ingest import stored
from test_server import on

POINTS = "/collections/image_embeddings/points"


def snapshot(double: Double) -> list[dict[str, Any]]:
    """All points as they are now, with vectors and payloads."""
    everything = {"limit": 1000, "with_vector": True, "with_payload": True}
    answer = httpx.post(f"{double.url}{POINTS}/scroll", json=everything)
    return list(answer.json()["result"]["points"])


def lose(double: Double, names: list[str]) -> None:
    """Delete points behind the back of clipindex."""
    httpx.post(f"{double.url}{POINTS}/delete?wait=true", json={"points": names}).raise_for_status()


def restore(double: Double, points: list[dict[str, Any]]) -> None:
    """What restoring a snapshot does: these points, and no others."""
    lose(double, [point["id"] for point in snapshot(double)])
    httpx.put(f"{double.url}{POINTS}?wait=true", json={"points": points}).raise_for_status()


def losses(run: Any) -> list[PointsMissing]:
    return [event for event in run.events if isinstance(event, PointsMissing)]


@pytest.mark.slow
def test_points_gone_on_the_server_are_told_and_embedded_again_in_the_same_run(
    double: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 12)
    ingest(on(double), tmp_path / "photos")
    before = stored(on(double))
    lose(double, [point["id"] for point in snapshot(double)[:5]])
    env = {"CLIPINDEX_URL": double.url, "CLIPINDEX_SOURCE": "here"}
    run = run_clipindex("reindex", env=env)
    assert run.code == 0
    assert "5 of 12 remembered pictures are gone from the collection" in run.err
    assert "5  new" in run.out
    assert stored(on(double)).keys() == before.keys()
    again = run_clipindex("reindex", env=env)
    assert (again.code, "gone" in again.err) == (0, False)


def test_old_points_of_files_gone_bad_do_not_hide_a_loss(double: Double, tmp_path: Path) -> None:
    """They have no row among the indexed files, so rows and points would count even."""
    paths = make_pictures(tmp_path / "photos", 10)
    ingest(on(double), tmp_path / "photos")
    for path in paths[:3]:
        path.write_bytes(b"\xff\xd8\xff broken")
    assert ingest(on(double), tmp_path / "photos").summary.quarantined == 3
    lose(double, [str(point_id("here", str(path).encode())) for path in paths[3:6]])
    run = ingest(on(double), tmp_path / "photos")
    assert losses(run) == [PointsMissing(3, 7)]
    assert (run.summary.new, run.summary.points) == (3, 10)


def test_a_snapshot_from_before_a_rename_is_noticed_though_the_numbers_agree(
    double: Double, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos / "2019", 6)
    ingest(on(double), photos)
    earlier = snapshot(double)
    (photos / "2019").rename(photos / "Summer 2019")
    assert ingest(on(double), photos).summary.moved == 6
    restore(double, earlier)
    run = ingest(on(double), photos)
    assert losses(run) == [PointsMissing(6, 6)]
    assert (run.summary.moved, run.summary.embedded, run.summary.points) == (6, 0, 6)
    assert {Path(path).parent.name for path in stored(on(double))} == {"Summer 2019"}


def test_a_snapshot_from_before_an_edit_is_noticed(double: Double, tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "photos", 4)
    ingest(on(double), tmp_path / "photos")
    earlier = snapshot(double)
    paths[1].write_bytes(picture_bytes(70))
    ingest(on(double), tmp_path / "photos")
    wanted = stored(on(double))
    restore(double, earlier)
    assert ingest(on(double), tmp_path / "photos").summary.changed == 1
    now = stored(on(double))
    assert {p: v.payload["sha256"] for p, v in now.items()} == {
        p: v.payload["sha256"] for p, v in wanted.items()
    }


def test_what_another_part_adds_does_not_hide_what_this_part_lost(
    double: Double, tmp_path: Path
) -> None:
    """A lost shard of a cluster: some of the points written last were in it."""
    photos = tmp_path / "photos"
    make_pictures(photos, 20)

    def run_part(number: int) -> list[clipindex.Event]:
        part = clipindex.Part(number, 2)
        return list(on(double, "nas").ingest_events([photos], part=part))

    for number in (1, 2):
        run_part(number)
    earlier = snapshot(double)
    make_pictures(photos / "more", 20, first_seed=100)
    run_part(1)
    written = [p["id"] for p in snapshot(double) if p not in earlier]
    lose(double, written[:4])
    run_part(2)
    (loss,) = [event for event in run_part(1) if isinstance(event, PointsMissing)]
    assert loss.pictures == 4
    assert len(stored(on(double, "nas"))) == 40


def test_a_command_that_embeds_nothing_says_so_as_well(double: Double, tmp_path: Path) -> None:
    """It makes the catalogue agree, so the next ingest would only find new files."""
    paths = make_pictures(tmp_path / "photos", 5)
    ingest(on(double), tmp_path / "photos")
    lose(double, [str(point_id("here", str(path).encode())) for path in paths[:2]])
    words = "2 of the 5 remembered pictures are gone from the collection; the next reindex"
    with pytest.warns(clipindex.ClipIndexWarning, match=words):
        assert on(double).tag({"who": "ann"}, [tmp_path / "photos"]) == 3
    assert on(double).reindex().new == 2


def test_what_clipindex_deletes_itself_is_no_loss(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move by another part, a relocate, an import, and a deletion by a command of our own."""
    photos = tmp_path / "photos"
    paths = make_pictures(photos, 12)
    for number in (1, 2):
        list(on(double, "nas").ingest_events([photos], part=clipindex.Part(number, 2)))
    ingest(on(double, "nas"), photos)
    for path in paths[:6]:
        path.rename(path.with_name(f"renamed {path.name}"))
    for number in (2, 1, 2):
        events = list(on(double, "nas").ingest_events([photos], part=clipindex.Part(number, 2)))
        assert not any(isinstance(event, PointsMissing) for event in events)
    assert losses(ingest(on(double, "nas"), photos)) == []
    photos.rename(tmp_path / "moved")
    assert on(double, "nas").relocate(photos, tmp_path / "moved") >= 12
    for number in (1, 2):
        part = clipindex.Part(number, 2)
        events = list(on(double, "nas").ingest_events([tmp_path / "moved"], part=part))
        assert not any(isinstance(event, PointsMissing) for event in events)
    on(double, "nas").export(tmp_path / "export")
    on(double, "nas").import_(tmp_path / "export")
    with open_for_change(on(double, "nas").place, "prune") as collection:
        path = next(iter(stored(on(double, "nas")))).encode()
        collection.points.delete([point_id("nas", path)])
        collection.catalogue.write(gone=[path])
        Path(path.decode()).unlink()
    ingest(on(double, "nas"), tmp_path / "moved")
    compared = []
    monkeypatch.setattr(agreement, "reconcile", compared.append)
    assert losses(ingest(on(double, "nas"), tmp_path / "moved")) == []
    assert compared == []  # nor is each night's run in doubt


def test_a_picture_whose_file_went_with_its_point_is_no_loss(
    double: Double, tmp_path: Path
) -> None:
    """Another machine of the same source deleted or moved both."""
    paths = make_pictures(tmp_path / "photos", 4)
    ingest(on(double), tmp_path / "photos")
    paths[0].unlink()
    paths[1].unlink()
    lose(double, [str(point_id("here", str(path).encode())) for path in (paths[0], paths[2])])
    assert losses(ingest(on(double), tmp_path / "photos")) == [PointsMissing(1, 4)]


def test_an_embedded_shard_from_before_a_rename_is_noticed(
    index: clipindex.Index, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos / "2019", 3)
    ingest(index, photos)
    copied(index.place.folder / "shard", tmp_path / "backup")
    (photos / "2019").rename(photos / "Summer 2019")
    ingest(index, photos)
    shutil.rmtree(index.place.folder / "shard")
    copied(tmp_path / "backup", index.place.folder / "shard")
    assert losses(ingest(index, photos)) == [PointsMissing(3, 3)]
    assert {Path(path).parent.name for path in stored(index)} == {"Summer 2019"}


def test_what_is_written_last_is_read_back_at_the_next_start_and_no_more(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 70)
    ingest(index, tmp_path / "photos")
    asked: list[int] = []
    retrieve = EdgePoints.retrieve

    def counting(self: EdgePoints, ids: list[uuid.UUID]) -> object:
        asked.append(len(ids))
        return retrieve(self, ids)

    monkeypatch.setattr(EdgePoints, "retrieve", counting)
    fresh = clipindex.Index(index.place.store, model=str(TINY))
    assert ingest(fresh, tmp_path / "photos").summary.unchanged == 70
    assert asked == [50]


def test_a_strict_server_without_exact_counts_costs_no_page_of_ids_unless_points_are_gone(
    double: Double, tmp_path: Path
) -> None:
    double.strict = {"enabled": True, "search_allow_exact": False}
    make_pictures(tmp_path / "photos", 6)
    ingest(on(double), tmp_path / "photos")
    double.log.clear()
    assert ingest(on(double), tmp_path / "photos").summary.points == 6
    (lacking,) = double.requests("/points/scroll")  # points of versions without this field
    assert {"is_empty": {"key": "orientation"}} in lacking.body["filter"]["must"]
    assert double.requests("/points/count") == []
    lose(double, [point["id"] for point in snapshot(double)[:2]])
    double.log.clear()
    run = ingest(on(double), tmp_path / "photos")
    assert losses(run) == [PointsMissing(2, 6)]
    assert len(double.requests("/points/scroll")) > 1
    assert double.requests("/points/count") == []
    assert run.summary.points == 6
