"""A server that forbids or lacks something: it is not asked for it, and there is another way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex.errors import ContractMismatch, DiskFull, StoreError, VerificationFailed
from clipindex.search.query import QueryOptions, search
from clipindex.search.terms import Query
from clipindex.stores import connection, server, server_bulk, server_search
from clipindex.stores.address import Server
from clipindex.stores.connection import WRITING, Connection, RetryPolicy
from clipindex.stores.filter import Filter
from clipindex.stores.points import Point
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import create
from clipindex.stores.server_limits import limits_of
from clipindex.stores.verified import write_verified
from conftest import TINY, ingest, make_pictures, run_clipindex
from qdrant_double import Cluster, Double, Request
from test_server import is_upsert, on, upserts
from test_stores import FILTERS, lets_through, point


class Stale(Double):
    """A double that finds no point in the next `stale` readings."""

    stale = 0

    def answer(self, request: Request) -> object:
        if self.stale and request.method == "POST" and request.route[2:] == ["points"]:
            self.stale -= 1
            return []
        return super().answer(request)


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stale]:
    """A server on this machine that knows strict mode, and a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    with Stale(tmp_path / "qdrant") as running:
        running.strict = {"enabled": True}
        yield running


def opened(double: Double) -> ServerPoints:
    """A collection of vectors of 512 numbers, open for writing."""
    client = Connection(Server(double.url), WRITING)
    create(client, "photos", 512, {"of": "a test"})
    store = ServerPoints(client, "photos", 512)
    store.index_missing_fields()
    return store


def limit(double: Double, **limits: object) -> None:
    assert double.strict is not None
    double.strict.update(limits)


def config(double: Double, name: str = "image_embeddings") -> dict[str, Any]:
    return double.shards[name].config


def asked(double: Double) -> list[dict[str, Any]]:
    """The parameters of every search."""
    return [request.body.get("params") for request in double.requests("/query/groups")]


# --- exact or approximate --------------------------------------------------------------------


def test_a_server_is_searched_exactly_up_to_a_number_of_points_and_then_by_its_graph(
    strict: Stale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 5)
    index = on(strict)
    ingest(index, tmp_path / "photos")
    assert {(hit.search, hit.ef) for hit in index.query("a dog")} == {("exact", None)}
    assert asked(strict)[-1]["exact"] is True
    assert (index.status().search, index.status().ef) == ("exact", None)
    monkeypatch.setattr(server_search, "EXACT_UP_TO", 4)
    assert {(hit.search, hit.ef) for hit in index.query("a dog")} == {("approximate", 1024)}
    assert asked(strict)[-1] == {"hnsw_ef": 1024}
    assert (index.status().search, index.status().ef) == ("approximate", 1024)
    exact = index.query("a dog", QueryOptions(accuracy=Accuracy.EXACT))
    assert {hit.search for hit in exact} == {"exact"}
    env = {"CLIPINDEX_URL": strict.url, "CLIPINDEX_SOURCE": "here"}
    options = ("--approximate", "--json", "--model", TINY)
    (line,) = run_clipindex("query", "x", "-n1", *options, env=env).lines
    assert "search" in line, line
    assert (line["search"], line["ef"]) == ("approximate", 1024)
    both = run_clipindex("query", "x", "--approximate", "--exact", env=env)
    assert both.code == 2


