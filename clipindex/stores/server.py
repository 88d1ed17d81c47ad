"""The server store: a collection of a Qdrant server or cluster, over REST.

What is acknowledged here was applied by the server (wait=true) and read back; keeping it through
a power cut is the server's own promise. The contract travels as the collection's metadata. The
door to qdrant-client, together with `connection` and `described`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
BULK = 100_000  # points of a first load from which on the graph is built once, at the end


class ServerPoints:
    """One collection of a server. Nothing is locked: ids are deterministic, writers converge."""

    def __init__(
        self,
        connection: Connection,
        collection: str,
        dimension: int,
        info: CollectionInfo | None = None,
    ) -> None:
        """Open an existing collection; `info` is its description where the caller has it.

        Raises StoreError when it is not, ContractMismatch when its vectors are other ones.
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
        self._described = info

    def index_missing_fields(self) -> None:
        """The payload indexes that every collection has; a strict server filters by no others."""
        for field in (*INDEXED_FIELDS, "source", "path"):
            if field not in self._described.indexed_fields:
                self.index_field(field)

    def upsert(self, points: Sequence[Point]) -> None:
        """Put points in, applied when this returns; each vector must be finite and of length 1."""
        check_unit_vectors(points, self._dimension)
        step = self._described.max_upsert
        for start in range(0, len(points), step):
            part = [
                models.PointStruct(id=str(p.id), vector=p.vector.tolist(), payload=dict(p.payload))
                for p in points[start : start + step]
            ]
            self._call("writing to", partial(_upsert, self._collection, part))

    def flush(self) -> None:
        """Nothing to do: each write has been applied; keeping it is the server's promise."""

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The points that are there among `ids`."""
        found: dict[uuid.UUID, Point] = {}
        for start in range(0, len(ids), POINTS_AT_ONCE):
            part = [str(id) for id in ids[start : start + POINTS_AT_ONCE]]
            for record in self._call("reading from", partial(_retrieve, self._collection, part)):
                id = self._id(record.id)
                found[id] = Point(id, np.asarray(record.vector, np.float32), record.payload or {})
        return found

    def same(self, mine: Point, theirs: Point) -> bool:
        """Equal up to what JSON and a server's own arithmetic may do to the last digits."""
        cosine = float(mine.vector.astype(np.float64) @ theirs.vector.astype(np.float64))
        return cosine >= SAME_COSINE and _alike(mine.payload, theirs.payload)

    def search(self, vector: Vector, *, limit: int, only: Filter = Filter()) -> list[ScoredContent]:
        """A large collection's index approximates. The server folds the copies; where there are
        many it gives up early, with too few groups: it is asked again without those found."""
        best: list[ScoredContent] = []
        while len(best) < limit:
            wanted = min(limit - len(best), self._described.max_limit)
            others = only.also_outside("sha256", [each.sha256 for each in best]) if best else only
            request = partial(_groups, self._collection, vector.tolist(), wanted, others)
            groups = self._call("searching", request)
            if not groups:
                break
            best += [ScoredContent(str(group.id), group.hits[0].score) for group in groups]
        return sorted(best, key=lambda found: -found.score)

    def scroll(self, only: Filter = Filter()) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Every point's id and payload, a page at a time."""
        offset: Any = None
        while True:
            limit = min(PAGE, self._described.max_limit)
            page, offset = self._call(
                "reading from", partial(_scroll, self._collection, limit, offset, only)
            )
            yield from ((self._id(record.id), record.payload or {}) for record in page)
            if offset is None:
                return

    def index_field(self, name: str) -> None:
        """A keyword index on a payload field."""
        if name not in self._described.indexed_fields:
            self._call("indexing a field of", partial(_index, self._collection, name))

    def count(self) -> int:
        """How many points there are, exactly."""
        return int(self._call("counting", lambda client: client.count(self._collection)).count)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Take points out, applied when this returns."""
        if ids:
            self._call("deleting from", partial(_delete, self._collection, [str(id) for id in ids]))

    @contextmanager
    def bulk_load(self, points: int) -> Iterator[None]:
        """Around a run that writes so many points: a large first load builds no graph on its way.

        What it was is noted in the metadata, so that a run after a killed one switches it on.
        """
        note = dict(self._described.note or {})
        if note.get("graph_links") is None and self._described.points == 0 and points > BULK:
            note["graph_links"] = self._described.graph_links or 16
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

    def _call(self, doing: str, request: Any) -> Any:
        return self._connection.call(f"{doing} '{self._collection}'", request)

    def _id(self, id: object) -> uuid.UUID:
        if isinstance(id, str):
            return uuid.UUID(id)
        raise StoreError(f"a point that clipindex did not write is in {self.location}: {id}")


def _upsert(collection: str, points: list[models.PointStruct], client: QdrantClient) -> Any:
    return client.upsert(collection, points=points, wait=True)


def _retrieve(collection: str, ids: list[str], client: QdrantClient) -> Any:
    return client.retrieve(collection, ids=ids, with_payload=True, with_vectors=True)


def _groups(
    collection: str, vector: list[float], limit: int, only: Filter, client: QdrantClient
) -> Any:
    """One point of each content: however many copies there are, a scroll finds them all."""
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


def _index(collection: str, name: str, client: QdrantClient) -> Any:
    keyword = models.PayloadSchemaType.KEYWORD
    return client.create_payload_index(collection, name, field_schema=keyword, wait=True)


def _delete(collection: str, ids: list[Any], client: QdrantClient) -> Any:
    return client.delete(collection, points_selector=models.PointIdsList(points=ids), wait=True)


def rest_filter(only: Filter) -> models.Filter | None:
    """A filter as qdrant-client sends it, None where it lets everything through."""
    conditions = only.conditions()
    return None if conditions is None else models.Filter.model_validate(conditions)


def _alike(mine: object, theirs: object) -> bool:
    """Equal, floats up to the last digits that JSON may cost."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(_alike(mine[k], theirs[k]) for k in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_alike, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, float | int):
        return abs(mine - theirs) <= 1e-12 * max(1.0, abs(mine))
    return mine == theirs
