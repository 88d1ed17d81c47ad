"""Changing a collection on a server to another model: an alias is switched."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipindex
from clipindex.errors import Refused, StoreError, UsageError
from conftest import ingest, make_pictures
from qdrant_double import Double, Request
from qdrant_double.access import token
from test_server import on
from test_switch import NOT_NOW, model_of, paths_in, tags_of

pytestmark = pytest.mark.usefixtures("one_load")


@pytest.fixture
def photos(double: Double, tmp_path: Path) -> clipindex.Index:
    """Five pictures in the collection v1; `photos` stands for it."""
    make_pictures(tmp_path / "pictures", 5)
    ingest(on(double, collection="v1"), tmp_path / "pictures")
    on(double, collection="v1").alias("photos")
    return on(double, collection="photos", model=None)


@pytest.mark.slow
def test_an_alias_is_switched_and_back_and_both_get_every_change(
    photos: clipindex.Index, double: Double, other: str, tmp_path: Path
) -> None:
    first = tmp_path / "pictures" / "000.jpg"
    assert photos.switch_model(other, NOT_NOW).state == "filling"
    photos.tag({"while": "filling"}, [first])
    assert (photos.status().collection, model_of(photos)) == ("v1", "tiny-clip")
    double.log.clear()
    report = photos.switch_model(other)
    assert (report.state, report.pictures, report.of) == ("switched", 5, 5)
    changes = [r for r in double.requests("/collections/aliases") if r.method == "POST"]
    assert [len(change.body["actions"]) for change in changes] == [1]
    status = photos.status()
    assert (status.model, status.indexed, len(status.roots)) == ("other-clip", 5, 1)
    assert status.switch is not None
    assert (status.switch.state, status.switch.collection) == ("switched", "v1")
    assert (status.switch.pictures, status.switch.of) == (5, 5)
    photos.tag({"since": "then"}, [first])
    make_pictures(tmp_path / "pictures" / "more", 1, first_seed=60)
    assert photos.reindex().new == 1
    assert tags_of(photos, first) == {"while": "filling", "since": "then"}
    report = photos.switch_back()
    assert (report.state, report.pictures, report.embedded) == ("back", 6, 0)
    assert (photos.status().collection, len(paths_in(photos))) == ("v1", 6)
    assert tags_of(photos, first) == {"while": "filling", "since": "then"}
    assert photos.reindex().unchanged == 6


def test_a_collection_that_no_alias_stands_for_is_not_switched(
    double: Double, tmp_path: Path, other: str
) -> None:
    make_pictures(tmp_path / "pictures", 1)
    index = on(double, collection="v1")
    ingest(index, tmp_path / "pictures")
    with pytest.raises(Refused, match="is a collection itself") as refused:
        index.switch_model(other)
    assert "clipindex alias NAME --collection v1" in refused.value.hint
    assert (list(double.shards), double.aliases) == (["v1"], {})


def test_a_key_that_may_not_change_aliases_is_refused_before_anything_is_made(
    photos: clipindex.Index, double: Double, other: str
) -> None:
    assert model_of(photos) == "tiny-clip"
    double.key = "secret"
    mine = [{"collection": name, "access": "rw"} for name in ("photos", "v1")]
    index = on(double, collection="photos", model=None, key=token("secret", mine))
    with pytest.raises(StoreError, match=r"photos\.switch.*denies access \(403\)"):
        index.switch_model(other)
    assert (list(double.shards), double.aliases) == (["v1"], {"photos": "v1"})


@pytest.mark.slow
def test_pictures_of_another_machine_wait_for_it(
    photos: clipindex.Index, double: Double, other: str, tmp_path: Path
) -> None:
    """Each machine fills in its own; the last one switches."""
    make_pictures(tmp_path / "others", 2, first_seed=30)
    ingest(on(double, source="there", collection="photos"), tmp_path / "others")
    report = photos.switch_model(other)
    assert report.state == "filling"
    assert {one.reason.partition(":")[0] for one in report.missing} == {"it is of source 'there'"}
    assert model_of(photos) == "tiny-clip"
    report = on(double, source="there", collection="photos", model=None).switch_model(other)
    assert (report.state, report.pictures, report.embedded) == ("switched", 7, 2)


@pytest.mark.slow
def test_nobody_writes_to_the_collection_that_is_not_live(
    photos: clipindex.Index, double: Double, other: str, tmp_path: Path
) -> None:
    photos.switch_model(other, NOT_NOW)
    (new,) = set(double.shards) - {"v1"}
    with pytest.raises(Refused, match="is kept beside"):
        on(double, collection=new, model=None).tag({"a": "b"}, [tmp_path / "pictures"])
    assert on(double, collection="v1").tag({"a": "b"}, [tmp_path / "pictures"]) == 5
    photos.switch_model(other)
    with pytest.raises(Refused, match="is kept beside"):
        on(double, collection="v1").reindex()
    assert len(paths_in(on(double, collection="v1", model=None))) == 5  # reading is free
    photos.switch_back()
    assert photos.cancel_switch().model == "other-clip"
    assert (list(double.shards), double.aliases) == (["v1"], {"photos": "v1"})
    with pytest.raises(UsageError, match="nothing to delete"):
        photos.drop_old()


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3])
def test_a_switch_that_broke_off_at_the_server_goes_on(
    photos: clipindex.Index, double: Double, other: str, number: int
) -> None:
    """The mark's target, or the switch itself."""
    seen = []

    def nth(request: Request) -> bool:
        if request.method == "POST" and request.path.startswith("/collections/aliases"):
            seen.append(request)
            return len(seen) == number
        return False

    double.fail("403", value="for a moment", when=nth)
    with pytest.raises(StoreError):
        photos.switch_model(other)
    assert (model_of(photos), len(paths_in(photos))) == ("tiny-clip", 5)
    assert photos.switch_model(other).state == "switched"
    assert len(paths_in(photos)) == 5
    assert len(double.shards) == 2


@pytest.mark.slow
def test_a_deletion_that_broke_off_is_finished(
    photos: clipindex.Index, double: Double, other: str
) -> None:
    photos.switch_model(other)
    double.fail(
        "403", value="for a moment", when=lambda r: r.path.startswith("/collections/aliases")
    )
    with pytest.raises(StoreError):
        photos.drop_old()
    assert (photos.status().switch, len(paths_in(photos))) == (None, 5)
    assert photos.drop_old().model is None
    (name,) = double.shards
    assert double.aliases == {"photos": name}
    assert (photos.status().switch, len(paths_in(photos))) == (None, 5)
    assert photos.reindex().unchanged == 5
