"""The points of a collection on a Qdrant server or cluster, over REST.

What is acknowledged was applied by the server (wait=true) and read back; whether it survives a
power cut depends on the server. The contract is stored as the collection's metadata.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from clipindex.errors import ClipIndexWarning, StoreError
from clipindex.stores import server_requests as requests
from clipindex.stores.connection import Connection, RetryPolicy
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import LISTED, MOST_VALUES, Kind, is_label, values_by_reading
from clipindex.stores.payload import FILTERED_FIELDS, INDEXED_FIELDS, Payload
from clipindex.stores.points import (
    POINTS_AT_ONCE,
    Point,
    Reading,
    ScoredContent,
    Vector,
    check_unit_vectors,
)
from clipindex.stores.sameness import cosine_of, equal_values
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod
from clipindex.stores.server_bulk import bulk_load
from clipindex.stores.server_collections import (
    CollectionInfo,
    check_vectors,
    describe,
)
from clipindex.stores.server_filter import askable, in_sizes, is_allowed
from clipindex.stores.server_limits import PAGE
from clipindex.stores.server_requests import Record
from clipindex.stores.server_search import is_narrow, method_for, search_params, wants_exact
from clipindex.stores.server_sender import Sender

SAME_COSINE = 0.99999  # a server may normalise, or round on its way through a replica
REREAD_AFTER = (0.5, 2.0)  # seconds: a replica may be behind for a moment
INDEXED_FIRST = RetryPolicy(600, 1800.0)  # a write that waits for the server's optimizer


class ServerPoints:
    """One collection of a server. It takes no lock: ids are deterministic, so writers converge."""

    doubt = (
        "suspect a replica: the server lists their states under /collections/NAME/cluster, and "
        "its log says more"
    )

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
        self._connection, self._collection = connection, collection
        self._sender = Sender(connection, collection)
        self._dimension = dimension
        info = info or describe(connection, collection)
        if info is None:
            raise StoreError(
                f"there is no collection '{collection}' on {connection.url}", path=connection.url
            )
        check_vectors(info, connection, collection, dimension)
        self._info = info
        self._indexed = set(info.indexed_fields)
        self._lacks_index = False
        self._waits_for_index = False

    def index_missing_fields(self) -> None:
        """Create the payload indexes of every collection; a server in strict mode filters only by
        indexed fields."""
        for field in INDEXED_FIELDS:
            self.index_field(field)
        for field, kind in FILTERED_FIELDS.items() if self._info.limits.many_indexes else ():
            self.index_field(field, kind)

    def turn(self) -> AbstractContextManager[object]:
        """The server takes the turns."""
        return nullcontext()

    def upsert(self, batch: Sequence[Point]) -> None:
        """Write points; they are applied when this returns. Raises VerificationFailed for a
        vector that is not a unit vector; nothing is written then."""
        check_unit_vectors(batch, self._dimension)
        if self._info.defers and not self._waits_for_index:
            self._waits_for_index = True
            self._connection.wait_longer(INDEXED_FIRST)
            self._note("prevent_unoptimized is set: each batch waits until it is indexed")
        self._sender.in_parts(
            "writing to",
            lambda name, part, session: session.writes.upsert(name, part),
            batch,
            self._info.limits.upsert,
        )

    def flush(self) -> None:
        """Does nothing: each write was applied when it was acknowledged."""

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The existing points among `ids`."""
        pages = self._sender.in_parts(
            "reading from", requests.retrieve, ids, self._info.limits.retrieve
        )
        return self._points(record for page in pages for record in page)

    def readings(self) -> Iterator[Reading]:
        """The usual one, again after pauses, what most replicas agree on, and once more."""
        yield self.retrieve
        for pause in REREAD_AFTER:
            time.sleep(pause)
            yield self.retrieve
        yield self._agreed
        time.sleep(REREAD_AFTER[-1])
        yield self.retrieve

    def _agreed(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """None where a copy is away: agreement needs them all, and the server answers 500."""
        request = partial(requests.retrieve, self._collection, ids, agreed=True)
        return self._points(self._sender.call("reading from the replicas of", request, {500: ()}))

    def _points(self, page: Iterable[Record]) -> dict[uuid.UUID, Point]:
        return {
            (name := requests.parse_id(record.id, self.location)): Point(
                name, record.vector, record.payload
            )
            for record in page
        }

    def same(self, written: Point, stored: Point) -> bool:
        """Equal up to the last digits, which JSON and the server's arithmetic may change, and
        half floats, where the collection stores those."""
        is_near = cosine_of(written.vector, stored.vector) >= SAME_COSINE
        return is_near and equal_values(written.payload, stored.payload)

    def search_method(self, accuracy: Accuracy, only: Filter = Filter()) -> SearchMethod:
        """Exact up to EXACT_UP_TO points or for a narrow filter, else by the server's graph."""
        method = method_for(self._info, accuracy)
        if method == EXACT:
            return EXACT
        if wants_exact(self._info, accuracy):
            self._note("it forbids exact search: its index was asked, and may miss some")
        elif self._info.limits.exact and is_narrow(self._info, only, self.count):
            return EXACT
        return method

    def search(
        self,
        vector: Vector,
        *,
        limit: int,
        only: Filter = Filter(),
        method: SearchMethod = EXACT,
    ) -> list[ScoredContent]:
        """The server groups copies. Where there are many it returns too few groups, so it is
        asked again without those found."""
        best: dict[str, float] = {}
        for part in askable(only, self._info.limits, self._indexed):
            for content, score in self._search(vector, limit, part, method):
                best[content] = max(score, best.get(content, -1.0))
        ranked = sorted(best.items(), key=lambda hit: -hit[1])
        return [ScoredContent(content, score) for content, score in ranked[:limit]]

    def _search(
        self, vector: Vector, limit: int, only: Filter, method: SearchMethod
    ) -> Iterator[tuple[str, float]]:
        params = search_params(self._info, method)
        found: list[str] = []
        others = only
        while len(found) < limit:
            missing = min(limit - len(found), self._info.limits.page)
            request = partial(requests.groups, self._collection, vector, missing, others, params)
            groups = self._sender.call("searching", request)
            yield from groups
            found += [content for content, _ in groups]
            if not groups:
                break
            (others,) = in_sizes(only.also_outside("sha256", found), self._info.limits)
            if not is_allowed(others, self._info.limits):
                self._note(f"strict mode allows no longer filter: {len(found)} hits of {limit}")
                break

    def scroll(
        self, only: Filter = Filter(), start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of all matching points, read a page at a time."""
        for record in self._scroll(only, payload=True, start=start):
            yield requests.parse_id(record.id, self.location), record.payload

    def _scroll(
        self, only: Filter, *, payload: bool, start: uuid.UUID | None = None
    ) -> Iterator[Record]:
        """Every matching record once."""
        parts = askable(only, self._info.limits, self._indexed)
        seen: set[Any] = set()
        for part in parts:
            for record in self._pages(part, payload=payload, start=start):
                if len(parts) == 1:
                    yield record
                elif record.id not in seen:  # it may have several of the values
                    seen.add(record.id)
                    yield record

    def _pages(self, only: Filter, *, payload: bool, start: uuid.UUID | None) -> Iterator[Record]:
        offset: Any = None if start is None else str(start)
        while True:
            limit = min(PAGE, self._info.limits.page)
            page, offset = self._sender.call(
                "reading from",
                partial(requests.scroll, self._collection, limit, offset, only, payload),
            )
            yield from page
            if offset is None:
                return

    def index_field(self, name: str, kind: str = "keyword") -> None:
        """Create an index on a payload field, where there is none and the server allows one more;
        else a note says what follows."""
        if name in self._indexed:
            return
        most = self._info.limits.indexes
        if most is None or len(self._indexed) < most:
            self._sender.call(
                "indexing a field of",
                lambda session: session.writes.index(self._collection, name, kind),
            )
            self._indexed.add(name)
        elif not self._lacks_index:
            self._lacks_index = True
            effect = "are slower" if self._info.limits.unindexed else "are refused"
            self._note(f"strict mode allows {most} indexes: queries by '{name}' {effect}")

    def labels(self) -> dict[str, Kind]:
        """Every one has an index."""
        return {name: kind for name, kind in self._info.kinds.items() if is_label(name)}

    def values(self, field: str) -> dict[Value, int]:
        """By the field's index, the most frequent ones; by reading all points where it has none
        that lists them."""
        if self._info.kinds.get(field) not in LISTED:
            return values_by_reading(self.scroll(), field)
        request = partial(requests.facet, self._collection, field, MOST_VALUES)
        return dict(self._sender.call("listing values of", request))

    def count(self, only: Filter = Filter()) -> int:
        """The exact number of points that match the filter. Where strict mode forbids exact
        requests, their ids are read instead: a request for every page."""
        if not self._info.limits.exact:
            return sum(1 for _ in self._scroll(only, payload=False))
        return int(self._sender.call("counting", partial(requests.count, self._collection, only)))

    def estimate(self) -> int:
        """About how many points there are, from the collection's description. The server does not
        count for it: what it deleted or wrote a moment ago may be missing."""
        info = describe(self._connection, self._collection)
        return 0 if info is None else info.points

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points; the deletion is applied when this returns."""
        self._sender.in_parts(
            "deleting from",
            lambda name, part, session: session.writes.delete(name, part),
            ids,
            POINTS_AT_ONCE,
        )

    def bulk_load(self, count: int) -> AbstractContextManager[None]:
        """Switches the search graph off during a large first load and on again afterwards."""
        return bulk_load(self._connection, self._collection, self._info, count)

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()

    def _note(self, text: str) -> None:
        warnings.warn(f"{self.location}: {text}", ClipIndexWarning, stacklevel=3)
