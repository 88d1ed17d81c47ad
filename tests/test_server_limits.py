"""A server in strict mode: what it forbids is not asked for, and there is another way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipindex.stores import connection
from clipindex.stores.address import Server
from clipindex.stores.connection import WRITING, Connection
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import create
from qdrant_double import Double, Problem, Request
from test_stores import point


class Strict(Double):
    """A double that keeps the rules of strict mode that a test is about, as the server does."""

    def answer(self, request: Request) -> object:
        parts = request.path.partition("?")[0].strip("/").split("/")
        shard = self.shards.get(parts[1]) if len(parts) > 1 else None
        if shard is not None:
            check(shard.config["strict_mode_config"] or {}, request)
        return super().answer(request)


def check(strict: dict[str, object], request: Request) -> None:
    """Raises Problem for what strict mode refuses, in the server's words (1.18.3)."""
    body = request.body
    exact = body.get("exact") or (body.get("params") or {}).get("exact")
    if exact and strict.get("search_allow_exact") is False:
        raise Problem(400, "Bad request: Exact search disabled!. Help: Set exact=false.")


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Strict]:
    """A server on this machine that knows strict mode, and a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    with Strict(tmp_path / "qdrant") as running:
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


def test_points_are_counted_exactly_where_exact_requests_are_forbidden(strict: Strict) -> None:
    limit(strict, search_allow_exact=False, max_query_limit=3)
    store = opened(strict)
    store.upsert([point(seed) for seed in range(10)])
    assert (store.count(), store.estimate()) == (10, 10)
    assert all(request.body["with_payload"] is False for request in strict.requests("/scroll"))
    assert not strict.requests("/count")
    store.close()
