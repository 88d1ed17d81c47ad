"""The requests that change something on a server, one method each, sent by qdrant-client.

Loaded with the first of them: see `session`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from clipindex.model.imports import guarded_import
from clipindex.stores.failures import ErrorAnswer
from clipindex.stores.points import Point

with guarded_import():  # it imports fastembed where that is installed, and that onnxruntime
    from qdrant_client import QdrantClient, models
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse


class Writes:
    """A client of one server. What its methods raise is what `Session`'s do."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        """`options` are httpx's, which qdrant-client hands on."""
        self._client = QdrantClient(
            url=url,
            check_compatibility=False,  # it prints from a thread; `create` checks the version
            **options,
        )

    def upsert(self, collection: str, batch: Sequence[Point]) -> object:
        """Write points and wait until they are applied."""
        records = [
            models.PointStruct(id=str(p.id), vector=p.vector.tolist(), payload=dict(p.payload))
            for p in batch
        ]
        with plain_failures():
            return self._client.upsert(collection, points=records, wait=True)

    def delete(self, collection: str, ids: Sequence[object]) -> object:
        """Delete points and wait until that is applied."""
        selector = models.PointIdsList(points=list(map(str, ids)))
        with plain_failures():
            return self._client.delete(collection, points_selector=selector, wait=True)

    def index(self, collection: str, field: str, kind: str) -> object:
        """Create a payload index and wait for it; `kind` as Qdrant names it."""
        schema = models.PayloadSchemaType(kind)
        with plain_failures():
            return self._client.create_payload_index(
                collection, field, field_schema=schema, wait=True
            )

    def create(self, collection: str, dimension: int, metadata: Mapping[str, Any]) -> bool:
        """Create a collection of vectors compared by cosine."""
        vectors = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        with plain_failures():
            return self._client.create_collection(
                collection, vectors_config=vectors, metadata=dict(metadata)
            )

    def update(
        self, collection: str, metadata: Mapping[str, Any], graph_links: int | None = None
    ) -> bool:
        """Change a collection's metadata, and HNSW's `m` where it is given."""
        graph = None if graph_links is None else models.HnswConfigDiff(m=graph_links)
        with plain_failures():
            return self._client.update_collection(
                collection, hnsw_config=graph, metadata=dict(metadata)
            )

    def delete_collection(self, collection: str) -> bool:
        """Delete a collection and its aliases."""
        with plain_failures():
            return self._client.delete_collection(collection)

    def set_alias(self, alias: str, collection: str | None) -> bool:
        """Switch an alias to a collection, or delete it (None), in one step."""
        action: Any
        if collection is None:
            action = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        else:
            target = models.CreateAlias(alias_name=alias, collection_name=collection)
            action = models.CreateAliasOperation(create_alias=target)
        with plain_failures():
            return self._client.update_collection_aliases([action])

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()


@contextmanager
def plain_failures() -> Iterator[None]:
    """Takes the wrapping of qdrant-client off: what is left are httpx's exceptions and ours."""
    try:
        yield
    except ResponseHandlingException as error:
        raise error.source from error
    except UnexpectedResponse as error:
        headers = httpx.Headers(error.headers)
        raise ErrorAnswer(error.status_code or 0, headers, error.content) from error
    except ResourceExhaustedResponse as error:
        headers = httpx.Headers({"retry-after": str(error.retry_after_s)})
        raise ErrorAnswer(429, headers, b"") from error
