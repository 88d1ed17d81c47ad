"""The points of a collection on a Qdrant server or cluster, over REST.

What is acknowledged was applied by the server (wait=true) and read back; whether it survives a
power cut depends on the server. The contract is stored as the collection's metadata.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from clipindex.errors import StoreError
from clipindex.stores.connection import Connection
from clipindex.stores.filter import Filter
from clipindex.stores.payload import INDEXED_FIELDS, Payload
from clipindex.stores.points import POINTS_AT_ONCE, Point, ScoredContent, Vector, check_unit_vectors
from clipindex.stores.server_collections import (
    METADATA_KEY,
    PAGE,
    CollectionInfo,
    check_vectors,
    describe,
)

SAME_COSINE = 0.99999  # a server may normalise, or round on its way through a replica
BULK = 100_000  # a larger first load builds the graph once, at its end


class ServerPoints:
    """One collection of a server. It takes no lock: ids are deterministic, so writers converge."""

    def __init__(
        self,
        connection: Connection,
        collection: str,
        dimension: int,
        info: CollectionInfo | None = None,
    ) -> None:
        """Open an existing collection; `info` describes it where the caller has asked already.

        Raises StoreError when there is none, ContractMismatch when its vectors have another
        dimension or distance.
        """
        self.location = f"{connection.url} ({collection})"
        self._connection = connection
        self._collection = collection
        self._dimension = dimension
        info = info or describe(connection, collection)
        if info is None:
            raise StoreError(
                f"there is no collection '{collection}' on {connection.url}", path=connection.url
            )
        check_vectors(info, connection, collection, dimension)
        self._info = info

    def index_missing_fields(self) -> None:
        """Create the payload indexes of every collection; a server in strict mode filters only by
        indexed fields."""
        for field in (*INDEXED_FIELDS, "source", "path"):
            if field not in self._info.indexed_fields:
                self.index_field(field)

    def turn(self) -> AbstractContextManager[object]:
        """The server takes the turns."""
        return nullcontext()

    def upsert(self, batch: Sequence[Point]) -> None:
        """Write points; they are applied when this returns. Raises VerificationFailed for a
        vector that is not a unit vector; nothing is written then."""
        check_unit_vectors(batch, self._dimension)
        step = self._info.max_upsert
        for start in range(0, len(batch), step):
            records = [
                models.PointStruct(id=str(p.id), vector=p.vector.tolist(), payload=dict(p.payload))
                for p in batch[start : start + step]
            ]
            self._call("writing to", partial(_upsert, self._collection, records))

    def flush(self) -> None:
        """Does nothing: each write was applied when it was acknowledged."""

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The existing points among `ids`."""
        points: dict[uuid.UUID, Point] = {}
        for start in range(0, len(ids), POINTS_AT_ONCE):
            names = list(map(str, ids[start : start + POINTS_AT_ONCE]))
            for record in self._call("reading from", partial(_retrieve, self._collection, names)):
                name = self._parse_id(record.id)
                vector = np.asarray(record.vector, np.float32)
                points[name] = Point(name, vector, record.payload or {})
        return points

    def same(self, written: Point, stored: Point) -> bool:
        """Equal up to the last digits, which JSON and the server's arithmetic may change."""
        cosine = float(written.vector.astype(np.float64) @ stored.vector.astype(np.float64))
        return cosine >= SAME_COSINE and _equal_values(written.payload, stored.payload)

    def search(self, vector: Vector, *, limit: int, only: Filter = Filter()) -> list[ScoredContent]:
        """The server groups copies. In a large collection its search is approximate. Where there
        are many copies it returns too few groups, so it is asked again without those found."""
        best: list[ScoredContent] = []
        while len(best) < limit:
            missing = min(limit - len(best), self._info.max_limit)
            others = only.also_outside("sha256", [hit.sha256 for hit in best]) if best else only
            request = partial(_groups, self._collection, vector.tolist(), missing, others)
            groups = self._call("searching", request)
            if not groups:
                break
            best += [ScoredContent(str(group.id), group.hits[0].score) for group in groups]
        return sorted(best, key=lambda hit: -hit.score)

    def scroll(self, only: Filter = Filter()) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of all matching points, read a page at a time."""
        offset: Any = None
        while True:
            limit = min(PAGE, self._info.max_limit)
            page, offset = self._call(
                "reading from", partial(_scroll, self._collection, limit, offset, only)
            )
            yield from ((self._parse_id(record.id), record.payload or {}) for record in page)
            if offset is None:
                return

    def index_field(self, name: str) -> None:
        """Create a keyword index on a payload field, where there is none."""
        if name not in self._info.indexed_fields:
            self._call("indexing a field of", partial(_index, self._collection, name))

    def count(self, only: Filter = Filter()) -> int:
        """The exact number of points that match the filter."""
        request = partial(_count, self._collection, only)
        return int(self._call("counting", request).count)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points; the deletion is applied when this returns."""
        if ids:
            request = partial(_delete, self._collection, list(map(str, ids)))
            self._call("deleting from", request)

    @contextmanager
    def bulk_load(self, count: int) -> Iterator[None]:
        """Switches the search graph off during a large first load and on again afterwards.

        The earlier setting is noted in the metadata, so that the run after a killed one restores
        it.
        """
        note = dict(self._info.note or {})
        if note.get("graph_links") is None and self._info.points == 0 and count > BULK:
            note["graph_links"] = self._info.graph_links or 16
            self._set_graph(0, note)
        try:
            yield
        finally:
            if note.get("graph_links") is not None:
                self._set_graph(note["graph_links"], {**note, "graph_links": None})

    def _set_graph(self, links: int, note: Mapping[str, object]) -> None:
        self._call(
            "setting the index of",
            lambda client: client.update_collection(
                self._collection,
                hnsw_config=models.HnswConfigDiff(m=links),
                metadata={METADATA_KEY: dict(note)},
            ),
        )

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()

    def _call(self, action: str, request: Any) -> Any:
        return self._connection.call(f"{action} '{self._collection}'", request)

    def _parse_id(self, name: object) -> uuid.UUID:
        try:
            return uuid.UUID(str(name))
        except ValueError:
            raise StoreError(
                f"{self.location} contains a point that clipindex did not write: {name}",
                hint="use a --collection that no other program writes to",
            ) from None


