"""Filters: what each of them keeps, on every store, and what the user is told of the rest."""

from __future__ import annotations

import json
import math
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import clipindex
from clipindex import Condition, PictureFilter, QueryOptions, Sort
from clipindex.collection.lock import holder_of
from clipindex.collection.opening import open_for_change
from clipindex.collection.sharing import asking, wire
from clipindex.collection.sharing.asking import AskedPoints, NoAnswer
from clipindex.errors import StoreError, UsageError
from clipindex.search import filter_texts
from clipindex.search.dates import span
from clipindex.search.query import search
from clipindex.search.terms import Query
from clipindex.stores import edge_search, server_search, shard_lookup
from clipindex.stores.address import Server
from clipindex.stores.connection import WRITING, Connection
from clipindex.stores.edge import EdgePoints
from clipindex.stores.filter import Filter, Near, Range
from clipindex.stores.lookup import Lookup
from clipindex.stores.payload import Payload
from clipindex.stores.points import Point, Points
from clipindex.stores.search_method import Accuracy
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import create
from conftest import TINY, ingest, run_clipindex
from qdrant_double.double import Double
from test_sharing import indexed
from test_stores import new_name, point

assert callable(indexed)  # a fixture of test_sharing

COUNT = 60
PARIS, BERLIN = (48.8566, 2.3522), (52.52, 13.405)


def facts(seed: int) -> dict[str, object]:
    """The payload of a made picture; every third has no date, every fourth no place."""
    wide, high = (640, 480) if seed % 2 else (480, 640 + seed % 3)
    fields: dict[str, object] = {
        "width": wide,
        "height": high,
        "orientation": "landscape" if wide > high else "portrait",
        "bytes": 1000 * seed,
        "format": ("JPEG", "PNG", "HEIC")[seed % 3],
        "tag_owner": ("ann", "bob")[seed % 2],
        "meta_price": 2.5 * seed,
        "meta_active": seed % 4 == 0,
        "meta_keywords": [f"k{seed % 5}", "all"],
    }
    if seed % 3:
        fields["taken"] = f"20{10 + seed % 12}-{seed % 12 + 1:02d}-{seed % 28 + 1:02d}T12:00:00"
        fields["camera"] = ("Canon EOS R5", "Nikon D750")[seed % 2]
    if seed % 4:
        latitude, longitude = PARIS if seed % 2 else BERLIN
        fields["location"] = {"lat": latitude + seed / 1000, "lon": longitude}
    else:
        fields["location"] = None
    if seed % 7 == 0:
        del fields["tag_owner"]
    return fields


def made(seed: int) -> Point:
    base = point(seed, f"/photos/{'a' if seed % 2 else 'b'}/{seed % 3}/{seed}.jpg")
    payload = {**base.payload, **facts(seed)}
    kept = {name: value for name, value in payload.items() if value is not None}
    return Point(base.id, base.vector, kept)


POINTS = [made(seed) for seed in range(COUNT)]


def metres(one: tuple[float, float], other: tuple[float, float]) -> float:
    a, b = (map(math.radians, place) for place in (one, other))
    (north, east), (south, west) = a, b
    half = math.sin((north - south) / 2) ** 2
    half += math.cos(north) * math.cos(south) * math.sin((east - west) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(half))


def is_near(payload: Payload, distance: float) -> bool:
    place: Any = payload.get("location")
    return place is not None and metres((place["lat"], place["lon"]), PARIS) <= distance


