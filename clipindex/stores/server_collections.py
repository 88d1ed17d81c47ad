"""Collections and aliases on a server: describe, create, switch."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipindex.errors import ClipIndexWarning, ContractMismatch, StoreError, VerificationFailed
from clipindex.files.identity import escaped
from clipindex.stores import server_requests as requests
from clipindex.stores.connection import Connection
from clipindex.stores.labels import KINDS_OF_INDEXES, Kind
from clipindex.stores.server_limits import Limits, limits_of
from clipindex.stores.session import Session, path_of

OLDEST = (1, 16)  # the first Qdrant that keeps metadata with a collection
METADATA_KEY = "clipindex"  # our key in a collection's metadata
DATATYPES = ("float32", "float16")  # float16 keeps a cosine of 0.9999999
PAUSES = (0.0, 0.5, 2.0)  # seconds before each look: nodes of a cluster may lag


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A collection as the server describes it."""

    points: int
    dimension: int | None
    is_cosine: bool
    note: Mapping[str, Any] | None  # our entry in its metadata: the contract
    indexed_fields: frozenset[str]
    kinds: Mapping[str, Kind]  # of the indexed fields
    graph_links: int | None  # HNSW's m; 0: no index is built
    datatype: str  # of a stored number: "float32" and others
    is_quantised: bool  # searched by smaller copies of the vectors
    defers: bool  # writes are acknowledged only once they are indexed (prevent_unoptimized)
    limits: Limits
    status: str  # green, yellow, grey or red
    optimizer_error: str | None


def describe(connection: Connection, collection: str) -> CollectionInfo | None:
    """A collection, by its name or an alias; None where there is none."""
    return connection.call(
        f"looking for collection '{collection}'",
        lambda session: _info(session.get(path_of(collection))),
        instead={404: None},
    )


def _info(answer: Mapping[str, Any]) -> CollectionInfo:
    """Words that only a newer server knows are passed over.

    Raises KeyError, TypeError or AttributeError for what no Qdrant answers.
    """
    result = answer["result"]
    config = result["config"]
    vectors = config["params"].get("vectors") or {}
    return CollectionInfo(
        points=result.get("points_count") or 0,
        dimension=vectors.get("size") if isinstance(vectors.get("size"), int) else None,
        is_cosine=vectors.get("distance") == "Cosine",
        note=(config.get("metadata") or {}).get(METADATA_KEY),
        indexed_fields=frozenset(result.get("payload_schema") or ()),
        kinds=_kinds(result.get("payload_schema") or {}),
        graph_links=config["hnsw_config"].get("m"),
        datatype=str(vectors.get("datatype") or "float32"),
        is_quantised=bool(config.get("quantization_config") or vectors.get("quantization_config")),
        defers=bool((config.get("optimizer_config") or {}).get("prevent_unoptimized")),
        limits=limits_of(config.get("strict_mode_config")),
        status=str(result.get("status") or "green"),
        optimizer_error=_error_in(result.get("optimizer_status")),
    )


def _kinds(schema: Mapping[str, Any]) -> dict[str, Kind]:
    """What each indexed field contains; text, where a newer server has an unknown index."""
    indexes = ((name, str(index.get("data_type"))) for name, index in schema.items())
    return {name: KINDS_OF_INDEXES.get(kind, Kind.TEXT) for name, kind in indexes}


def _error_in(status: object) -> str | None:
    """Qdrant spells an optimizer's status "ok" or {"error": words}."""
    return str(status.get("error")) if isinstance(status, Mapping) else None


def identity(note: object) -> object:
    """What stays the same in a note while a collection lives: contract, versions, id."""
    return (note.get("contract"), note.get("noted")) if isinstance(note, Mapping) else None


def create(
    connection: Connection, collection: str, dimension: int, note: Mapping[str, object]
) -> None:
    """Create a collection with `note` in its metadata, or adopt an empty one without a note.

    A collection that another writer created meanwhile is left as it is: the caller compares the
    notes. Raises ContractMismatch for an empty collection of other vectors, StoreError for a
    server that is too old.
    """
    _check_version(connection)
    metadata = {METADATA_KEY: dict(note)}
    info = describe(connection, collection)
    if info is None:
        connection.call(
            f"creating collection '{collection}'",
            lambda session: session.writes.create(collection, dimension, metadata),
            instead={409: True},  # by another writer, or by ours whose answer was lost
        )
    elif info.note is None and info.points == 0:
        check_vectors(info, connection, collection, dimension)
        connection.call(
            f"adopting the empty collection '{collection}'",
            lambda session: session.writes.update(collection, metadata),
        )


def aliases(connection: Connection) -> dict[str, str]:
    """Alias -> collection, for all aliases that the key may see."""
    return connection.call("reading the aliases", _aliases, instead={403: {}})


def all_aliases(connection: Connection) -> dict[str, str]:
    """As `aliases`. Raises StoreError where the key may not read them."""
    return connection.call("reading the aliases", _aliases)


def _aliases(session: Session) -> dict[str, str]:
    return {
        escaped(alias["alias_name"]): escaped(alias["collection_name"])
        for alias in session.get("/aliases")["result"]["aliases"]
    }


def delete(connection: Connection, collection: str) -> None:
    """Delete a collection; one that is gone is as good. Its aliases go with it."""
    connection.call(
        f"deleting collection '{collection}'",
        lambda session: session.writes.delete_collection(collection),
        instead={404: True},
    )


def set_alias(connection: Connection, alias: str, collection: str | None) -> None:
    """Switch an alias to a collection, or delete it (None).

    A single action, because the server replaces an alias in one step. Deleting the old one first
    would leave no alias where the server then refuses the new one. Raises VerificationFailed when
    the server does not confirm the change.
    """
    connection.call(
        f"changing the alias '{alias}'",
        lambda session: session.writes.set_alias(alias, collection),
    )
    for pause in PAUSES:
        time.sleep(pause)
        if aliases(connection).get(alias) == collection:
            return
    raise VerificationFailed(
        f"the alias '{alias}' on {connection.url} was not switched",
        hint="somebody else may have changed it at the same time; `clipindex status` shows it",
    )


def check_vectors(
    info: CollectionInfo, connection: Connection, collection: str, dimension: int
) -> None:
    """Raises ContractMismatch for vectors of another dimension or distance, or numbers that are
    too coarse for a verified write."""
    if info.dimension != dimension or not info.is_cosine:
        raise ContractMismatch(
            f"'{collection}' on {connection.url} does not have vectors of {dimension} numbers, "
            "compared by cosine",
            hint="name another --collection",
        )
    if info.datatype not in DATATYPES:
        raise ContractMismatch(
            f"'{collection}' on {connection.url} stores its vectors as {info.datatype}, which "
            "changes their directions",
            hint=f"make it with the datatype {' or '.join(DATATYPES)}; quantisation saves memory "
            "without changing what is stored",
        )


def _check_version(connection: Connection) -> None:
    """Raises StoreError for a server that is too old to store the contract."""
    version = escaped(connection.call("asking for the version", requests.version))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        message = f"{connection.url} has an unknown version: {version}"
        warnings.warn(message, ClipIndexWarning, stacklevel=2)
    elif (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise StoreError(
            f"{connection.url} runs Qdrant {version}; clipindex needs "
            f"{'.'.join(map(str, OLDEST))} or newer, which stores metadata with a collection",
            path=connection.url,
            hint="update the server",
        )