def _upsert(collection: str, records: list[models.PointStruct], client: QdrantClient) -> Any:
    return client.upsert(collection, points=records, wait=True)


def _retrieve(collection: str, ids: list[str], client: QdrantClient) -> Any:
    return client.retrieve(collection, ids=ids, with_payload=True, with_vectors=True)


def _groups(
    collection: str, vector: list[float], limit: int, only: Filter, client: QdrantClient
) -> Any:
    """One point of each content; the other copies are found by a scroll."""
    return client.query_points_groups(
        collection,
        group_by="sha256",
        query=vector,
        limit=limit,
        group_size=1,
        query_filter=rest_filter(only),
        with_payload=False,
    ).groups


def _scroll(collection: str, limit: int, offset: Any, only: Filter, client: QdrantClient) -> Any:
    return client.scroll(
        collection,
        limit=limit,
        offset=offset,
        scroll_filter=rest_filter(only),
        with_payload=True,
        with_vectors=False,
    )


def _count(collection: str, only: Filter, client: QdrantClient) -> Any:
    return client.count(collection, count_filter=rest_filter(only), exact=True)


def _index(collection: str, name: str, client: QdrantClient) -> Any:
    keyword = models.PayloadSchemaType.KEYWORD
    return client.create_payload_index(collection, name, field_schema=keyword, wait=True)


def _delete(collection: str, ids: list[Any], client: QdrantClient) -> Any:
    return client.delete(collection, points_selector=models.PointIdsList(points=ids), wait=True)


def rest_filter(only: Filter) -> models.Filter | None:
    """A filter as qdrant-client's model, None for the empty filter."""
    conditions = only.conditions()
    return None if conditions is None else models.Filter.model_validate(conditions)


def _equal_values(written: object, stored: object) -> bool:
    """Equal JSON values; floats up to a relative 1e-12."""
    if isinstance(written, dict) and isinstance(stored, dict):
        return written.keys() == stored.keys() and all(
            _equal_values(written[key], stored[key]) for key in written
        )
    if isinstance(written, list) and isinstance(stored, list):
        return len(written) == len(stored) and all(map(_equal_values, written, stored))
    if isinstance(written, float) and isinstance(stored, float | int):
        return abs(written - stored) <= 1e-12 * max(1.0, abs(written))
    return written == stored