Says = Callable[[Payload], Any]
JUNE = Range(field="taken", gte="2013-06-01", lt="2013-07-01")
CASES: list[tuple[str, Filter, Says]] = [
    ("since", Filter(ranges=(Range(field="taken", gte="2015-01-01"),)),
     lambda p: p.get("taken", "") >= "2015"),
    ("month", Filter(ranges=(JUNE,)), lambda p: str(p.get("taken", "")).startswith("2013-06")),
    ("bytes", Filter(ranges=(Range(field="bytes", gte=20_000),)), lambda p: p["bytes"] >= 20_000),
    ("format", Filter(equals=(("format", "PNG"),)), lambda p: p["format"] == "PNG"),
    ("formats", Filter().also_among("format", ["PNG", "HEIC"]), lambda p: p["format"] != "JPEG"),
    ("upright", Filter(equals=(("orientation", "portrait"),)), lambda p: p["width"] < p["height"]),
    ("near", Filter(near=(Near("location", *PARIS, 2500.0),)), lambda p: is_near(p, 2500)),
    ("far", Filter(near=(Near("location", *PARIS, 2e6),)), lambda p: is_near(p, 2e6)),
    ("undated", Filter(absent=("taken",)), lambda p: "taken" not in p),
    ("unplaced", Filter(absent=("location", "taken")),
     lambda p: "location" not in p and "taken" not in p),
    ("no tag", Filter(absent=("tag_owner",)), lambda p: "tag_owner" not in p),
    ("tag", Filter(equals=(("tag_owner", "ann"),)), lambda p: p.get("tag_owner") == "ann"),
    ("no ann", Filter(differs=(("tag_owner", "ann"),)), lambda p: p.get("tag_owner") != "ann"),
    ("nobody", Filter(equals=(("tag_owner", "eve"),)), lambda _: False),
    ("cheap", Filter(ranges=(Range(field="meta_price", lt=50.0),)), lambda p: p["meta_price"] < 50),
    ("dear", Filter(beyond=(Range(field="meta_price", lt=50.0),)), lambda p: p["meta_price"] >= 50),
    ("active", Filter(equals=(("meta_active", True),)), lambda p: p["meta_active"]),
    ("inactive", Filter(differs=(("meta_active", True),)), lambda p: not p["meta_active"]),
    ("word", Filter(equals=(("meta_keywords", "k3"),)), lambda p: "k3" in p["meta_keywords"]),
    ("other", Filter().also_outside("meta_keywords", ["k3", "k4"]),
     lambda p: not {"k3", "k4"} & {*p["meta_keywords"]}),
    ("folder", Filter(equals=(("folders", "/photos/a"), ("format", "PNG"))),
     lambda p: "/photos/a" in p["folders"] and p["format"] == "PNG"),
    ("folders", Filter(ranges=(JUNE,)).also_among("folders", ["/photos/a/1", "/photos/b"]),
     lambda p: {"/photos/a/1", "/photos/b"} & {*p["folders"]}
     and str(p.get("taken", "")).startswith("2013-06")),
    ("all", Filter(equals=(("tag_owner", "bob"),), ranges=(Range(field="width", gte=500),),
     near=(Near("location", *PARIS, 3e6),)).also_among("camera", ["Nikon D750"]),
     lambda p: p.get("tag_owner") == "bob" and p["width"] >= 500 and "location" in p
     and p.get("camera") == "Nikon D750"),
]  # fmt: skip


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgePoints]:
    with closing(EdgePoints(tmp_path_factory.mktemp("shard"), 512)) as store:
        store.upsert(POINTS)
        store.flush()
        yield store


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPoints]:
    with Double(tmp_path_factory.mktemp("double")) as double:
        opened, name = Connection(Server(double.url), WRITING), new_name()
        create(opened, name, 512, {"of": "a test"})
        with closing(ServerPoints(opened, name, 512)) as store:
            store.index_missing_fields()
            store.upsert(POINTS)
            yield store


@pytest.fixture(params=["edge", "edge, wide", "edge, no lookup", "server"])
def filled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Points:
    """All points, in every way in which a filter can be answered."""
    if request.param == "server":
        served: ServerPoints = request.getfixturevalue("served")
        return served
    if request.param == "edge, wide":
        monkeypatch.setattr(edge_search, "IDS_AT_MOST", 2)
        monkeypatch.setattr(edge_search, "PAGES", (5, 10))
    if request.param == "edge, no lookup":
        monkeypatch.setattr(shard_lookup.ShardLookup, "ready", lambda *_, **__: None)
    store: EdgePoints = request.getfixturevalue("embedded")
    return store


