"""A server: reachable, its version, the collection's state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing

from clipindex.collection.place import Health, Place
from clipindex.collection.server_place import ServerPlace
from clipindex.files.identity import escaped
from clipindex.stores import server_requests
from clipindex.stores.address import Server
from clipindex.stores.connection import READING, Connection
from clipindex.stores.server_collections import OLDEST, describe
from clipindex.stores.server_limits import Limits
from clipindex.upkeep.doctor.checks import Check, State, guarded, note, ok, problem

SERVER, COLLECTION, STRICT = "server", "server's collection", "strict mode"
FIELDS = 4  # that clipindex indexes; each tag is one more
SMALL = 100  # points of a request; fewer take many requests


def check_server(place: Place) -> Iterator[Check]:
    """The server and the state of a collection there; its contents are another matter."""
    assert isinstance(place, ServerPlace)
    address, collection = place.address, place.collection
    with closing(Connection(address, READING)) as connection:
        checks = list(guarded(SERVER, lambda: _version(connection, address)))
        yield from checks
        if is_reached(checks):
            yield from guarded(COLLECTION, lambda: _state(connection, collection))


def is_reached(checks: Iterable[Check]) -> bool:
    """Whether the server answered."""
    return not any((check.name, check.state) == (SERVER, State.PROBLEM) for check in checks)


def _version(connection: Connection, address: Server) -> Iterator[Check]:
    version = escaped(connection.call("asking for the version", server_requests.version))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    needed = ".".join(map(str, OLDEST))
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST:
        hint = f"update the server: {needed} or newer stores metadata with a collection"
        yield problem("server's version", f"Qdrant {version} is too old", hint)
    else:
        yield ok(SERVER, f"{address.url} runs Qdrant {version}")
    if address.url.startswith("http:") and not address.is_localhost:
        hint = "use https, or an ssh tunnel, where others share the network"
        yield note("encryption", "plain http to another machine", hint)
    if address.key:
        yield ok("API key", "set in CLIPINDEX_API_KEY")


def _state(connection: Connection, collection: str) -> Iterator[Check]:
    info = describe(connection, collection)
    if info is None:
        return
    health = Health(info.status, info.optimizer_error and escaped(info.optimizer_error))
    text = f"'{collection}' is {health}"
    if info.status == "red" or info.optimizer_error:
        hint = "look into the server's log, check its disk, restart it"
        yield problem(COLLECTION, text, hint)
    else:
        yield ok(COLLECTION, text) if health.is_good else note(COLLECTION, text)
    yield from limits_checks(info.limits, collection)


def limits_checks(limits: Limits, collection: str) -> Iterator[Check]:
    """What strict mode makes slow, or forbids."""
    raise_it = f"raise it on the server: PATCH /collections/{collection}, strict_mode_config"
    if limits.indexes is not None and limits.indexes <= FIELDS:
        text = f"max_payload_index_count is {limits.indexes}: tags cannot be searched"
        yield problem(STRICT, text, raise_it)
    for name, value in (
        ("max_query_limit", limits.page),
        ("upsert_max_batchsize, or write_rate_limit,", limits.upsert),
        ("read_rate_limit", limits.retrieve),
        ("condition_max_size", limits.values),
    ):
        if value is not None and value < SMALL:
            yield note(STRICT, f"{name} is {value}: everything takes many requests", raise_it)
    if not limits.exact:
        yield note(STRICT, "no exact searches: a query may miss a picture", raise_it)