def test_where_exact_search_is_forbidden_the_graph_is_asked_and_a_note_says_so(
    strict: Stale,
) -> None:
    limit(strict, search_allow_exact=False, search_max_hnsw_ef=300)
    store = opened(strict)
    store.upsert([point(seed) for seed in range(10)])
    with pytest.warns(clipindex.ClipIndexWarning, match="forbids exact search"):
        method = store.search_method(Accuracy.AUTO)
    assert method == SearchMethod(300)
    hits = store.search(point(3).vector, limit=1, method=method)
    assert hits[0].sha256 == point(3).payload["sha256"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.search_method(Accuracy.APPROXIMATE) == SearchMethod(300)
    store.close()


def test_points_are_counted_exactly_where_exact_requests_are_forbidden(strict: Stale) -> None:
    limit(strict, search_allow_exact=False, max_query_limit=3)
    store = opened(strict)
    store.upsert([point(seed) for seed in range(10)])
    assert (store.count(), store.estimate()) == (10, 10)
    assert all(request.body["with_payload"] is False for request in strict.requests("/scroll"))
    assert not strict.requests("/count")
    store.close()


@pytest.mark.parametrize("where", ["collection", "vectors"])
def test_quantised_vectors_choose_candidates_and_never_give_the_score(
    strict: Stale, where: str
) -> None:
    limit(strict, search_max_oversampling=1.5)
    opened(strict).close()
    quantised = {"scalar": {"type": "int8", "always_ram": True}}
    if where == "collection":
        config(strict, "photos")["quantization_config"] = quantised
    else:
        config(strict, "photos")["params"]["vectors"]["quantization_config"] = quantised
    store = opened(strict)
    store.upsert([point(1)])
    store.search(point(1).vector, limit=1, method=store.search_method(Accuracy.APPROXIMATE))
    assert asked(strict)[-1]["quantization"] == {"rescore": True, "oversampling": 1.5}
    store.search(point(1).vector, limit=1, method=EXACT)
    assert asked(strict)[-1] == {"exact": True}  # compares the vectors themselves
    store.close()


# --- filters and indexes ---------------------------------------------------------------------


def test_filters_mean_the_same_in_conditions_of_any_size(strict: Stale) -> None:
    limit(strict, condition_max_size=2, max_query_limit=5)
    store = opened(strict)
    store.index_field("tag_year")
    points = [
        point(seed, f"/{'odd' if seed % 2 else 'even'}/{seed}.jpg", tag_year=str(seed % 3))
        for seed in range(16)
    ]
    points = [
        Point(p.id, p.vector, {**p.payload, "tag_year": str(n % 3)}) for n, p in enumerate(points)
    ]
    store.upsert(points)
    two = Filter().also_among("folders", ["/odd", "/even", "/"])  # each point has two of them
    for only in (*FILTERS, two):
        matching = {each.id for each in points if lets_through(only, each)}
        assert sorted(name for name, _ in store.scroll(only)) == sorted(matching)
        hits = store.search(point(99).vector, limit=16, only=only)
        assert len(hits) == len(matching)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    store.close()


words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True).map(tuple)
several = st.lists(st.tuples(st.sampled_from("xy"), words), max_size=2).map(tuple)


@given(
    st.builds(Filter, among=several, outside=several),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from("xy"), st.lists(st.sampled_from("abcdefg"), max_size=3)),
)
def test_the_parts_of_a_filter_match_what_it_matches_and_none_is_too_long(
    only: Filter, most: int, payload: dict[str, object]
) -> None:
    one = Point(point(1).id, point(1).vector, payload)
    parts = only.parts(most)
    assert any(lets_through(part, one) for part in parts) == lets_through(only, one)
    longest = (len(v) for part in parts for _, v in (*part.among, *part.outside))
    assert max(longest, default=0) <= most


def test_a_tag_that_no_picture_has_is_no_error_on_a_strict_server(
    strict: Stale, tmp_path: Path
) -> None:
    limit(strict, unindexed_filtering_retrieve=False)
    make_pictures(tmp_path / "photos", 3)
    index = on(strict)
    ingest(index, tmp_path / "photos")
    assert index.query("x", QueryOptions(where=(("never", "set"),))) == []
    assert len(index.query("x", QueryOptions(where_not=(("never", "set"),)))) == 3


@pytest.mark.parametrize("unindexed", [True, False])
def test_a_tag_is_put_without_an_index_where_the_server_allows_no_more(
    strict: Stale, tmp_path: Path, unindexed: bool
) -> None:
    limit(strict, max_payload_index_count=4, unindexed_filtering_retrieve=unindexed)
    make_pictures(tmp_path / "photos", 2)
    index = on(strict)
    ingest(index, tmp_path / "photos")
    with pytest.warns(clipindex.ClipIndexWarning, match="allows 4 indexes") as warned:
        assert index.tag({"who": "ann", "year": "1"}, [tmp_path / "photos"]) == 2
    assert len(warned) == 1
    options = QueryOptions(where=(("who", "ann"),))
    if unindexed:
        assert len(index.query("x", options)) == 2
        return
    with pytest.raises(StoreError, match="lets nobody filter by tag_who") as caught:
        index.query("x", options)
    assert "max_payload_index_count" in caught.value.hint


def test_a_query_for_many_hits_keeps_to_every_limit_of_filters(strict: Stale) -> None:
    limit(strict, condition_max_size=3, filter_max_conditions=2, max_query_limit=2)
    store = opened(strict)
    store.upsert([point(seed) for seed in range(20)])
    with pytest.warns(clipindex.ClipIndexWarning, match="allows no longer filter"):
        hits = search(store, Query(point(3).vector), QueryOptions(limit=10))
    assert hits[0].path == "/photos/3.jpg"
    store.close()


# --- requests that are too large -------------------------------------------------------------


@pytest.mark.parametrize("whose", ["proxy_limit", "body_limit"])
def test_a_request_that_is_too_large_is_halved_and_the_next_ones_are_smaller(
    strict: Stale, whose: str
) -> None:
    store = opened(strict)
    setattr(strict, whose, 100_000)  # bytes of eight points
    write_verified(store, [point(seed) for seed in range(60)])
    assert store.estimate() == 60
    strict.log.clear()
    write_verified(store, [point(seed) for seed in range(60, 90)])
    assert all(0 < len(r.body["points"]) < 9 for r in strict.log if is_upsert(r))
    setattr(strict, whose, 1_000)
    with pytest.raises(StoreError, match="takes no request of this size") as caught:
        write_verified(store, [point(100)])
    assert "--batch-size" not in caught.value.hint
    store.close()


