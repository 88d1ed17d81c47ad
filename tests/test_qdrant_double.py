"""What a test can ask of the double, beyond being a server: lags, losses, dead nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_double import Cluster, Double
from qdrant_double.faults import TROUBLE
from test_double_is_true import SIZE, Json, Server, made


@pytest.fixture
def server(double: Double) -> Iterator[Server]:
    with httpx.Client(base_url=double.url) as client:
        yield Server(client, "")


@pytest.fixture
def three(cluster: Cluster) -> Iterator[tuple[Cluster, list[Server]]]:
    """Three nodes, three copies of a collection, and a client of each node."""
    asked = [Server(httpx.Client(base_url=n.url), "", "photos") for n in cluster.nodes]
    asked[0].create(replication_factor=3)
    yield cluster, asked
    for each in asked:
        each.client.close()


def scores(server: Server, query: list[float], **params: Any) -> list[float]:
    asked = {"query": query, "limit": 10, "params": params}
    return [hit["score"] for hit in server.on("points/query", asked).result["points"]]


def test_quantised_vectors_give_scores_that_are_off_unless_they_are_rescored(
    server: Server,
) -> None:
    server.create(
        quantization_config={"scalar": {"type": "int8"}},
        optimizers_config={"indexing_threshold": 1},
        hnsw_config={"full_scan_threshold": 10},
    )
    points = server.fill(200)
    exact = scores(server, points[3]["vector"], exact=True)
    rescored = {"rescore": True, "oversampling": 2.0}
    assert scores(server, points[3]["vector"], quantization=rescored) == exact
    quantised = scores(server, points[3]["vector"])
    assert quantised != exact
    assert quantised == pytest.approx(exact, abs=0.02)


def test_a_graph_that_misses_points_misses_fewer_with_a_larger_ef_and_none_where_exact(
    double: Double, server: Server
) -> None:
    server.create()
    query = server.fill(200)[0]["vector"]
    double.shards[server.collection].recall_loss = 0.5

    def found(**params: Any) -> int:
        return len(
            server.on("points/query", {"query": query, "limit": 200, "params": params}).result[
                "points"
            ]
        )

    assert found(exact=True) == 200
    assert found() < found(hnsw_ef=400) < 200
    assert found() == found(), "the same points are missed each time"


def test_counts_that_are_estimates_are_off_as_far_as_a_test_says(
    double: Double, server: Server
) -> None:
    server.create()
    server.fill(10)
    shard = double.shards[server.collection]
    shard.count_error = -0.2
    shard.status = "red"
    shard.optimizer_status = {"error": "disk full"}
    info = server.ask("GET", server.path).result
    assert (info["points_count"], info["status"]) == (8, "red")
    assert info["optimizer_status"] == {"error": "disk full"}
    assert server.on("points/count", {"exact": False}).result == {"count": 8}
    assert server.on("points/count", {"exact": True}).result == {"count": 10}


def test_a_snapshot_that_is_restored_takes_points_away(
    double: Double, server: Server, tmp_path: Path
) -> None:
    server.create()
    server.fill(3)
    shard = double.shards[server.collection]
    before = shard.snapshot(tmp_path / "snapshot")
    server.fill(2, first=3)
    assert server.on("points/count", {}).result == {"count": 5}
    shard.restore(before)
    assert server.on("points/count", {}).result == {"count": 3}


def test_a_body_too_large_is_a_proxys_413_or_the_servers_400(
    double: Double, server: Server
) -> None:
    server.create()
    double.body_limit = 2000
    answer = server.on("points?wait=true", {"points": made(50)}, "PUT")
    assert (answer.status, "larger than allowed" in answer.error) == (400, True)
    double.proxy_limit = 1000
    answer = server.on("points?wait=true", {"points": made(50)}, "PUT")
    assert (answer.status, answer.headers["content-type"]) == (413, "text/html")


def test_idle_connections_are_closed(double: Double, server: Server) -> None:
    double.keep_alive = 0.1
    assert server.ask("GET", "/").status == 200
    time.sleep(0.4)
    with httpx.Client(base_url=double.url, transport=httpx.HTTPTransport(retries=0)) as client:
        assert client.get("/").status_code == 200
    assert not double.connections or time.sleep(0.3) is None
    assert not double.connections


def test_a_server_that_restarts_refuses_connections_meanwhile(
    double: Double, server: Server
) -> None:
    server.create()
    server.fill(2)
    double.stop()
    with pytest.raises(httpx.TransportError):
        server.ask("GET", server.path)
    double.start()
    assert server.on("points/count", {}).result == {"count": 2}


def test_a_collection_of_named_vectors_is_described_and_not_filled(server: Server) -> None:
    named = {"text": {"size": SIZE, "distance": "Cosine"}}
    assert server.ask("PUT", server.path, {"vectors": named}).result is True
    assert server.ask("GET", server.path).result["config"]["params"]["vectors"] == named
    answer = server.on("points?wait=true", {"points": made(1)}, "PUT")
    assert (answer.status, "Not existing vector name" in answer.error) == (400, True)


@pytest.mark.parametrize("kind", list(TROUBLE))
def test_a_server_in_trouble_says_so_in_its_own_words(
    double: Double, server: Server, kind: str
) -> None:
    double.fail(kind)
    answer = server.ask("GET", "/aliases")
    assert (answer.status, answer.error) == TROUBLE[kind]
    assert server.ask("GET", "/aliases").status == 200


def test_what_the_double_does_not_know_is_no_silent_success(server: Server) -> None:
    server.create()
    assert server.on("points/scroll", {"order_by": "path"}).status == 501


# --- a cluster -------------------------------------------------------------------------------


def has_note(server: Server) -> bool:
    return "metadata" in server.ask("GET", server.path).result["config"]


def test_a_node_that_lags_shows_the_settings_as_they_were(
    three: tuple[Cluster, list[Server]],
) -> None:
    cluster, (first, second, _) = three
    cluster.nodes[1].config_lag = 0.2
    first.patch(metadata={"of": "a test"})
    assert (has_note(first), has_note(second)) == (True, False)
    time.sleep(0.25)
    assert has_note(second)


def ids_at(server: Server, consistency: str = "") -> int:
    ids = [point["id"] for point in made(5)]
    query = f"?consistency={consistency}" if consistency else ""
    return len(server.on(f"points{query}", {"ids": ids}).result)


def test_a_replica_that_is_behind_is_outvoted(three: tuple[Cluster, list[Server]]) -> None:
    cluster, (first, second, _) = three
    first.fill(2)
    time.sleep(0.01)
    cluster.nodes[1].staleness = 0.5
    first.fill(3, first=2)
    assert (ids_at(first), ids_at(second), ids_at(second, "majority")) == (5, 0, 5)
    assert second.on("points/count", {}).result == {"count": 0}
    assert second.on("points/count?consistency=majority", {}).result == {"count": 5}
    assert ids_at(first, "all") == 0
    time.sleep(0.55)
    assert ids_at(second) == 5


def test_a_majority_cannot_be_asked_where_a_copy_is_dead(
    three: tuple[Cluster, list[Server]],
) -> None:
    cluster, (_, second, third) = three
    second.fill(2)
    cluster.nodes[0].stop()
    assert ids_at(second) == 2
    answer = second.on("points?consistency=majority", {"ids": []})
    assert (answer.status, "does not have enough active replicas" in answer.error) == (500, True)
    assert ids_at(third, "quorum") == 2
    assert second.patch(metadata={"a": 1}).status == 200
    cluster.nodes[1].stop()
    answer = third.patch(metadata={"a": 2})
    assert (answer.status, "consensus" in answer.error) == (500, True)
    cluster.nodes[0].start()
    assert third.patch(metadata={"a": 2}).status == 200


def test_a_node_that_hangs_answers_when_it_wakes(three: tuple[Cluster, list[Server]]) -> None:
    cluster, (first, *_) = three
    cluster.nodes[0].awake.clear()
    first.client.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        first.ask("GET", first.path)
    cluster.nodes[0].awake.set()
    assert first.ask("GET", first.path).status == 200


def test_every_request_is_in_the_log(double: Double, server: Server) -> None:
    body: Json = {"limit": 3}
    server.create()
    server.on("points/scroll?timeout=3", body)
    (request,) = double.requests("scroll")
    assert (request.method, request.query, request.body) == ("POST", {"timeout": "3"}, body)
    assert request.route == ["collections", server.collection, "points", "scroll"]
