"""What a server says of a collection, and how one is made: with the contract as its metadata."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from clipindex.errors import ClipIndexWarning, ContractMismatch, StoreError, VerificationFailed
from clipindex.stores.connection import Connection
from clipindex.stores.points import POINTS_AT_ONCE

PAGE = 1000
OLDEST = (1, 16)  # the first Qdrant that keeps metadata with a collection
METADATA_KEY = "clipindex"  # our key in a collection's metadata
PAUSES = (0.0, 0.5, 2.0)  # seconds before a change is looked for: nodes of a cluster may lag


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a server says of a collection."""

    points: int
    dimension: int | None
    is_cosine: bool
    note: Mapping[str, Any] | None  # what `make` put into its metadata
    indexed_fields: frozenset[str]
    graph_links: int | None  # HNSW's m; 0: no index is built
    max_limit: int  # strict mode: of one page
    max_upsert: int


def describe(connection: Connection, collection: str) -> CollectionInfo | None:
    """A collection as the server has it (an alias stands for its collection), or None."""
    none: Any = None
    info: Any = connection.call(
        f"looking for collection '{collection}'",
        lambda client: client.get_collection(collection),
        instead={404: none},
    )
    if info is None:
        return None
    vectors, strict = info.config.params.vectors, info.config.strict_mode_config
    limits = strict if strict is not None and strict.enabled else None
    return CollectionInfo(
        points=info.points_count or 0,
        dimension=getattr(vectors, "size", None),
        is_cosine=getattr(vectors, "distance", None) == models.Distance.COSINE,
        note=(info.config.metadata or {}).get(METADATA_KEY),
        indexed_fields=frozenset(info.payload_schema),
        graph_links=info.config.hnsw_config.m,
        max_limit=min(PAGE, getattr(limits, "max_query_limit", None) or PAGE),
        max_upsert=min(
            POINTS_AT_ONCE,
            getattr(limits, "upsert_max_batchsize", None) or POINTS_AT_ONCE,
        ),
    )


def make(
    connection: Connection, collection: str, dimension: int, note: Mapping[str, object]
) -> None:
    """Make a collection that carries `note`, or adopt one that is there, empty and without any.

    Where another writer was faster, its collection stands: the caller compares the notes.
    """
    _check_version(connection)
    metadata = {METADATA_KEY: dict(note)}
    there = describe(connection, collection)
    if there is None:
        vectors = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        connection.call(
            f"making collection '{collection}'",
            lambda client: client.create_collection(
                collection, vectors_config=vectors, metadata=metadata
            ),
            instead={409: True},  # by another writer, or by ours whose answer was lost
        )
    elif there.note is None and there.points == 0:
        check_vectors(there, connection, collection, dimension)
        connection.call(
            f"adopting the empty collection '{collection}'",
            lambda client: client.update_collection(collection, metadata=metadata),
        )


def aliases(connection: Connection) -> dict[str, str]:
    """Every alias, and the collection that it stands for; those that the key may see."""
    none: Any = None
    answer: Any = connection.call(
        "looking for the collection", lambda client: client.get_aliases(), instead={403: none}
    )
    return {} if answer is None else {a.alias_name: a.collection_name for a in answer.aliases}


def set_alias(connection: Connection, alias: str, collection: str | None) -> None:
    """Let an alias stand for a collection, whatever it stood for before, or for none.

    One action alone: the server replaces in one step. Taking the old one away first, in the same
    call, would leave no alias at all where the server then refuses the new one.
    """
    action: Any
    if collection is None:
        action = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    else:
        made = models.CreateAlias(alias_name=alias, collection_name=collection)
        action = models.CreateAliasOperation(create_alias=made)
    connection.call(
        f"changing the alias '{alias}'",
        lambda client: client.update_collection_aliases([action]),
    )
    for pause in PAUSES:
        time.sleep(pause)
        if aliases(connection).get(alias) == collection:
            return
    raise VerificationFailed(
        f"the alias '{alias}' on {connection.url} does not stand for what it was given",
        hint="look with `clipindex status`; somebody else may have changed it at the same time",
    )


def check_vectors(
    there: CollectionInfo, connection: Connection, collection: str, dimension: int
) -> None:
    """Raises ContractMismatch for vectors of another length or distance."""
    if there.dimension != dimension or not there.is_cosine:
        raise ContractMismatch(
            f"'{collection}' on {connection.url} does not hold {dimension} numbers a point, "
            "compared by cosine",
            hint="name another --collection",
        )


def _check_version(connection: Connection) -> None:
    """Raises StoreError for a server that would lose the contract without a word."""
    version = connection.call("asking for the version", lambda client: client.info().version)
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        note = f"{connection.url} has an unknown version: {version}"
        warnings.warn(note, ClipIndexWarning, stacklevel=2)
    elif (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise StoreError(
            f"{connection.url} runs Qdrant {version}; clipindex needs "
            f"{'.'.join(map(str, OLDEST))} or newer, which keeps metadata with a collection",
            path=connection.url,
            hint="update the server",
        )
