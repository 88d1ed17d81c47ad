"""Collections made by hand with their own settings: on the double, and on a real Qdrant (1.17 or
newer) where CLIPINDEX_TEST_QDRANT_URL names one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import clipindex
from clipindex.errors import ContractMismatch
from clipindex.stores import server_requests as requests
from clipindex.stores.connection import WRITING, Connection
from clipindex.stores.filter import Filter
from clipindex.stores.points import Point
from clipindex.stores.search_method import Accuracy
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import create, describe
from clipindex.stores.server_search import search_params
from clipindex.stores.session import path_of
from clipindex.stores.verified import write_verified
from test_stores import FILTERS, address_of, lets_through, new_name, point

Maker = Callable[..., ServerPoints]
VECTORS = {"size": 512, "distance": "Cosine"}


@pytest.fixture(params=["server", "real server"])
def make(request: pytest.FixtureRequest) -> Iterator[Maker]:
    """Makes a collection by hand, as somebody would with curl, and opens it."""
    address = address_of(request.param, request)
    client, name = Connection(address, WRITING), new_name()

    def made(**settings: Any) -> ServerPoints:
        body = {"vectors": VECTORS, **settings}
        client.call(
            "making by hand",
            lambda session: session.writes._client.http.client.request(
                type_=dict, method="PUT", url=f"/collections/{name}", json=body
            ),
        )
        create(client, name, 512, {"of": "a test"})
        store = ServerPoints(client, name, 512)
        store.index_missing_fields()
        return ServerPoints(client, name, 512)

    yield made
    client.call("cleaning up", lambda session: session.writes.delete_collection(name))
    client.close()


def strict(**limits: object) -> dict[str, object]:
    return {"strict_mode_config": {"enabled": True, **limits}}


def test_a_collection_of_half_floats_passes_verification(make: Maker) -> None:
    store = make(vectors={**VECTORS, "datatype": "float16"})
    write_verified(store, [point(seed) for seed in range(250)])
    assert store.count() == 250


def test_a_datatype_that_turns_vectors_is_refused(make: Maker) -> None:
    with pytest.raises(ContractMismatch, match="uint8"):  # turbo4 is not yet made by 1.18
        make(vectors={**VECTORS, "datatype": "uint8"})


@pytest.mark.slow
def test_the_score_is_the_cosine_where_the_vectors_are_quantised(make: Maker) -> None:
    store = make(
        quantization_config={"scalar": {"type": "int8", "always_ram": True}},
        optimizers_config={"indexing_threshold": 100},
    )
    points = [point(seed) for seed in range(2_000)]
    for start in range(0, len(points), 250):
        write_verified(store, points[start : start + 250])
    settle(store)
    vectors = np.stack([each.vector for each in points]).astype(np.float64)

    def error(seed: int, params: dict[str, object]) -> float:
        query = point(seed).vector
        groups = partial(requests.groups, store._collection, query, 10, Filter(), params)
        return max(
            abs(score - float(vectors[int(content, 16)] @ query))
            for content, score in store._connection.call("searching", groups)
        )

    method = store.search_method(Accuracy.APPROXIMATE)
    asked = search_params(store._info, method)
    assert max(error(seed, asked) for seed in range(5_000, 5_010)) < 2e-6
    plain = {"hnsw_ef": method.ef}  # what this is about
    assert max(error(seed, plain) for seed in range(5_000, 5_010)) > 1e-5


def settle(store: ServerPoints) -> None:
    """Wait until the optimizer has built what it builds."""
    client, name = store._connection, store._collection
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = client.call(
            "looking",
            lambda session: session.get(path_of(name)),
        )
        store.search(point(1).vector, limit=1)  # the double's optimizer runs before a search
        result = answer["result"]
        if result["status"] == "green" and result["indexed_vectors_count"] > 1_000:
            return
        time.sleep(0.3)
    pytest.fail("the optimizer does not end")


def test_a_strict_server_without_exact_search_counts_and_finds(make: Maker) -> None:
    store = make(**strict(search_allow_exact=False, max_query_limit=7, search_max_hnsw_ef=200))
    write_verified(store, [point(seed) for seed in range(40)])
    assert (store.count(), store.estimate()) == (40, 40)
    with pytest.warns(clipindex.ClipIndexWarning, match="forbids exact search"):
        method = store.search_method(Accuracy.EXACT)
    hits = store.search(point(3).vector, limit=20, method=method)
    assert hits[0].sha256 == point(3).payload["sha256"]
    assert len(hits) == 20


def test_filters_mean_the_same_whatever_a_strict_server_allows(make: Maker) -> None:
    store = make(
        **strict(condition_max_size=2, max_query_limit=5, unindexed_filtering_retrieve=False)
    )
    store.index_field("tag_year")
    points = [
        point(seed, f"/{'odd' if seed % 2 else 'even'}/{seed}.jpg", tag_year=str(seed % 3))
        for seed in range(16)
    ]
    write_verified(store, points)
    unknown = (Filter(equals=(("tag_no", "x"),)), Filter(differs=(("tag_no", "x"),)))
    for only in (*FILTERS, Filter().also_among("folders", ["/odd", "/even", "/"]), *unknown):
        matching = sorted(each.id for each in points if lets_through(only, each))
        assert sorted(name for name, _ in store.scroll(only)) == matching
        assert len(store.search(point(99).vector, limit=16, only=only)) == len(matching)


def test_a_strict_server_that_allows_no_further_index_takes_tags(make: Maker) -> None:
    store = make(**strict(max_payload_index_count=4))
    with pytest.warns(clipindex.ClipIndexWarning, match="allows 4 indexes"):
        store.index_field("tag_who")
    write_verified(store, [point(1, tag_who="ann"), point(2)])
    assert len(list(store.scroll(Filter(equals=(("tag_who", "ann"),))))) == 1


def test_a_body_above_what_the_server_takes_is_halved(make: Maker) -> None:
    store = make()
    large = [
        Point(each.id, each.vector, {**each.payload, "tag_text": "x" * 1_000_000})
        for each in (point(seed) for seed in range(40))
    ]
    store.upsert(large)
    assert store.count() == 40


def test_a_server_that_hides_what_is_not_indexed_yet_gives_it_back_in_time(make: Maker) -> None:
    store = make(optimizers_config={"indexing_threshold": 200, "prevent_unoptimized": True})
    with pytest.warns(clipindex.ClipIndexWarning, match="waits until it is indexed"):
        write_verified(store, [point(seed) for seed in range(250)])
    for start in range(250, 1_000, 250):
        write_verified(store, [point(seed) for seed in range(start, start + 250)])
    assert store.count() == 1_000


def test_a_description_says_what_decides(make: Maker) -> None:
    store = make(
        vectors={**VECTORS, "on_disk": True, "quantization_config": {"binary": {}}},
        hnsw_config={"m": 0, "payload_m": 8},
    )
    info = describe(store._connection, store._collection)
    assert info is not None
    assert (info.graph_links, info.is_quantised, info.datatype) == (0, True, "float32")
    assert info.note == {"of": "a test"}
