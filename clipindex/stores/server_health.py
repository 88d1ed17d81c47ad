"""How a server is: its version, and the state of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipindex.files.identity import escaped
from clipindex.stores.connection import Connection

# Limits of strict mode within which all of clipindex works; a lower one refuses some request.
NEEDED = {
    "max_query_limit": 100,  # hits of a query
    "upsert_max_batchsize": 1,
    "condition_max_size": 100,  # values of one condition
    "filter_max_conditions": 10,
    "max_payload_index_count": 4,  # and one for each tag
}


@dataclass(frozen=True, slots=True)
class CollectionHealth:
    """A collection's state in Qdrant's words: `green`, `yellow` (optimising), `grey` (waiting for
    a write to optimise), `red` (a failure)."""

    status: str
    optimizer: str
    tight: Mapping[str, object]  # limits of strict mode below what is needed


def version_of(connection: Connection) -> str:
    """The server's version, which needs no key. Raises StoreError when it cannot be reached."""
    answer: Any = connection.call("asking for the version", lambda client: client.info())
    return escaped(str(answer.version))


def health_of(connection: Connection, collection: str) -> CollectionHealth | None:
    """A collection's state; None where there is no such collection. Raises StoreError."""
    info: Any = connection.call(
        f"looking for collection '{collection}'",
        lambda client: client.get_collection(collection),
        instead={404: None},
    )
    if info is None:
        return None
    optimizer = getattr(info.optimizer_status, "error", None) or "ok"
    strict = info.config.strict_mode_config
    limits = strict.model_dump() if strict is not None and strict.enabled else {}
    tight: dict[str, object] = {
        name: limits[name]
        for name, need in NEEDED.items()
        if isinstance(limits.get(name), int) and limits[name] < need
    }
    if limits.get("search_allow_exact") is False:
        tight["search_allow_exact"] = False
    return CollectionHealth(info.status.value, escaped(str(optimizer)), tight)
