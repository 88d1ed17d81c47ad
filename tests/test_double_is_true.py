"""The double answers as a Qdrant server does: the same requests, the same status, shape and words.

Each promise is kept by the double always, and by a real server where CLIPINDEX_TEST_QDRANT_URL
names one (seen: 1.18.3). Roles need a key, in CLIPINDEX_TEST_QDRANT_KEY, and jwt_rbac.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from qdrant_double import Double, token

Json = dict[str, Any]
SIZE = 8
KINDS = ["double", "real server"]


@dataclass
class Answer:
    """What came back."""

    status: int
    text: str
    headers: httpx.Headers

    @property
    def result(self) -> Any:
        assert self.status == 200, self.text
        return json.loads(self.text)["result"]

    @property
    def error(self) -> str:
        """The words of an error that is JSON."""
        return str(json.loads(self.text)["status"]["error"])


@dataclass
class Server:
    """A server to ask, and a name for a collection of the test's own."""

    client: httpx.Client
    key: str
    collection: str = field(default_factory=lambda: f"clipindex-test-{uuid.uuid4().hex}")

    @property
    def path(self) -> str:
        return f"/collections/{self.collection}"

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        headers = {"api-key": self.key if key is None else key}
        if isinstance(body, bytes):
            headers["content-type"] = "application/json"
            answer = self.client.request(method, path, content=body, headers=headers)
        else:
            answer = self.client.request(method, path, json=body, headers=headers)
        return Answer(answer.status_code, answer.text, answer.headers)

    def on(self, operation: str, body: Any, method: str = "POST") -> Answer:
        """A request about the collection's points or index."""
        return self.ask(method, f"{self.path}/{operation}", body)

    def create(self, **settings: Any) -> None:
        vectors = {"size": SIZE, "distance": "Cosine", **settings.pop("vectors", {})}
        assert self.ask("PUT", self.path, {"vectors": vectors, **settings}).result is True

    def fill(self, count: int, first: int = 0) -> list[Json]:
        points = made(count, first)
        assert self.on("points?wait=true", {"points": points}, "PUT").status == 200
        return points

    def patch(self, **settings: Any) -> Answer:
        return self.ask("PATCH", self.path, settings)


