"""The requests that are sent for points, one function each, and the filter as Qdrant's client
spells it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from clipindex.errors import StoreError
from clipindex.stores.filter import Filter
from clipindex.stores.points import Point, Vector


def upsert(collection: str, batch: Sequence[Point], client: QdrantClient) -> Any:
    """Write points and wait until they are applied."""
    records = [
        models.PointStruct(id=str(p.id), vector=p.vector.tolist(), payload=dict(p.payload))
        for p in batch
    ]
    return client.upsert(collection, points=records, wait=True)


def retrieve(
    collection: str, ids: Sequence[Any], client: QdrantClient, *, agreed: bool = False
) -> Any:
    """Points with vectors and payloads; `agreed`: as most of their replicas have them."""
    return client.retrieve(
        collection,
        ids=list(map(str, ids)),
        with_payload=True,
        with_vectors=True,
        consistency=models.ReadConsistencyType.MAJORITY if agreed else None,
    )


def groups(
    collection: str,
    vector: Vector,
    limit: int,
    only: Filter,
    params: models.SearchParams,
    client: QdrantClient,
) -> Any:
    """One point of each content; the other copies are found by a scroll."""
    return client.query_points_groups(
        collection,
        group_by="sha256",
        query=vector.tolist(),
        limit=limit,
        group_size=1,
        query_filter=rest_filter(only),
        search_params=params,
        with_payload=False,
    ).groups


def scroll(
    collection: str,
    limit: int,
    offset: Any,
    only: Filter,
    payload: bool,
    client: QdrantClient,
) -> Any:
    """A page of ids, with `payload` also payloads, and the offset of the next page."""
    return client.scroll(
        collection,
        limit=limit,
        offset=offset,
        scroll_filter=rest_filter(only),
        with_payload=payload,
        with_vectors=False,
    )


def count(collection: str, only: Filter, client: QdrantClient) -> Any:
    """The exact number of points."""
    return client.count(collection, count_filter=rest_filter(only), exact=True)


def index(collection: str, name: str, kind: str, client: QdrantClient) -> Any:
    """Create a payload index and wait for it; `kind` as Qdrant names it."""
    schema = models.PayloadSchemaType(kind)
    return client.create_payload_index(collection, name, field_schema=schema, wait=True)


def facet(collection: str, name: str, most: int, client: QdrantClient) -> Any:
    """The values of an indexed field, the most frequent first, with their exact counts."""
    return client.facet(collection, name, limit=most, exact=True).hits


def delete(collection: str, ids: Sequence[Any], client: QdrantClient) -> Any:
    """Delete points and wait until that is applied."""
    selector = models.PointIdsList(points=list(map(str, ids)))
    return client.delete(collection, points_selector=selector, wait=True)


def rest_filter(only: Filter) -> models.Filter | None:
    """A filter as qdrant-client's model, None for the empty filter."""
    conditions = only.conditions()
    return None if conditions is None else models.Filter.model_validate(conditions)


def parse_id(name: object, location: str) -> uuid.UUID:
    """The id of a point. Raises StoreError for one that clipindex did not write."""
    try:
        return uuid.UUID(str(name))
    except ValueError:
        raise StoreError(
            f"{location} contains a point that clipindex did not write: {name}",
            hint="use a --collection that no other program writes to",
        ) from None