@pytest.mark.parametrize(("only", "says"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_a_filter_keeps_what_it_says_in_every_store(
    filled: Points, only: Filter, says: Says
) -> None:
    expected = {each.id for each in POINTS if says(each.payload)}
    assert filled.count(only) == len(expected)
    assert {name for name, _ in filled.scroll(only)} == expected
    hits = filled.search(POINTS[0].vector, limit=COUNT, only=only)
    assert {hit.sha256 for hit in hits} == {
        each.payload["sha256"] for each in POINTS if each.id in expected
    }
    best = filled.search(POINTS[0].vector, limit=2, only=only)
    assert [hit.sha256 for hit in best] == [hit.sha256 for hit in hits[:2]]


def test_a_place_across_the_date_line_is_near(tmp_path: Path) -> None:
    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        east, west = (
            point(1, location={"lat": 0.0, "lon": 179.99}),
            point(2, location={"lat": 0.0, "lon": -179.99}),
        )
        store.upsert([east, west])
        store.flush()
        assert store.count(Filter(near=(Near("location", 0.0, 179.999, 5000.0),))) == 2
        assert store.count(Filter(near=(Near("location", 0.0, 179.999, 1100.0),))) == 1


# --- the lookup file stays in step -----------------------------------------------------------

PORTRAIT = Filter(equals=(("orientation", "portrait"),))


def ids(store: Points, only: Filter) -> set[int]:
    return {name.int for name, _ in store.scroll(only)}


def test_what_is_written_changed_and_deleted_is_looked_up_as_it_is_now(tmp_path: Path) -> None:
    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        store.upsert(POINTS[:10])
        store.flush()
        before = ids(store, Filter(equals=(("tag_owner", "ann"),)))
        changed = POINTS[2]
        store.upsert([Point(changed.id, changed.vector, {**changed.payload, "tag_owner": "eve"})])
        store.delete([POINTS[4].id])
        assert ids(store, Filter(equals=(("tag_owner", "eve"),))) == {changed.id.int}  # unflushed
        store.flush()
        after = ids(store, Filter(equals=(("tag_owner", "ann"),)))
        assert after == before - {changed.id.int, POINTS[4].id.int}
        assert store.count(Filter(equals=(("tag_owner", "eve"),))) == 1
        assert store.values("tag_owner")["eve"] == 1
    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        assert ids(store, Filter(equals=(("tag_owner", "ann"),))) == after


@pytest.mark.parametrize("damage", ["behind", "missing", "no database", "another version"])
def test_a_lookup_that_is_not_in_step_is_made_anew(tmp_path: Path, damage: str) -> None:
    shard, file = tmp_path / "shard", tmp_path / "shard" / "lookup.sqlite"
    with closing(EdgePoints(shard, 512)) as store:
        store.upsert(POINTS[:20])
        store.flush()
    if damage == "behind":  # an earlier clipindex wrote, or a run was killed before it took over
        kept = file.read_bytes()
        with closing(EdgePoints(shard, 512)) as store:
            store.upsert(POINTS[20:30])
            store.flush()
        file.write_bytes(kept)
    elif damage == "missing":
        file.unlink()
    elif damage == "no database":
        file.write_bytes(b"x" * 10_000)
    else:
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA user_version=99")
    count = 30 if damage == "behind" else 20
    expected = {p.id.int for p in POINTS[:count] if p.payload["orientation"] == "portrait"}
    for _ in range(2):
        with closing(EdgePoints(shard, 512)) as store:
            assert ids(store, PORTRAIT) == expected
            assert store.count(PORTRAIT) == len(expected)


@pytest.mark.parametrize("only", [Filter(), PORTRAIT, Filter(equals=(("sha256", "00" * 32),))])
def test_what_asks_while_the_shard_is_closed_meets_an_error_of_the_store(
    tmp_path: Path, only: Filter
) -> None:
    store = EdgePoints(tmp_path / "shard", 512)
    store.upsert(POINTS[:10])
    store.flush()
    store._shard.close()  # as `close` of another thread does
    for ask in (lambda: list(store.scroll(only)), lambda: store.count(only)):
        with pytest.raises(StoreError, match="cannot be"):
            ask()


def test_a_lookup_that_fails_costs_no_answer_and_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        store.upsert(POINTS[:10])
        store.flush()
        monkeypatch.setattr(Lookup, "change", fail)
        store.upsert(POINTS[10:20])
        store.flush()
        expected = {p.id.int for p in POINTS[:20] if p.payload["orientation"] == "portrait"}
        assert ids(store, PORTRAIT) == expected
    monkeypatch.undo()
    monkeypatch.setattr(Lookup, "ids", fail)
    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        assert ids(store, PORTRAIT) == expected


def test_pictures_of_earlier_versions_have_an_orientation_too(tmp_path: Path) -> None:
    with closing(EdgePoints(tmp_path / "shard", 512)) as store:
        old = {name: value for name, value in POINTS[1].payload.items() if name != "orientation"}
        store.upsert([Point(POINTS[1].id, POINTS[1].vector, old)])
        store.flush()
        assert store.count(Filter(equals=(("orientation", "landscape"),))) == 1
        assert store.search(POINTS[1].vector, limit=1, only=Filter(differs=(("format", "X"),)))


def test_a_shard_of_an_earlier_version_loses_its_indexes_with_the_first_batch(
    tmp_path: Path,
) -> None:
    """They are read whole at each open; the lookup file answers without them."""
    shard, below = tmp_path / "shard", Filter(equals=(("folders", "/photos"),))
    with closing(EdgePoints(shard, 512)) as store:
        store.upsert(POINTS[:10])
        for field in ("folders", "sha256"):
            kind = qdrant_edge.PayloadSchemaType.Keyword
            index = qdrant_edge.UpdateOperation.create_field_index(field, kind)
            store._shard.update(index)
        store.flush()
    (shard / "lookup.sqlite").unlink()
    with closing(EdgePoints(shard, 512)) as store:
        assert len(ids(store, below)) == 10
        assert not (shard / "lookup.sqlite").exists()
        store.upsert(POINTS[10:11])
        store.flush()
    with closing(EdgePoints(shard, 512)) as store:
        assert store._shard.info().payload_schema == {}
        assert len(ids(store, below)) == 11
        digest = str(POINTS[10].payload["sha256"])
        assert ids(store, Filter(equals=(("sha256", digest),))) == {POINTS[10].id.int}


def test_copies_are_found_without_a_lookup_that_would_first_have_to_be_made(
    tmp_path: Path,
) -> None:
    shard = tmp_path / "shard"
    with closing(EdgePoints(shard, 512)) as store:
        store.upsert(POINTS[:10])
        store.flush()
    (shard / "lookup.sqlite").unlink()
    with closing(EdgePoints(shard, 512)) as store:
        (hit,) = search(store, Query(POINTS[3].vector), QueryOptions(limit=1))
        assert hit.id == str(POINTS[3].id)
    assert rows_in(shard) == 0
    with closing(EdgePoints(shard, 512)) as store:
        assert len(ids(store, PORTRAIT)) > 0
    assert rows_in(shard) == 10


def rows_in(shard: Path) -> int:
    with closing(sqlite3.connect(shard / "lookup.sqlite")) as file:
        (count,) = file.execute("SELECT count(*) FROM points").fetchone()
    return int(count)


def test_a_lookup_file_that_is_no_database_is_made_anew(tmp_path: Path) -> None:
    shard = tmp_path / "shard"
    with closing(EdgePoints(shard, 512)) as store:
        store.upsert(POINTS[:10])
        store.flush()
    (shard / "lookup.sqlite").write_bytes(b"x" * 10_000)
    for is_mended in (False, True):
        with closing(EdgePoints(shard, 512)) as store:
            assert len(ids(store, PORTRAIT)) > 0
            assert (store._lookup.ready() is not None) == is_mended


# --- a server --------------------------------------------------------------------------------


def test_a_server_searches_exactly_under_a_filter_that_keeps_little(
    served: ServerPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [made(seed) for seed in range(100, 400)]
    served.upsert(many)
    monkeypatch.setattr(server_search, "EXACT_UP_TO", 10)
    served._info = type(served._info)(
        **{name: getattr(served._info, name) for name in served._info.__slots__} | {"points": 300}
    )
    one = Filter(ranges=(Range(field="bytes", gte=399_000),))
    half = Filter(equals=(("orientation", "portrait"),))
    assert served.search_method(Accuracy.AUTO, one).name == "exact"
    assert served.search_method(Accuracy.APPROXIMATE, one).name == "exact"
    assert served.search_method(Accuracy.AUTO, half).name == "approximate"
    assert served.search_method(Accuracy.AUTO).name == "approximate"
    served.delete([each.id for each in many])


def test_a_run_fills_in_the_orientation_that_an_earlier_version_did_not_store(
    tmp_path: Path, double: Double
) -> None:
    photograph(tmp_path / "photos" / "1.jpg", 1, (240, 320))
    index = clipindex.Index(server=Server(double.url), model=str(TINY))
    ingest(index, tmp_path / "photos")
    with open_for_change(index.place, "test") as collection:
        ((name, payload),) = collection.points.scroll()
        vector = collection.points.retrieve([name])[name].vector
        del payload["orientation"]
        collection.points.upsert([Point(name, vector, payload)])
    wanted = QueryOptions(pictures=PictureFilter(orientations=("portrait",)))
    with pytest.warns(clipindex.ClipIndexWarning, match="before clipindex kept its orientation"):
        assert names(index, wanted) == []
    index.reindex()
    assert names(index, wanted) == ["1.jpg"]
    assert index.reindex().written == 0


# --- what people write -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", "2024-01-01", "2025-01-01"),
        ("2024-02", "2024-02-01", "2024-03-01"),
        ("2024-12", "2024-12-01", "2025-01-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2024-06-12T18:30", "2024-06-12T18:30:00", "2024-06-12T18:31:00"),
        ("2024-06-12 23:59:59", "2024-06-12T23:59:59", "2024-06-13"),
    ],
)
def test_a_date_is_the_time_that_it_names(text: str, start: str, end: str) -> None:
    assert span(text) == (start, end)


@given(st.one_of(st.text(max_size=20), st.from_regex(r"\d{4}-\d\d-\d\d", fullmatch=True)))
def test_any_text_is_a_date_or_a_usage_error(text: str) -> None:
    try:
        start, end = span(text)
    except UsageError:
        return
    assert start < end


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (filter_texts.date, ["", "20", "2024-13", "2024-02-30", "yesterday", "9999"]),
        (filter_texts.place, ["", "1", "91,0", "0,181", "nan,0", "a,b", "1,2,3"]),
        (filter_texts.metres, ["", "10", "0km", "-1km", "10 miles"]),
        (filter_texts.formats, ["", "doc", "image/jpeg"]),
        (filter_texts.size, ["", "x", "10x", "-5MB", "5TB"]),
        (filter_texts.condition, ["", "owner", "=1", "a b=1", "price<", "price!=1"]),
    ],
)
def test_what_is_no_value_is_a_usage_error(
    parse: Callable[[str], object], texts: list[str]
) -> None:
    for text in texts:
        with pytest.raises(UsageError):
            parse(text)