def test_a_connection_that_is_cut_twice_is_tried_with_less(strict: Stale) -> None:
    store = opened(strict)
    strict.fail("dropped", times=99, when=lambda r: is_upsert(r) and len(r.body["points"]) > 10)
    write_verified(store, [point(seed) for seed in range(40)])
    assert store.estimate() == 40
    store.close()


def test_batches_keep_to_the_points_that_a_server_takes_in_a_minute() -> None:
    rates = {"write_rate_limit": 60, "read_rate_limit": 5}
    for strict in ({**rates, "enabled": True}, rates):  # in force without strict mode
        limits = limits_of(strict)
        assert (limits.upsert, limits.retrieve) == (30, 5)  # a write is charged twice


def test_a_request_above_what_a_server_takes_in_a_minute_is_halved(strict: Stale) -> None:
    words = "Write rate limit exceeded, request larger than rate limiter capacity, please split"

    def is_over(request: Request) -> bool:
        return is_upsert(request) and len(request.body["points"]) > most

    store = opened(strict)
    strict.fail("429", value=words, times=999, when=is_over)
    most = 8
    write_verified(store, [point(seed) for seed in range(31)])
    assert store.estimate() == 31
    most = 0
    before = upserts(strict)
    with pytest.raises(StoreError, match="never takes as much in a minute") as caught:
        write_verified(store, [point(31)])
    assert upserts(strict) == before + 1  # waiting does not help
    assert "write_rate_limit" in caught.value.hint
    store.close()


# --- what is stored --------------------------------------------------------------------------


def test_half_floats_are_the_same_vector_and_another_vector_is_not(strict: Stale) -> None:
    store = opened(strict)
    for seed in range(200):
        written = point(seed)
        half = Point(
            written.id, written.vector.astype("float16").astype("float32"), written.payload
        )
        assert store.same(written, half)
    assert not store.same(point(1), Point(point(1).id, point(2).vector, point(1).payload))
    assert not store.same(point(1), Point(point(1).id, 0 * point(1).vector, point(1).payload))
    store.close()


@pytest.mark.parametrize("datatype", ["uint8", "turbo4", "of a later version"])
def test_a_datatype_that_turns_vectors_is_refused_before_anything_is_written(
    strict: Stale, tmp_path: Path, datatype: str
) -> None:
    make_pictures(tmp_path / "photos", 1)
    strict.create("mine", {"vectors": {"size": 512, "distance": "Cosine"}})
    config(strict, "mine")["params"]["vectors"]["datatype"] = datatype
    with pytest.raises(ContractMismatch, match=datatype) as caught:
        ingest(on(strict, collection="mine"), tmp_path / "photos")
    assert caught.value.exit_code == 5
    assert upserts(strict) == 0
    assert config(strict, "mine")["metadata"] is None


@pytest.mark.slow
def test_a_collection_with_settings_of_a_later_server_is_opened(
    strict: Stale, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 1)
    strict.create("mine", {"vectors": {"size": 512, "distance": "Cosine", "datatype": "float16"}})
    config(strict, "mine")["params"]["vectors"]["memory"] = "a word of 2030"
    config(strict, "mine")["hnsw_config"] = {"m": 16, "enable_hnsw": {"when": "full moon"}}
    config(strict, "mine")["quantization_config"] = {"quantum": 7}
    assert ingest(on(strict, collection="mine"), tmp_path / "photos").summary.points == 1


@pytest.mark.parametrize("stale", [1, 2, 3, 4])
def test_a_replica_that_is_behind_for_a_moment_is_asked_again(
    strict: Stale, monkeypatch: pytest.MonkeyPatch, stale: int
) -> None:
    monkeypatch.setattr(server, "REREAD_AFTER", (0.01, 0.02))
    store = opened(strict)
    strict.stale = stale
    write_verified(store, [point(1), point(2)])
    asked = [request.path for request in strict.log if "points" in request.path]
    assert sum("consistency=majority" in path for path in asked) == (stale >= 3)
    store.close()