def made(count: int, first: int = 0) -> list[Json]:
    """Points with unit vectors; two and two have one sha256."""
    vectors = np.random.default_rng(first).standard_normal((count, SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        {
            "id": str(uuid.UUID(int=number + 1)),
            "vector": vector.tolist(),
            "payload": {"sha256": f"{number // 2:02d}", "path": f"/{number}.jpg"},
        }
        for number, vector in enumerate(vectors, first)
    ]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The double, or a real server where one is named; its collection is deleted at the end."""
    if request.param == "double":
        url, key = request.getfixturevalue("double").url, ""
    else:
        url = os.environ.get("CLIPINDEX_TEST_QDRANT_URL", "")
        key = os.environ.get("CLIPINDEX_TEST_QDRANT_KEY", "")
        if not url:
            pytest.skip("CLIPINDEX_TEST_QDRANT_URL is not set")
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        asked = Server(client, key)
        yield asked
        asked.ask("DELETE", asked.path)


def shape(value: Any) -> Any:
    """Names and types, without the values."""
    if isinstance(value, dict):
        return {name: shape(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [shape(inside) for inside in value[:1]]
    return type(value).__name__


# --- what is not even tried ------------------------------------------------------------------


def test_an_unknown_route_is_an_empty_404(server: Server) -> None:
    for method, path in (("GET", "/nowhere"), ("POST", f"{server.path}/points/nothing")):
        answer = server.ask(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.text) == (404, "")


def test_slashes_at_the_end_do_not_count(server: Server) -> None:
    assert "aliases" in server.ask("GET", "/aliases/").result


def test_an_unknown_collection_is_a_404_in_json(server: Server) -> None:
    words = f"Not found: Collection `{server.collection}` doesn't exist!"
    for answer in (
        server.ask("GET", server.path),
        server.patch(metadata={}),
        server.on("points/scroll", {}),
        server.on("points?wait=true", {"points": made(1)}, "PUT"),
        server.on("index?wait=true", {"field_name": "a", "field_schema": "keyword"}, "PUT"),
    ):
        assert (answer.status, answer.error) == (404, words)
    assert server.ask("DELETE", server.path).result is False
    assert server.ask("GET", f"{server.path}/exists").result == {"exists": False}


@pytest.mark.parametrize(
    ("operation", "method", "body"),
    [
        ("points/scroll", "POST", b"{nope"),
        ("points/count", "POST", b""),
        ("points/scroll", "POST", {"limit": "many"}),
        ("points", "POST", {}),
        ("points/query/groups", "POST", {"query": [1.0]}),
        ("points", "PUT", {"points": [{"id": 1}]}),
        ("points", "PUT", {"points": [{"id": "no uuid", "vector": [1.0] * SIZE}]}),
        ("points/delete", "POST", {}),
        ("index", "PUT", {}),
    ],
)
def test_a_body_that_cannot_be_read_is_a_400(
    server: Server, operation: str, method: str, body: Any
) -> None:
    server.create()
    answer = server.on(operation, body, method)
    assert answer.status == 400
    assert answer.error.startswith("Format error in JSON body: ")


def test_a_value_out_of_range_is_a_422(server: Server) -> None:
    server.create()
    one = "value 0 invalid, must be 1 or larger"
    answer = server.on("points/scroll", {"limit": 0})
    words = f"Validation error in JSON body: [scroll_request.limit: {one}]"
    assert (answer.status, answer.error) == (422, words)
    asked = {"query": [1.0] * SIZE, "group_by": "sha256", "limit": 0, "group_size": 1}
    assert server.on("points/query/groups", asked).status == 422
    body = {"vectors": {"size": 0, "distance": "Cosine"}}
    assert server.ask("PUT", f"{server.path}-x", body).status in (400, 422)


@pytest.mark.parametrize("name", ["n" * 256, "no*star", "no%2Fslash"])
def test_a_name_that_no_file_may_have_is_a_422(server: Server, name: str) -> None:
    body = {"vectors": {"size": SIZE, "distance": "Cosine"}}
    answer = server.ask("PUT", f"/collections/{name}", body)
    assert answer.status == 422
    assert answer.error.startswith("Validation error in path parameters: [collection_name: ")


# --- collections -----------------------------------------------------------------------------

SHAPE: Json = {
    "status": "str",
    "optimizer_status": "str",
    "indexed_vectors_count": "int",
    "points_count": "int",
    "segments_count": "int",
    "config": {
        "params": {
            "vectors": {"size": "int", "distance": "str"},
            "shard_number": "int",
            "replication_factor": "int",
            "write_consistency_factor": "int",
            "on_disk_payload": "bool",
        },
        "hnsw_config": {
            "m": "int",
            "ef_construct": "int",
            "full_scan_threshold": "int",
            "max_indexing_threads": "int",
            "on_disk": "bool",
        },
        "optimizer_config": {
            "deleted_threshold": "float",
            "vacuum_min_vector_number": "int",
            "default_segment_number": "int",
            "max_segment_size": "NoneType",
            "memmap_threshold": "NoneType",
            "indexing_threshold": "int",
            "flush_interval_sec": "int",
            "max_optimization_threads": "NoneType",
            "prevent_unoptimized": "NoneType",
        },
        "wal_config": {
            "wal_capacity_mb": "int",
            "wal_segments_ahead": "int",
            "wal_retain_closed": "int",
        },
        "quantization_config": "NoneType",
        "metadata": {"of": "str"},
    },
    "payload_schema": {"sha256": {"data_type": "str", "points": "int"}},
    "update_queue": {"length": "int"},
}


def test_a_collection_is_described_in_one_shape(server: Server) -> None:
    server.create(metadata={"of": "a test"})
    server.on("index?wait=true", {"field_name": "sha256", "field_schema": "keyword"}, "PUT")
    server.fill(3)
    info = server.ask("GET", server.path).result
    info.pop("warnings", None)
    strict = info["config"].pop("strict_mode_config", {"enabled": False})  # as its file says
    assert strict == {"enabled": False}
    assert shape(info) == SHAPE
    assert info["payload_schema"] == {"sha256": {"data_type": "keyword", "points": 3}}


def test_hand_made_options_come_back_as_they_were_given(server: Server) -> None:
    server.create(
        vectors={"datatype": "float16", "on_disk": True, "hnsw_config": {"m": 24}},
        hnsw_config={"m": 0, "payload_m": 12},
        optimizers_config={"indexing_threshold": 500},
        quantization_config={"scalar": {"type": "int8", "always_ram": True}},
        strict_mode_config={"enabled": True, "max_query_limit": 7},
        on_disk_payload=False,
    )
    config = server.ask("GET", server.path).result["config"]
    assert config["params"]["vectors"]["datatype"] == "float16"
    assert config["params"]["vectors"]["hnsw_config"]["m"] == 24
    assert config["params"]["on_disk_payload"] is False
    assert (config["hnsw_config"]["m"], config["hnsw_config"]["payload_m"]) == (0, 12)
    assert config["hnsw_config"]["ef_construct"] == 100
    assert config["optimizer_config"]["indexing_threshold"] == 500
    assert config["quantization_config"] == {"scalar": {"type": "int8", "always_ram": True}}
    assert config["strict_mode_config"] == {"enabled": True, "max_query_limit": 7}
    assert "metadata" not in config


def test_a_patch_of_the_metadata_merges_one_level_and_null_takes_a_key_away(
    server: Server,
) -> None:
    server.create(metadata={"a": {"x": 1}, "b": 1})
    assert server.patch(metadata={"a": {"y": 2}, "b": None, "c": 3}).result is True
    config = server.ask("GET", server.path).result["config"]
    assert config["metadata"] == {"a": {"y": 2}, "c": 3}
    assert server.patch(hnsw_config={"m": 0}, strict_mode_config={"max_query_limit": 3}).result
    config = server.ask("GET", server.path).result["config"]
    assert config["hnsw_config"]["m"] == 0
    assert config["strict_mode_config"]["max_query_limit"] == 3


def test_the_first_metadata_keeps_its_nulls(server: Server) -> None:
    server.create()
    assert server.patch(metadata={"a": None, "b": 1}).result is True
    config = server.ask("GET", server.path).result["config"]
    assert config["metadata"] == {"a": None, "b": 1}


def test_a_name_is_taken_once(server: Server) -> None:
    server.create()
    other = f"{server.collection}-alias"
    body = {"vectors": {"size": SIZE, "distance": "Cosine"}}
    answer = server.ask("PUT", server.path, body)
    words = f"Wrong input: Collection `{server.collection}` already exists!"
    assert (answer.status, answer.error) == (409, words)

    def alias(name: str, target: str) -> Answer:
        action = {"create_alias": {"alias_name": name, "collection_name": target}}
        return server.ask("POST", "/collections/aliases", {"actions": [action]})

    assert alias(other, server.collection).result is True
    answer = server.ask("PUT", f"/collections/{other}", body)
    assert answer.status == 400
    assert answer.error == (
        f"Wrong input: Can't create collection with name {other}. "
        "Alias with the same name already exists"
    )
    answer = alias(server.collection, server.collection)
    assert (answer.status, answer.error) == (409, words)
    answer = alias("x", f"{server.collection}-none")
    assert answer.status == 404
    listed = server.ask("GET", f"{server.path}/aliases").result["aliases"]
    assert listed == [{"alias_name": other, "collection_name": server.collection}]
    gone = {"actions": [{"delete_alias": {"alias_name": other}}] * 2}
    assert server.ask("POST", "/collections/aliases", gone).result is True


# --- points ----------------------------------------------------------------------------------


def test_writes_are_numbered_and_wait_decides_the_word(server: Server) -> None:
    server.create()
    first = server.on("points?wait=true", {"points": made(2)}, "PUT").result
    second = server.on("points/delete?wait=true", {"points": [made(1)[0]["id"]]}).result
    third = server.on("points", {"points": made(1)}, "PUT").result
    assert [first["status"], second["status"], third["status"]] == [
        "completed",
        "completed",
        "acknowledged",
    ]
    numbers = [first["operation_id"], second["operation_id"], third["operation_id"]]
    assert numbers == sorted(set(numbers))


def test_points_that_cannot_be_stored_are_a_400(server: Server) -> None:
    server.create()
    empty = server.on("points?wait=true", {"points": []}, "PUT")
    assert (empty.status, empty.error) == (400, "Bad request: Empty update request")
    empty = server.on("points/delete?wait=true", {"points": []})
    assert (empty.status, empty.error) == (400, "Bad request: Empty update request")
    (short,) = made(1)
    short["vector"] = short["vector"][:3]
    words = f"Wrong input: Vector dimension error: expected dim: {SIZE}, got 3"
    answer = server.on("points?wait=true", {"points": [short]}, "PUT")
    assert (answer.status, answer.error) == (400, words)
    asked = {"query": short["vector"], "limit": 1}
    answer = server.on("points/query", asked)
    assert (answer.status, answer.error) == (400, words)


def test_a_point_comes_back_with_what_was_asked_for(server: Server) -> None:
    server.create()
    points = server.fill(3)
    ids = [points[1]["id"], str(uuid.UUID(int=99)), points[0]["id"]]
    whole = server.on("points", {"ids": ids, "with_payload": True, "with_vector": True}).result
    assert sorted(record["id"] for record in whole) == sorted([ids[0], ids[2]])
    assert all(set(record) == {"id", "payload", "vector"} for record in whole)
    bare = server.on("points", {"ids": ids}).result
    assert all(set(record) == {"id"} for record in bare)
    some = server.on("points", {"ids": ids, "with_payload": ["path"]}).result
    assert all(set(record["payload"]) == {"path"} for record in some)
    page = server.on("points/scroll", {"limit": 2}).result
    assert shape(page) == {
        "points": [{"id": "str", "payload": {"sha256": "str", "path": "str"}}],
        "next_page_offset": "str",
    }
    rest = server.on("points/scroll", {"limit": 2, "offset": page["next_page_offset"]}).result
    assert len(rest["points"]) == 1
    assert rest["next_page_offset"] is None


def test_groups_are_filled_and_ordered_by_their_best_hit(server: Server) -> None:
    server.create()
    points = server.fill(20)
    odd = {**made(1, 50)[0], "payload": {"path": "/without.jpg"}}
    server.on("points?wait=true", {"points": [odd]}, "PUT")
    query = points[7]["vector"]
    scores = {p["id"]: float(np.dot(p["vector"], query)) for p in points}
    best: dict[str, float] = {}
    for each in points:
        sha256 = each["payload"]["sha256"]
        best[sha256] = max(best.get(sha256, -2.0), scores[each["id"]])
    order = sorted(best, key=lambda sha256: -best[sha256])
    for size in (1, 2):
        asked = {"query": query, "group_by": "sha256", "group_size": size, "limit": 4}
        groups = server.on("points/query/groups", asked).result["groups"]
        assert [group["id"] for group in groups] == order[:4]
        for group in groups:
            assert len(group["hits"]) == size
            assert set(group["hits"][0]) == {"id", "version", "score"}
            assert group["hits"][0]["score"] == pytest.approx(best[group["id"]], abs=1e-6)
    asked = {"query": {"nearest": query}, "group_by": "sha256", "group_size": 1, "limit": 2}
    groups = server.on("points/query/groups", {**asked, "with_payload": True}).result["groups"]
    assert all(set(g["hits"][0]) == {"id", "version", "score", "payload"} for g in groups)


def test_a_float16_collection_returns_rounded_vectors(server: Server) -> None:
    server.create(vectors={"datatype": "float16"})
    (point,) = server.fill(1)
    (record,) = server.on("points", {"ids": [point["id"]], "with_vector": True}).result
    expected = np.asarray(point["vector"], np.float32).astype(np.float16).astype(np.float32)
    assert record["vector"] == pytest.approx(expected.tolist(), abs=1e-7)


def test_a_uint8_collection_keeps_nothing_of_a_unit_vector(server: Server) -> None:
    server.create(vectors={"datatype": "uint8"})
    (point,) = server.fill(1)
    (record,) = server.on("points", {"ids": [point["id"]], "with_vector": True}).result
    assert set(record["vector"]) <= {0.0, 1.0}


# --- strict mode -----------------------------------------------------------------------------


def refusal(what: str, remedy: str) -> str:
    return f"Bad request: {what}. Help: {remedy}"


def test_strict_mode_limits_what_is_asked_for(server: Server) -> None:
    server.create(strict_mode_config={"enabled": True, "max_query_limit": 5, "max_timeout": 9})
    server.fill(8)
    words = refusal(
        'Limit exceeded 6 > 5 for "limit"', 'Reduce the "limit" parameter to or below 5.'
    )
    query = {"query": [1.0] * SIZE, "group_by": "sha256"}
    for answer in (
        server.on("points/scroll", {"limit": 6}),
        server.on("points/query", {"query": [1.0] * SIZE, "limit": 6}),
        server.on("points/query/groups", {**query, "limit": 3, "group_size": 2}),
    ):
        assert (answer.status, answer.error) == (400, words)
    assert server.on("points/query/groups", {**query, "limit": 5, "group_size": 1}).status == 200
    answer = server.on("points/scroll?timeout=10", {"limit": 1})
    assert answer.error == refusal(
        'Limit exceeded 10 > 9 for "timeout"', 'Reduce the "timeout" parameter to or below 9.'
    )


def test_strict_mode_limits_what_is_written(server: Server) -> None:
    server.create(
        strict_mode_config={
            "enabled": True,
            "upsert_max_batchsize": 4,
            "max_payload_index_count": 1,
        }
    )
    answer = server.on("points?wait=true", {"points": made(5)}, "PUT")
    words = refusal(
        'Limit exceeded 5 > 4 for "upsert limit"',
        'Reduce the "upsert limit" parameter to or below 4.',
    )
    assert (answer.status, answer.error) == (400, words)
    asked = {"field_name": "sha256", "field_schema": "keyword"}
    assert server.on("index?wait=true", asked, "PUT").status == 200
    answer = server.on("index?wait=true", {**asked, "field_name": "path"}, "PUT")
    words = refusal(
        "Collection already has the maximum number of payload indices (1)",
        "Please delete an existing index before creating a new one.",
    )
    assert (answer.status, answer.error) == (400, words)


def test_strict_mode_wants_indexes(server: Server) -> None:
    server.create(strict_mode_config={"enabled": True, "unindexed_filtering_retrieve": False})
    only = {"must": [{"key": "sha256", "match": {"value": "00"}}]}
    words = refusal(
        'Index required but not found for "sha256" of one of the following types: [keyword]',
        "Create an index for this key or use a different filter.",
    )
    query = {"query": [1.0] * SIZE, "limit": 1}
    for answer in (
        server.on("points/scroll", {"filter": only}),
        server.on("points/count", {"filter": only}),
        server.on("points/query", {**query, "filter": only}),
    ):
        assert (answer.status, answer.error) == (400, words)
    answer = server.on("points/query/groups", {**query, "group_by": "sha256", "group_size": 1})
    words = refusal(
        'Index required but not found for "sha256"',
        "Create an index supporting `match` for this key.",
    )
    assert (answer.status, answer.error) == (400, words)


def test_strict_mode_limits_filters(server: Server) -> None:
    server.create(
        strict_mode_config={"enabled": True, "filter_max_conditions": 2, "condition_max_size": 3}
    )
    single = {"key": "sha256", "match": {"value": "00"}}
    words = refusal(
        "Filter condition limit reached (3 > 2)", "Reduce the amount of conditions of your filter."
    )
    answer = server.on("points/scroll", {"filter": {"must": [single] * 3}})
    assert (answer.status, answer.error) == (400, words)
    several = {"key": "sha256", "match": {"any": ["a", "b", "c", "d"]}}
    words = refusal("Condition size limit reached (4 > 3)", "Reduce the size of your condition.")
    for condition in (several, {"has_id": [1, 2, 3, 4]}):
        answer = server.on("points/count", {"filter": {"must_not": [condition]}})
        assert (answer.status, answer.error) == (400, words)


def test_strict_mode_without_exact_search_counts_by_estimate(server: Server) -> None:
    server.create(strict_mode_config={"enabled": True, "search_allow_exact": False})
    server.fill(8)
    words = refusal("Exact search disabled!", "Set exact=false.")
    query = {"query": [1.0] * SIZE, "limit": 1}
    for answer in (
        server.on("points/count", {}),
        server.on("points/count", {"exact": True}),
        server.on("points/query", {**query, "params": {"exact": True}}),
    ):
        assert (answer.status, answer.error) == (400, words)
    assert server.on("points/count", {"exact": False}).result == {"count": 8}
    server.patch(hnsw_config={"m": 0})
    answer = server.on("points/query", query)
    assert answer.error == refusal(
        "Request is forbidden because global vector indexing is disabled (hnsw_config.m = 0)",
        "Use tenant-specific filter, enable global vector indexing or enable strict mode "
        "`search_allow_exact` option",
    )


def test_strict_mode_limits_search_parameters(server: Server) -> None:
    limits = {"enabled": True, "search_max_hnsw_ef": 64, "search_max_oversampling": 1.5}
    server.create(strict_mode_config=limits)
    query = {"query": [1.0] * SIZE, "limit": 1}
    answer = server.on("points/query", {**query, "params": {"hnsw_ef": 65}})
    assert answer.error == refusal(
        'Limit exceeded 65 > 64 for "hnsw_ef"', 'Reduce the "hnsw_ef" parameter to or below 64.'
    )
    quantized = {"quantization": {"rescore": True, "oversampling": 2.5}}
    answer = server.on("points/query", {**query, "params": quantized})
    assert answer.error == refusal(
        'Limit exceeded 2.5 > 1.5 for "oversampling"',
        'Reduce the "oversampling" parameter to or below 1.5.',
    )


def test_a_rate_limit_says_when_to_come_back_only_where_that_helps(server: Server) -> None:
    limits = {"enabled": True, "write_rate_limit": 5, "read_rate_limit": 5}
    server.create(strict_mode_config=limits)
    answer = server.on("points?wait=true", {"points": made(6)}, "PUT")
    assert answer.status == 429
    assert answer.error == (
        "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter "
        "capacity, please try to split your request"
    )
    assert "retry-after" not in answer.headers
    server.fill(2)  # paid twice
    answer = server.on("points?wait=true", {"points": made(4)}, "PUT")
    assert answer.status == 429
    assert re.fullmatch(
        r"Rate limiting exceeded: Write rate limit exceeded: Operation requires 4 tokens but "
        r"only 1\.\d were available\. Retry after \d+s",
        answer.error,
    )
    (empty,) = [server.on("points?wait=true", {"points": made(3)}, "PUT")]
    assert empty.status == 429, "a write of more than half of the limit never passes"
    assert 20 < int(answer.headers["retry-after"]) <= 36
    answer = server.on("points", {"ids": list(range(6))})
    assert answer.status == 429
    assert "Read rate limit exceeded, request larger" in answer.error


@pytest.mark.slow
def test_a_collection_that_is_full_takes_no_more(server: Server) -> None:
    server.create(strict_mode_config={"enabled": True, "max_points_count": 2})
    server.fill(2)
    answers = [server.on("points?wait=true", {"points": made(1, n)}, "PUT") for n in range(200)]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused  # the server looks at its count only now and then
    words = "Bad request: Max points count limit of 2 reached!"
    assert {(answer.status, answer.error) for answer in refused} == {(400, words)}


# --- limits of size --------------------------------------------------------------------------


def test_a_body_above_32_mb_is_a_400_or_a_cut_connection(server: Server) -> None:
    server.create()
    body = json.dumps({"points": [], "filling": "x" * (33 << 20)}).encode()
    try:
        answer = server.on("points?wait=true", body, "PUT")
    except httpx.WriteError:
        return
    assert answer.status == 400
    assert "larger than allowed" in answer.error


# --- roles -----------------------------------------------------------------------------------


@pytest.fixture
def guarded(server: Server, request: pytest.FixtureRequest) -> Server:
    """A server with a key, which makes tokens."""
    if not os.environ.get("CLIPINDEX_TEST_QDRANT_KEY") and "real" in request.node.name:
        pytest.skip("CLIPINDEX_TEST_QDRANT_KEY is not set")
    if not server.key:
        request.getfixturevalue("double").key = server.key = "the key"
    server.create()
    return server


def test_no_key_and_a_wrong_one_are_plain_text(guarded: Server) -> None:
    path = guarded.path
    none = guarded.client.get(path)
    words = "Must provide an API key or an Authorization bearer token"
    assert (none.status_code, none.text) == (401, words)
    wrong = guarded.ask("GET", path, key="wrong")
    assert (wrong.status, wrong.text) == (401, "Invalid API key or JWT")
    expired = guarded.ask("GET", path, key=token(guarded.key, "r", expires_in=-99))
    assert (expired.status, expired.text) == (403, "ExpiredSignature")
    forged = guarded.ask("GET", path, key=token("another", "m"))
    assert (forged.status, forged.text) == (403, "InvalidSignature")
    assert guarded.client.get("/").status_code == 200


@pytest.mark.parametrize("mode", ["r", "rw", "prw"])
def test_a_token_of_one_collection_may_do_this_and_no_more(guarded: Server, mode: str) -> None:
    name = guarded.collection
    key = token(guarded.key, [{"collection": name, "access": mode}])
    points = {"points": made(1)}
    index = {"field_name": "sha256", "field_schema": "keyword"}
    write = f"Forbidden: Write access to collection {name} is required"
    only = f"Forbidden: Only points access is allowed for collection {name}"
    everywhere = "Forbidden: Global access is required"
    other = "Forbidden: Access to collection another is required"
    expected: list[tuple[str, str, Json | None, str]] = [
        ("GET", guarded.path, None, ""),
        ("POST", f"{guarded.path}/points/scroll", {}, ""),
        ("PUT", f"{guarded.path}/points?wait=true", points, write if mode == "r" else ""),
        ("PUT", f"{guarded.path}/index?wait=true", index, {"r": write, "prw": only}.get(mode, "")),
        ("PATCH", guarded.path, {"metadata": {}}, everywhere),
        ("DELETE", guarded.path, None, everywhere),
        ("POST", "/collections/aliases", {"actions": []}, everywhere),
        ("GET", "/collections/another", None, other),
        ("POST", "/collections/another/points/scroll", {}, other),
    ]
    for method, path, body, words in expected:
        answer = guarded.ask(method, path, body, key=key)
        assert answer.status == (403 if words else 200), (method, path, answer.text)
        assert not words or answer.error == words


def test_a_token_that_reads_everything_changes_nothing(guarded: Server) -> None:
    key = token(guarded.key, "r")
    words = "Forbidden: Global manage access is required"
    assert guarded.ask("GET", guarded.path, key=key).status == 200
    for method, path, body in (
        ("PATCH", guarded.path, {"metadata": {}}),
        ("PUT", f"{guarded.path}/points?wait=true", {"points": made(1)}),
    ):
        answer = guarded.ask(method, path, body, key=key)
        assert (answer.status, answer.error) == (403, words)


def test_a_token_sees_an_alias_only_with_both_names(guarded: Server) -> None:
    alias = f"{guarded.collection}-alias"
    action = {"create_alias": {"alias_name": alias, "collection_name": guarded.collection}}
    guarded.ask("POST", "/collections/aliases", {"actions": [action]})
    both = [alias, guarded.collection]
    for names, seen in ((both, [alias]), ([alias], []), ([guarded.collection], [])):
        key = token(guarded.key, [{"collection": name, "access": "rw"} for name in names])
        listed = guarded.ask("GET", "/aliases", key=key).result["aliases"]
        assert [each["alias_name"] for each in listed] == seen
    key = token(guarded.key, [{"collection": alias, "access": "rw"}])
    assert guarded.ask("GET", f"/collections/{alias}", key=key).status == 200


def test_the_double_of_a_read_only_key_reads(double: Double) -> None:
    double.create("a", {"vectors": {"size": SIZE, "distance": "Cosine"}})
    double.read_only_key = "r"
    headers = {"api-key": "r"}
    assert httpx.get(f"{double.url}/collections/a", headers=headers).status_code == 200
    assert httpx.delete(f"{double.url}/collections/a", headers=headers).status_code == 403