def test_values_are_read_as_people_write_them() -> None:
    assert filter_texts.metres("1.5km") == 1500
    assert filter_texts.size("2MB") == {"min_bytes": 2_000_000}
    assert filter_texts.size("1.5 KiB") == {"min_bytes": 1536}
    assert filter_texts.size("1920x1080") == {"min_width": 1920, "min_height": 1080}
    assert filter_texts.formats("jpg") == filter_texts.formats(".JPEG") == ("JPEG",)
    assert "NEF" in filter_texts.formats("raw")
    assert filter_texts.condition("price<=50") == Condition("price", "<=", "50")
    assert filter_texts.condition("a=b<c") == Condition("a", "=", "b<c")


# --- a query ---------------------------------------------------------------------------------


def photograph(path: Path, seed: int, size: tuple[int, int], **exif: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    block = Image.Exif()
    if "camera" in exif:
        block[0x0110] = exif["camera"]
    if "taken" in exif:
        block.get_ifd(0x8769)[0x9003] = exif["taken"]
    if "place" in exif:
        gps = block.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "N", (exif["place"][0], 0.0, 0.0), "E", (2.35, 0.0, 0.0)
    Image.fromarray(pixels).save(path, exif=block)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> clipindex.Index:
    """Five pictures, a copy among them."""
    folder = tmp_path_factory.mktemp("library")
    pictures = folder / "pictures"
    photograph(pictures / "a" / "1.jpg", 1, (320, 240), camera="Canon EOS R5",
               taken="2024:06:30 23:59:59", place=(48.85,))  # fmt: skip
    photograph(pictures / "a" / "2.jpg", 2, (240, 320), camera="iPhone 13",
               taken="2024:07:01 00:00:00", place=(52.5,))  # fmt: skip
    photograph(pictures / "b" / "3.png", 3, (300, 300))
    photograph(pictures / "b" / "4.jpg", 4, (320, 240), camera="Canon EOS R6",
               taken="2019:01:01 08:00:00")  # fmt: skip
    (pictures / "c").mkdir()
    (pictures / "c" / "copy.jpg").write_bytes((pictures / "a" / "1.jpg").read_bytes())
    index = clipindex.Index(folder / "store", model=str(TINY))
    ingest(index, pictures)
    index.tag({"owner": "ann"}, [pictures / "a"])
    index.tag({"owner": "bob"}, [pictures / "b"])
    return index


def names(index: clipindex.Index, options: QueryOptions, terms: str = "a cat") -> list[str]:
    return sorted(Path(hit.path).name for hit in index.query(terms, options))


def pictures_of(index: clipindex.Index) -> Path:
    return Path(index.status().roots[0])


@pytest.mark.parametrize(
    ("wanted", "expected", "note"),
    [
        (PictureFilter(since="2024-06-01", before="2024-07-01"), ["1.jpg"], "1 picture without a"),
        (PictureFilter(cameras=("canon",)), ["1.jpg", "4.jpg"], "1 picture without a known camera"),
        (PictureFilter(near=(48.9, 2.3, 10e3)), ["1.jpg"], "2 pictures without a place are left"),
        (PictureFilter(orientations=("square", "portrait")), ["2.jpg", "3.png"], None),
        (PictureFilter(formats=("PNG",)), ["3.png"], None),
        (PictureFilter(min_width=301), ["1.jpg", "4.jpg"], None),
        (PictureFilter(where=(Condition("owner", "=", "ann"), Condition("owner", "=", "bob"))),
         ["1.jpg", "2.jpg", "3.png", "4.jpg"], None),
        (PictureFilter(where_not=(Condition("owner", "=", "ann"),)), ["3.png", "4.jpg", "copy.jpg"],
         None),
        (PictureFilter(where=(Condition("ownr", "=", "ann"),)), [], "did you mean 'owner'"),
        (PictureFilter(where=(Condition("owner", "=", "an"),)), [], "did you mean 'ann'"),
        (PictureFilter(where=(Condition("price", "<", "5"),)), [], "there are: owner"),
    ],
)  # fmt: skip
def test_a_query_keeps_what_was_asked_and_tells_what_it_left_out(
    library: clipindex.Index, wanted: PictureFilter, expected: list[str], note: str | None
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = names(library, QueryOptions(pictures=wanted))
    assert found == expected
    said = [str(warning.message) for warning in caught]
    assert len(said) == (note is not None)
    assert note is None or note in said[0]


def test_an_unknown_camera_is_named_with_those_that_there_are(library: clipindex.Index) -> None:
    with pytest.raises(UsageError, match="called 'leica'") as caught:
        library.query("a cat", QueryOptions(pictures=PictureFilter(cameras=("leica",))))
    assert "iPhone 13" in caught.value.hint


def test_several_folders_are_any_of_them(library: clipindex.Index) -> None:
    folder = pictures_of(library)
    under = (folder / "b", folder / "c")
    assert names(library, QueryOptions(under=under)) == ["3.png", "4.jpg", "copy.jpg"]
    with pytest.raises(UsageError, match="nothing is indexed below"):
        library.query("a cat", QueryOptions(under=(folder / "x", folder / "y")))


def test_hits_are_shown_in_the_order_asked_for(library: clipindex.Index) -> None:
    hits = library.query("a cat", QueryOptions(sort=Sort.TAKEN))
    assert [hit.taken for hit in hits][:3] == sorted(hit.taken or "" for hit in hits[:3])
    assert hits[-1].taken is None
    assert sorted(hit.rank for hit in hits) == [1, 2, 3, 4]
    by_path = library.query("a cat", QueryOptions(sort=Sort.PATH))
    assert [hit.path for hit in by_path] == sorted(hit.path for hit in by_path)


def test_the_picture_itself_can_be_left_out_and_each_copy_shown(library: clipindex.Index) -> None:
    own = str(pictures_of(library) / "a" / "1.jpg")
    assert names(library, QueryOptions(exclude_self=True), own) == ["2.jpg", "3.png", "4.jpg"]
    apart = library.query(own, QueryOptions(copies=True, limit=3))
    assert [Path(hit.path).name for hit in apart[:2]] == ["1.jpg", "copy.jpg"]
    assert {hit.score for hit in apart[:2]} == {1.0}
    assert len(apart) == 3


def test_tags_lists_keys_and_values_with_counts(library: clipindex.Index) -> None:
    listed = [(tag.key, tag.value, tag.count) for tag in library.tags()]
    assert listed == [("owner", "ann", 2), ("owner", "bob", 2)]
    with pytest.raises(UsageError) as caught:
        library.tags(["ownr"])
    assert "owner" in caught.value.hint


def test_the_command_line_takes_every_filter(library: clipindex.Index) -> None:
    store = library.place.name
    options = {
        "--taken": "2024-06",
        "--after": "2024",
        "--before": "2025",
        "--camera": "canon",
        "--near": "48.85,2.35",
        "--within": "5km",
        "--type": "jpeg",
        "--min-size": "1kB",
        "--orientation": "landscape",
        "--where": "owner=ann",
        "--where-not": "owner=bob",
        "--sort": "taken",
    }
    given = [word for pair in options.items() for word in pair]
    done = run_clipindex("query", "a cat", "--store", store, "--json", "--model", TINY, *given)
    assert [Path(str(line["path"])).name for line in done.lines] == ["1.jpg"]
    listed = run_clipindex("tags", "--store", store, "--json")
    assert json.loads(listed.out.splitlines()[0]) == {
        "type": "tag", "key": "owner", "value": "ann", "count": 2, "metadata": False,
    }  # fmt: skip


# --- through the holder of a collection ------------------------------------------------------


@given(
    st.builds(
        Filter,
        ranges=st.tuples(st.builds(Range, field=st.just("bytes"), gte=st.floats(0, 9))),
        beyond=st.tuples(st.builds(Range, field=st.just("taken"), lt=st.text(min_size=1))),
        near=st.tuples(st.builds(Near, st.just("location"), *[st.floats(-9, 9)] * 3)),
        absent=st.tuples(st.text()),
        equals=st.tuples(st.tuples(st.text(), st.booleans())),
    )
)
def test_every_condition_arrives_as_it_was_sent(only: Filter) -> None:
    assert wire.filter_from(json.loads(json.dumps(wire.filter_to(only)))) == only


def test_a_holder_that_does_not_know_a_filter_is_not_asked(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_for_change(indexed.place, "ingest"):
        lock = indexed.place.lock
        greet = asking._greet
        monkeypatch.setattr(
            asking, "_greet", lambda *given: {**greet(*given), "can": [], "clipindex": "0.2.0"}
        )
        with closing(AskedPoints(lock, holder_of(lock))) as asked:
            assert asked.count(Filter(equals=(("format", "JPEG"),))) > 0
            with pytest.raises(NoAnswer, match=r"clipindex 0\.2\.0, which knows no such filter"):
                asked.count(Filter(absent=("taken",)))
        monkeypatch.undo()
        with closing(AskedPoints(lock, holder_of(lock))) as asked:
            assert asked.count(Filter(absent=("taken",))) == asked.count()
            assert asked.labels() == {}
            assert set(asked.values("format")) == {"JPEG"}