def test_a_copy_that_is_away_does_not_keep_a_late_one_from_being_read(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REREAD_AFTER", (0.1, 1.5))
    vectors = {"size": 512, "distance": "Cosine"}
    cluster.nodes[0].create("photos", {"vectors": vectors, "replication_factor": 3})
    cluster.nodes[0].stop()
    cluster.nodes[1].staleness = 2.5
    connection = Connection(Server(cluster.nodes[1].url), RetryPolicy(5, 60.0))
    store = ServerPoints(connection, "photos", 512)
    began = time.monotonic()
    write_verified(store, [point(1)])
    assert time.monotonic() - began < 20  # the 500 of the agreed reading is not waited for
    store.close()


def test_a_point_that_stays_missing_is_blamed_on_a_replica_not_on_the_disk(
    strict: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REREAD_AFTER", (0.01, 0.02))
    store = opened(strict)
    strict.stale = 99
    with pytest.raises(VerificationFailed, match="is missing") as caught:
        write_verified(store, [point(1)])
    assert "replica" in caught.value.hint
    assert "disk" not in caught.value.hint
    store.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("507", "quota exceeded"),
        ("500", "Service internal error: No space left on device: WAL buffer size exceeds"),
        ("400", "Bad request: Disk usage is at 96% of total capacity"),
    ],
)
def test_a_full_disk_of_the_server_is_exit_9_at_once(
    strict: Stale, tmp_path: Path, kind: str, value: str
) -> None:
    make_pictures(tmp_path / "photos", 1)
    strict.fail(kind, value=value, when=is_upsert, times=99)
    with pytest.raises(DiskFull, match="has no room left") as caught:
        ingest(on(strict), tmp_path / "photos")
    assert caught.value.exit_code == 9
    assert upserts(strict) == 1


# --- what the key may not do -----------------------------------------------------------------


def patches(double: Double) -> list[Request]:
    return [request for request in double.log if request.method == "PATCH"]


def test_a_key_that_may_not_change_the_collection_loads_without_bulk_mode(
    strict: Stale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bulk, "LARGE", 2)
    make_pictures(tmp_path / "photos", 3)
    strict.fail("403", value="Global manage access is required", when=lambda r: r.method == "PATCH")
    with pytest.warns(clipindex.ClipIndexWarning, match="which takes longer") as warned:
        assert ingest(on(strict), tmp_path / "photos").summary.points == 3
    assert len(warned) == 1
    assert len(patches(strict)) == 1


def test_a_key_that_may_not_end_the_bulk_mode_of_a_killed_run_says_so_and_goes_on(
    strict: Stale,
) -> None:
    opened(strict).close()
    config(strict, "photos")["metadata"] = {"clipindex": {"graph_links": 16}}
    strict.fail("403", value="no", times=9, when=lambda r: r.method == "PATCH")
    store = opened(strict)
    with (
        pytest.warns(clipindex.ClipIndexWarning, match="index of 'photos' is off"),
        store.bulk_load(1),
    ):
        write_verified(store, [point(1)])
    store.close()


def test_a_collection_that_wants_no_graph_gets_none(
    strict: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bulk, "LARGE", 2)
    opened(strict).close()
    config(strict, "photos")["hnsw_config"].update({"m": 0, "payload_m": 16})
    store = opened(strict)
    with store.bulk_load(3):
        write_verified(store, [point(1)])
    assert config(strict, "photos")["hnsw_config"]["m"] == 0
    assert patches(strict) == []
    store.close()


def test_an_interrupted_load_does_not_wait_for_a_server_that_is_down(
    strict: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bulk, "LARGE", 2)
    monkeypatch.setattr(server_bulk, "ON_THE_WAY_OUT", RetryPolicy(1, 0.2))
    store = opened(strict)

    def interrupted() -> None:
        with closing(store), store.bulk_load(3):
            strict.fail("503", times=999)
            raise KeyboardInterrupt

    with (
        pytest.warns(clipindex.ClipIndexWarning, match="until the next run"),
        pytest.raises(KeyboardInterrupt),
    ):
        interrupted()
    strict.faults.clear()
    store = opened(strict)
    with store.bulk_load(3):
        pass
    assert config(strict, "photos")["hnsw_config"]["m"] == 16
    store.close()


def test_a_server_that_indexes_before_it_answers_is_given_the_time(
    strict: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "WRITING", RetryPolicy(1, 1.0))
    opened(strict).close()
    config(strict, "photos")["optimizer_config"]["prevent_unoptimized"] = True
    store = opened(strict)
    strict.fail("503", when=lambda request: is_upsert(request) and bool(time.sleep(1.5)))
    with pytest.warns(clipindex.ClipIndexWarning, match="waits until it is indexed"):
        write_verified(store, [point(1)])
    assert upserts(strict) == 1
    store.close()


def test_help_and_pages_name_the_numbers_that_decide() -> None:
    root = Path(__file__).parent.parent
    most = f"{server_search.EXACT_UP_TO:,}"
    page = (root / "docs" / "server.md").read_text("utf-8")
    assert most in page
    assert f"`hnsw_ef`\n{server_search.EF}" in page
    assert most in run_clipindex("query", "--help").out
