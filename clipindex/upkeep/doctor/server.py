"""A server: reachable, its version, the collection's state. Loads qdrant-client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing

from clipindex.stores.address import Server
from clipindex.stores.connection import READING, Connection
from clipindex.stores.server_collections import OLDEST
from clipindex.stores.server_health import health_of, version_of
from clipindex.upkeep.doctor.checks import Check, State, guarded, note, ok, problem

SERVER, COLLECTION = "server", "server's collection"
STATES = {
    "yellow": "it is optimising, which may slow queries down",
    "grey": "it waits for a write before it goes on optimising",
}


def check_server(address: Server, collection: str) -> Iterator[Check]:
    """The server and the state of a collection there; its contents are another matter."""
    with closing(Connection(address, READING)) as connection:
        checks = list(guarded(SERVER, lambda: _version(connection, address)))
        yield from checks
        if is_reached(checks):
            yield from guarded(COLLECTION, lambda: _health(connection, collection))


def is_reached(checks: Iterable[Check]) -> bool:
    """Whether the server answered."""
    return not any((check.name, check.state) == (SERVER, State.PROBLEM) for check in checks)


def _version(connection: Connection, address: Server) -> Iterator[Check]:
    version = version_of(connection)
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


def _health(connection: Connection, collection: str) -> Iterator[Check]:
    name = COLLECTION
    health = health_of(connection, collection)
    if health is None:
        return
    if health.status == "red" or health.optimizer != "ok":
        text = f"'{collection}' is {health.status}, its optimiser: {health.optimizer}"
        yield problem(name, text, "look into the server's log; restart it; check its disk")
    elif health.status in STATES:
        yield note(name, f"'{collection}' is {health.status}", STATES[health.status])
    else:
        yield ok(name, f"'{collection}' is {health.status}")
    for limit, value in health.tight.items():
        hint = f"raise it, or switch strict mode off: PATCH /collections/{collection}"
        yield problem("strict mode", f"{limit} is {value}: some requests are refused", hint)
