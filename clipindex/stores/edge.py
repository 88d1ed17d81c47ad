"""The embedded store: Qdrant's engine in a folder, through qdrant-edge-py.

What the engine does not do is done here or by the caller: it locks nothing that helps (a
refused second open breaks the first, so `lock` comes before any open), it keeps NaN vectors
without a word, and on a full disk it dies of SIGBUS, so room is asked for before each write.
Nothing may fork while it is open.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge

from clipindex.errors import DiskFull, StoreError
from clipindex.stores.filter import Conditions, Filter
from clipindex.stores.payload import INDEXED_FIELDS, Payload
from clipindex.stores.points import POINTS_AT_ONCE, Point, ScoredContent, Vector, check_unit_vectors

PAGE = 1000
FOLDED_AT_ONCE = 100  # points of a search's first page: most pictures have no copy
HEADROOM = 256 << 20  # the engine grows its files 32 MiB at a time, several of them at once
BYTES_PER_POINT = 5_000  # on disk with the write-ahead log: 2.2 to 4.9 kB measured

T = TypeVar("T")

# Its stub knows no numpy vectors (the engine takes them) and no ids but of every kind at once.
engine: Any = qdrant_edge


class EdgePoints:
    """One collection's shard, open in this process; the caller holds the collection's lock."""

    def __init__(self, folder: Path, dimension: int, *, make: bool = True) -> None:
        """Open the shard in `folder`; with `make`, make it where none is.

        Raises StoreError when the engine refuses, DiskFull when there is no room to open it.
        """
        self.location = str(folder)
        self._folder = folder
        self._dimension = dimension
        self._make = make
        self._ask_for_room(0)
        self._shard = self._try("be opened", lambda: self._open(folder, dimension))

    def _open(self, folder: Path, dimension: int) -> Any:
        if (folder / "edge_config.json").exists():
            return engine.EdgeShard.load(str(folder))
        if not self._make:  # a contract promises points: never sweep away what is left of them
            raise FileNotFoundError("its points, or edge_config.json among them, are missing")
        if folder.exists():  # a kill while it was being made: nothing can be in it yet
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Cold: read as they are searched. Else every open reads them all (0.1 s for 100,000).
        vectors = engine.EdgeVectorParams(
            size=dimension, distance=engine.Distance.Cosine, memory=engine.Memory.Cold
        )
        shard = engine.EdgeShard.create(str(folder), engine.EdgeConfig(vectors=vectors))
        for field in INDEXED_FIELDS:
            shard.update(_field_index(field))
        shard.flush()
        return shard

    def upsert(self, points: Sequence[Point]) -> None:
        """Put points in; each vector must be finite and of length 1."""
        self._ask_for_room(len(points))
        check_unit_vectors(points, self._dimension)
        for start in range(0, len(points), POINTS_AT_ONCE):
            part = [
                engine.Point(point.id, point.vector, dict(point.payload))
                for point in points[start : start + POINTS_AT_ONCE]
            ]
            operation = engine.UpdateOperation.upsert_points(part)
            self._try("be written", partial(self._shard.update, operation))

    def flush(self) -> None:
        """fsync: only after it does a batch survive a power cut."""
        self._try("be made durable", self._shard.flush)

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The points that are there among `ids`."""
        records = self._try("be read", lambda: self._shard.retrieve(list(ids), True, True))
        return {
            record.id: Point(record.id, np.asarray(record.vector, np.float32), record.payload)
            for record in records
        }

    def same(self, mine: Point, theirs: Point) -> bool:
        """Bit for bit: the engine keeps unit vectors untouched."""
        return np.array_equal(mine.vector, theirs.vector) and mine.payload == theirs.payload

    def bulk_load(self, points: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing to put off: the engine builds no index by itself."""
        return nullcontext()

    def search(self, vector: Vector, *, limit: int, only: Filter = Filter()) -> list[ScoredContent]:
        """Exact: 7 ms at 100,000 points. The engine has no grouping in Python: copies are folded
        here, page by page until there are enough contents."""
        best: dict[str, float] = {}
        offset, page = 0, max(limit, FOLDED_AT_ONCE)
        while len(best) < limit:
            found = self._nearest(vector, page, offset, only)
            for hit in found:
                best.setdefault(str(hit.payload["sha256"]), hit.score)
            if len(found) < page:
                break
            offset, page = offset + page, 2 * page
        return [ScoredContent(*each) for each in islice(best.items(), limit)]

    def _nearest(self, vector: Vector, limit: int, offset: int, only: Filter) -> Any:
        request = engine.QueryRequest(
            limit=limit,
            offset=offset,
            query=engine.Query.Nearest(vector),
            filter=engine_filter(only.conditions()),
            with_payload=["sha256"],
            with_vector=False,
            params=engine.SearchParams(exact=True),
        )
        return self._try("be searched", partial(self._shard.query, request))

    def scroll(self, only: Filter = Filter()) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Every point's id and payload, a page at a time."""
        offset = None
        while True:
            request = engine.ScrollRequest(
                limit=PAGE,
                offset=offset,
                filter=engine_filter(only.conditions()),
                with_payload=True,
                with_vector=False,
            )
            page, offset = self._try("be read", partial(self._shard.scroll, request))
            yield from ((record.id, record.payload) for record in page)
            if offset is None:
                return

    def index_field(self, name: str) -> None:
        """A keyword index on a payload field."""
        self._try("be written", partial(self._shard.update, _field_index(name)))

    def count(self) -> int:
        """How many points there are, exactly."""
        return int(self._try("be counted", lambda: self._shard.count(engine.CountRequest())))

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Take points out."""
        operation = engine.UpdateOperation.delete_points(list(ids))
        self._try("be deleted from", partial(self._shard.update, operation))

    def close(self) -> None:
        """Flush and release the files."""
        self._try("be closed", self._shard.close)

    def _ask_for_room(self, points: int) -> None:
        folder = self._folder
        while not folder.exists():
            folder = folder.parent
        free, need = shutil.disk_usage(folder).free, HEADROOM + 4 * BYTES_PER_POINT * points
        if free < need:
            raise DiskFull(
                f"{free >> 20} MiB are free where the collection lies, {need >> 20} are needed",
                path=str(self._folder),
                hint="make room and run the same command again; finished batches are safe",
            )

    def _try(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except BaseException as error:  # bare Exceptions, and panics that are not even those
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise StoreError(
                f"the collection cannot {what}: {str(error)[:300]}",
                path=str(self._folder),
                hint="check the folder's permissions and the disk; a damaged collection comes "
                "back from a backup, or from the pictures by ingesting into a new --collection",
            ) from error


def _field_index(name: str) -> Any:
    keyword = engine.PayloadSchemaType.Keyword
    return engine.UpdateOperation.create_field_index(name, keyword)


def engine_filter(conditions: Conditions | None) -> Any:
    """Qdrant's REST spelling of a filter as the engine's own. Raises KeyError or TypeError for
    what no filter of ours can say."""
    if not conditions:
        return None
    clauses = {name: [_condition(**each) for each in some] for name, some in conditions.items()}
    return engine.Filter(**clauses)


def _condition(key: str, match: Mapping[str, Any]) -> Any:
    ((kind, wanted),) = match.items()
    kinds = {"value": engine.MatchValue, "any": engine.MatchAny}
    return engine.FieldCondition(key, match=kinds[kind](wanted))
