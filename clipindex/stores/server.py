"""The points of a collection on a Qdrant server or cluster, over REST.

What is acknowledged was applied by the server (wait=true) and read back; whether it survives a
power cut depends on the server. The contract is stored as the collection's metadata.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from qdrant_client import models

from clipindex.errors import StoreError
from clipindex.stores import server_requests as requests
from clipindex.stores.connection import Connection
from clipindex.stores.filter import Filter
from clipindex.stores.payload import INDEXED_FIELDS, Payload
from clipindex.stores.points import Point, ScoredContent, Vector, check_unit_vectors
from clipindex.stores.server_collections import (
    METADATA_KEY,
    CollectionInfo,
    check_vectors,
    describe,
)
from clipindex.stores.server_limits import PAGE

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

    def upsert(self, batch: Sequence[Point]) -> None:
        """Write points; they are applied when this returns. Raises VerificationFailed for a
        vector that is not a unit vector; nothing is written then."""
        check_unit_vectors(batch, self._dimension)
        step = self._info.limits.upsert
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            self._call("writing to", partial(requests.upsert, self._collection, part))

    def flush(self) -> None:
        """Does nothing: each write was applied when it was acknowledged."""

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The existing points among `ids`."""
        points: dict[uuid.UUID, Point] = {}
        step = self._info.limits.retrieve
        for start in range(0, len(ids), step):
            request = partial(requests.retrieve, self._collection, ids[start : start + step])
            for record in self._call("reading from", request):
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
            missing = min(limit - len(best), self._info.limits.page)
            others = only.also_outside("sha256", [hit.sha256 for hit in best]) if best else only
            request = partial(requests.groups, self._collection, vector, missing, others)
            groups = self._call("searching", request)
            if not groups:
                break
            best += [ScoredContent(str(group.id), group.hits[0].score) for group in groups]
        return sorted(best, key=lambda hit: -hit.score)

    def scroll(self, only: Filter = Filter()) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of all matching points, read a page at a time."""
        for record in self._scroll(only, payload=True):
            yield self._parse_id(record.id), record.payload or {}

    def _scroll(self, only: Filter, *, payload: bool) -> Iterator[Any]:
        offset: Any = None
        while True:
            limit = min(PAGE, self._info.limits.page)
            page, offset = self._call(
                "reading from",
                partial(requests.scroll, self._collection, limit, offset, only, payload),
            )
            yield from page
            if offset is None:
                return

    def index_field(self, name: str) -> None:
        """Create a keyword index on a payload field, where there is none."""
        if name not in self._info.indexed_fields:
            self._call("indexing a field of", partial(requests.index, self._collection, name))

    def count(self, only: Filter = Filter()) -> int:
        """The exact number of points that match the filter. Where strict mode forbids exact
        requests, their ids are read instead: a request for every page."""
        if not self._info.limits.exact:
            return sum(1 for _ in self._scroll(only, payload=False))
        request = partial(requests.count, self._collection, only)
        return int(self._call("counting", request).count)

    def estimate(self) -> int:
        """About how many points there are, from the collection's description. The server does not
        count for it: what it deleted or wrote a moment ago may be missing."""
        info = describe(self._connection, self._collection)
        return 0 if info is None else info.points

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points; the deletion is applied when this returns."""
        if ids:
            request = partial(requests.delete, self._collection, ids)
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
