"""One suite of promises that every store keeps."""

from __future__ import annotations

import os
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models

from clipindex.errors import DiskFull, StoreError, VerificationFailed
from clipindex.files.identity import folders_of
from clipindex.search.query import QueryOptions, search
from clipindex.search.terms import Query
from clipindex.stores import connection, edge, edge_search, server
from clipindex.stores.address import Server
from clipindex.stores.connection import WRITING, Connection
from clipindex.stores.edge import EdgePoints
from clipindex.stores.filter import Filter
from clipindex.stores.points import Point, Points
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import aliases, create, describe, set_alias

Opener = Callable[[], Points]


@pytest.fixture(params=["edge", "server", "real server"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same collection again and again; a store closes what it opened before."""
    if request.param == "edge":
        yield lambda: EdgePoints(tmp_path / "collection" / "shard", 512)
        return
    address, name = address_of(request.param, request), new_name()

    def open_server() -> Points:
        opened = Connection(address, WRITING)
        create(opened, name, 512, {"of": "a test"})
        store = ServerPoints(opened, name, 512)
        store.index_missing_fields()
        return store

    yield open_server
    cleaning = Connection(address, WRITING)
    cleaning.call("cleaning up", lambda session: session.writes.delete_collection(name))
    cleaning.close()


def address_of(kind: str, request: pytest.FixtureRequest) -> Server:
    """The double's, or that of a real server where one is named."""
    if kind == "server":
        return Server(request.getfixturevalue("double").url)
    url = os.environ.get("CLIPINDEX_TEST_QDRANT_URL", "")
    if not url:
        pytest.skip("CLIPINDEX_TEST_QDRANT_URL is not set")
    # A busy server may be slow: the note of that is a warning, which is an error in these tests.
    request.getfixturevalue("monkeypatch").setattr(connection, "SILENT_FOR", 60.0)
    return Server(url, os.environ.get("CLIPINDEX_TEST_QDRANT_KEY", ""))


def new_name() -> str:
    return f"clipindex-test-{uuid.uuid4().hex}"


@pytest.fixture
def store(reopen: Opener) -> Iterator[Points]:
    opened = reopen()
    yield opened
    opened.close()


def point(seed: int, path: str = "", **payload: object) -> Point:
    vector = np.random.default_rng(seed).standard_normal(512)
    vector /= np.linalg.norm(vector)
    path = path or f"/photos/{seed}.jpg"
    fields: dict[str, object] = {
        "source": "local",
        "path": path,
        "folders": [folder.decode() for folder in folders_of(path.encode())],
        "sha256": f"{seed:064x}",
        "mtime_ns": 1_700_000_000_123_456_789 + seed,
        "width": 640,
        "height": 480,
        "location": {"lat": 47.5, "lon": -8.25},
        **payload,
    }
    return Point(uuid.UUID(int=seed + 1), vector.astype(np.float32), fields)


def test_what_goes_in_comes_back_the_same_and_nothing_else_does(store: Points) -> None:
    points = [point(seed) for seed in range(25)]
    store.upsert(points)
    store.flush()
    found = store.retrieve([each.id for each in points])
    for each in points:
        assert store.same(each, found[each.id])
        assert not store.same(replace(each, vector=point(99).vector), found[each.id])
        assert not store.same(replace(each, payload={**each.payload, "width": 1}), found[each.id])


def test_points_are_there_after_closing_and_opening(reopen: Opener) -> None:
    store = reopen()
    store.upsert([point(1), point(2)])
    store.flush()
    store.close()
    again = reopen()
    assert (again.count(), again.estimate()) == (2, 2)
    again.close()


def test_an_upsert_replaces_the_point_with_the_same_id(store: Points) -> None:
    store.upsert([point(1)])
    changed = Point(point(1).id, point(2).vector, {"sha256": "x"})
    store.upsert([changed])
    store.flush()
    assert store.count() == 1
    assert store.retrieve([changed.id])[changed.id].payload == {"sha256": "x"}


def test_the_nearest_come_first_with_their_cosine(store: Points) -> None:
    points = [point(seed) for seed in range(50)]
    store.upsert(points)
    store.flush()
    query = points[7].vector
    hits = store.search(query, limit=5)
    expected = sorted((float(each.vector @ query) for each in points), reverse=True)[:5]
    assert hits[0].sha256 == points[7].payload["sha256"]
    assert np.allclose([hit.score for hit in hits], expected, atol=1e-6)
    assert store.search(query, limit=3) == hits[:3]
    assert store.search(query, limit=0) == []


def test_filters_match_exact_values_and_members_of_lists(store: Points) -> None:
    inside, namesake = point(1, "/a/1.jpg"), point(2, "/ab/2.jpg")
    store.upsert([inside, namesake])
    store.flush()
    only = Filter(equals=(("folders", "/a"),))
    assert [id for id, _ in store.scroll(only)] == [inside.id]
    hits = store.search(namesake.vector, limit=9, only=only)
    assert [hit.sha256 for hit in hits] == [inside.payload["sha256"]]
    both = Filter(equals=(("folders", "/"), ("sha256", str(namesake.payload["sha256"]))))
    assert [id for id, _ in store.scroll(both)] == [namesake.id]
    among = Filter().also_among("path", ["/a/1.jpg", "/nowhere.jpg"])
    assert [id for id, _ in store.scroll(among)] == [inside.id]
    assert list(store.scroll(among.also(("folders", "/ab")))) == []
    outside = Filter().also_outside("path", ["/a/1.jpg", "/nowhere.jpg"])
    assert [id for id, _ in store.scroll(outside)] == [namesake.id]


FILTERS = [
    Filter(),
    Filter(equals=(("folders", "/odd"),)),
    Filter(equals=(("folders", "/even"), ("tag_year", "1"))),
    Filter(differs=(("tag_year", "0"),)),
    Filter(equals=(("folders", "/odd"),), differs=(("tag_year", "0"), ("tag_year", "1"))),
    Filter().also_among("sha256", [f"{seed:064x}" for seed in range(3, 12)]),
    Filter().also_outside("sha256", [f"{seed:064x}" for seed in range(4)]),
    Filter(equals=(("folders", "/nowhere"),)),
]


def test_copies_count_as_one_however_many_there_are_and_whatever_the_filter(
    store: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_search, "FOLDED_AT_ONCE", 3)
    points = []
    for seed in range(16):
        for copy in range(2 ** (seed % 8)):  # of some pictures one, of others 128
            path = f"/{'odd' if copy % 2 else 'even'}/{seed}-{copy}.jpg"
            made = point(seed, path, tag_year=str(seed % 3))
            points.append(replace(made, id=uuid.UUID(int=1000 * (seed + 1) + copy)))
    store.index_field("tag_year")
    store.upsert(points)
    store.flush()
    query = point(99).vector
    for only in FILTERS:
        scores = {
            str(each.payload["sha256"]): float(each.vector @ query)
            for each in points
            if lets_through(only, each)
        }
        best = sorted(scores.items(), key=lambda found: -found[1])
        for limit in (1, 5, 10, 16, 50):
            hits = store.search(query, limit=limit, only=only)
            assert [hit.sha256 for hit in hits] == [sha256 for sha256, _ in best[:limit]], only
            assert np.allclose([hit.score for hit in hits], [s for _, s in best[:limit]], atol=1e-6)


@pytest.mark.parametrize("copies", range(1, 8))
def test_no_picture_is_lost_behind_the_copies_of_a_better_one(
    store: Points, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    monkeypatch.setattr(edge_search, "FOLDED_AT_ONCE", 3)
    vectors = [point(1).vector + 0.1 * number * point(2).vector for number in range(6)]
    order = [replace(point(n + 3), vector=v / np.linalg.norm(v)) for n, v in enumerate(vectors)]
    store.upsert([*order, *(replace(order[0], id=uuid.uuid4()) for _ in range(copies))])
    store.flush()
    hits = store.search(point(1).vector, limit=4)
    assert [hit.sha256 for hit in hits] == [each.payload["sha256"] for each in order[:4]]


def test_of_equal_scores_at_the_limit_the_first_path_wins(store: Points) -> None:
    vector = point(1).vector
    alike = [replace(point(seed, f"/{seed}.jpg"), vector=vector) for seed in range(19, 9, -1)]
    store.upsert([point(2), *alike])
    store.flush()
    hits = search(store, Query(vector), QueryOptions(limit=3))
    assert [hit.path for hit in hits] == ["/10.jpg", "/11.jpg", "/12.jpg"]
    assert {hit.score for hit in hits} == {1.0}


names = st.text(string.ascii_lowercase, min_size=1, max_size=5)
pairs = st.lists(st.tuples(names, st.text(max_size=5)), max_size=3).map(tuple)
several = st.lists(
    st.tuples(names, st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple)), max_size=3
).map(tuple)


@settings(deadline=None)
@given(st.builds(Filter, equals=pairs, differs=pairs, among=several, outside=several))
def test_a_filter_is_what_qdrants_own_client_would_send(only: Filter) -> None:
    sent = only.conditions()
    if sent is not None:
        assert (
            models.Filter.model_validate(sent).model_dump(mode="json", exclude_unset=True) == sent
        )


def lets_through(only: Filter, point: Point) -> bool:
    """What a filter means, said once more without any engine."""

    def values(field: str) -> set[object]:
        value = point.payload.get(field)
        return set(value) if isinstance(value, list) else {value}

    return (
        all(value in values(field) for field, value in only.equals)
        and not any(value in values(field) for field, value in only.differs)
        and all(values(field) & set(several) for field, several in only.among)
        and not any(values(field) & set(several) for field, several in only.outside)
    )


def test_scrolling_meets_every_point_once_over_many_pages(
    store: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "PAGE", 7)
    monkeypatch.setattr(server, "PAGE", 7)
    points = [point(seed) for seed in range(40)]
    store.upsert(points)
    store.flush()
    in_order = sorted(each.id for each in points)
    assert [id for id, _ in store.scroll()] == in_order
    assert [id for id, _ in store.scroll(start=in_order[3])] == in_order[3:]


def test_deleted_points_are_gone_and_unknown_ones_do_not_matter(store: Points) -> None:
    store.upsert([point(1), point(2)])
    store.delete([point(1).id, uuid.uuid4()])
    store.flush()
    assert store.count() == 1
    assert store.retrieve([point(1).id]) == {}


@pytest.mark.parametrize("broken", ["nan", "inf", "zero", "long", "short"])
def test_a_vector_that_is_not_a_unit_vector_is_refused_and_nothing_is_written(
    store: Points, broken: str
) -> None:
    vector = point(1).vector.copy()
    wrong = {
        "nan": np.where(np.arange(512) == 3, np.nan, vector),
        "inf": np.where(np.arange(512) == 3, np.inf, vector),
        "zero": np.zeros(512),
        "long": vector * 2,
        "short": vector[:100],
    }[broken].astype(np.float32)
    with pytest.raises(VerificationFailed):
        store.upsert([point(2), Point(point(1).id, wrong, {})])
    assert store.count() == 0


def test_more_points_than_one_update_may_carry_are_written_whole(store: Points) -> None:
    points = [point(seed) for seed in range(600)]
    store.upsert(points)
    store.flush()
    assert store.count() == 600


@pytest.mark.parametrize("kind", ["server", "real server"])
def test_an_alias_is_made_moved_and_taken_away(kind: str, request: pytest.FixtureRequest) -> None:
    connection = Connection(address_of(kind, request), WRITING)
    alias, first, second = new_name(), new_name(), new_name()
    try:
        for name in (first, second):
            create(connection, name, 4, {"of": name})
        for name in (first, second, second, first):
            set_alias(connection, alias, name)
            found = describe(connection, alias)
            assert found is not None
            assert found.note == {"of": name}
        with pytest.raises(StoreError, match="409"):
            set_alias(connection, second, first)
        with pytest.raises(StoreError, match="404"):
            set_alias(connection, alias, new_name())
        assert aliases(connection)[alias] == first
        set_alias(connection, alias, None)
        assert alias not in aliases(connection)
        assert describe(connection, alias) is None
    finally:
        for name in (first, second):
            connection.call(
                "cleaning up", lambda session, name=name: session.writes.delete_collection(name)
            )
        connection.close()


def test_a_shard_left_half_made_by_a_kill_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "shard" / "wal").mkdir(parents=True)
    store = EdgePoints(tmp_path / "shard", 512)
    store.upsert([point(1)])
    store.close()
    again = EdgePoints(tmp_path / "shard", 512)
    assert again.count() == 1
    again.close()


def test_the_embedded_engine_keeps_vectors_bit_for_bit(tmp_path: Path) -> None:
    store = EdgePoints(tmp_path / "shard", 512)
    store.upsert([point(1)])
    assert np.array_equal(store.retrieve([point(1).id])[point(1).id].vector, point(1).vector)
    nudged = np.nextafter(point(1).vector, np.float32(1))
    assert not store.same(point(1), replace(point(1), vector=nudged))
    store.close()


def test_too_little_room_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EdgePoints(tmp_path / "shard", 512)
    monkeypatch.setattr(edge, "HEADROOM", 1 << 60)
    with pytest.raises(DiskFull, match="MiB are free"):
        store.upsert([point(1)])
    assert store.count() == 0
    store.close()
