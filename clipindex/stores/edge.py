"""The embedded engine: Qdrant's own in a folder, through qdrant-edge-py.

It leaves four things to us. Its own lock is harmful (a refused second open breaks the first), so
the collection's lock is taken before any open. It stores NaN vectors silently, so vectors are
checked here. It dies of SIGBUS on a full disk, so free space is checked before each write. And
no process may fork while it is open.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clipindex.errors import ClipIndexError, DiskFull, StoreError
from clipindex.files.durable import MORE_ROOM, NO_ROOM, free_space
from clipindex.files.replacing import sync_tree
from clipindex.model.imports import guarded_import
from clipindex.stores import edge_search, new_shard
from clipindex.stores.address_space import check_address_space
from clipindex.stores.edge_filter import engine_filter
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind, labels_by_reading, values_by_reading
from clipindex.stores.lookup_sql import is_known
from clipindex.stores.payload import Payload
from clipindex.stores.points import (
    POINTS_AT_ONCE,
    Point,
    Reading,
    ScoredContent,
    Vector,
    check_unit_vectors,
)
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod
from clipindex.stores.shard_lookup import ShardLookup, stamp_of

with guarded_import():  # interrupted, the engine's own import panics
    import qdrant_edge

PAGE = 1000
HEADROOM = 256 << 20  # the engine grows its files 32 MiB at a time, several of them at once
BYTES_PER_POINT = 5_000  # on disk with the write-ahead log: 2.2 to 4.9 kB measured

if TYPE_CHECKING:
    from clipindex.stores.lookup import Lookup

T = TypeVar("T")

# Any: its stubs reject numpy vectors, which the engine takes, and mix all kinds of ids.
engine: Any = qdrant_edge


class EdgePoints:
    """One collection's shard, open in this process. The caller holds the collection's lock."""

    doubt = "suspect the disk"

    def __init__(
        self, folder: Path, dimension: int, *, make: bool = True, copy_of: Path | None = None
    ) -> None:
        """Open the shard in `folder`; with `make`, create it where there is none. A shard that is
        known to be new, and empty, is created anew, whatever an interruption left of it. What is
        only read may be a copy: `copy_of` is the path that messages name, and no room is needed.

        Raises StoreError when the engine fails, or the folder is somebody else's; DiskFull when
        there is no room to open it.
        """
        self.location = str(copy_of or folder)
        self._folder = folder
        self._dimension = dimension
        self._turn = threading.RLock()
        if copy_of is None:
            self._check_free_space(0)
        check_address_space(self.location)
        self._shard = self._try("be opened", lambda: self._open(make))
        self._lookup = ShardLookup(
            folder,
            stamp=lambda: stamp_of(self._try("be read", self._shard.snapshot_manifest)),
            points=self.scroll,
            indexed=lambda: self._indexed,
            may_make=copy_of in (None, folder),
        )

    def _open(self, make: bool) -> Any:
        if new_shard.is_new(self._folder):
            return self._create()
        if (self._folder / "edge_config.json").exists():
            return engine.EdgeShard.load(str(self._folder))
        if not make:  # a contract promises points: never delete what is left of them
            raise FileNotFoundError("its points, or edge_config.json among them, are missing")
        return self._create()

    def _create(self) -> Any:
        new_shard.prepare(self._folder)
        # Cold: vectors are read when searched. Otherwise each open reads all: 0.1 s for 100,000.
        vectors = engine.EdgeVectorParams(
            size=self._dimension, distance=engine.Distance.Cosine, memory=engine.Memory.Cold
        )
        shard = engine.EdgeShard.create(str(self._folder), engine.EdgeConfig(vectors=vectors))
        shard.flush()
        sync_tree(self._folder)  # it syncs only what it writes later
        return shard

    def turn(self) -> AbstractContextManager[object]:
        """A batch of the writer's, or one request of a reader's, at a time."""
        return self._turn

    def upsert(self, batch: Sequence[Point]) -> None:
        """Write points. Raises VerificationFailed for a vector that is not a unit vector, and
        DiskFull when free space is short; nothing is written then."""
        self._check_free_space(len(batch))
        check_unit_vectors(batch, self._dimension)
        self._try("be written", lambda: new_shard.begin_use(self._folder))
        self._try("be written", lambda: self._lookup.will_change(written=batch))
        self._drop_indexes()
        for start in range(0, len(batch), POINTS_AT_ONCE):
            records = [
                engine.Point(point.id, point.vector, dict(point.payload))
                for point in batch[start : start + POINTS_AT_ONCE]
            ]
            operation = engine.UpdateOperation.upsert_points(records)
            self._try("be written", partial(self._shard.update, operation))

    def flush(self) -> None:
        """fsync: a batch survives a power cut only after it."""
        self._try("be made durable", self._shard.flush)
        self._lookup.changed()

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """The existing points among `ids`."""
        records = self._try("be read", lambda: self._shard.retrieve(list(ids), True, True))
        return {
            record.id: Point(record.id, np.asarray(record.vector, np.float32), record.payload)
            for record in records
        }

    def readings(self) -> Iterator[Reading]:
        """One: what a shard says it says again."""
        yield self.retrieve

    def same(self, written: Point, stored: Point) -> bool:
        """Bit for bit: the engine keeps unit vectors unchanged."""
        return np.array_equal(written.vector, stored.vector) and written.payload == stored.payload

    def bulk_load(self, count: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Does nothing: the engine builds no index by itself."""
        return nullcontext()

    def search_method(
        self,
        accuracy: Accuracy,  # noqa: ARG002
        only: Filter = Filter(),  # noqa: ARG002
    ) -> SearchMethod:
        """Always exact."""
        return EXACT

    def search(
        self,
        vector: Vector,
        *,
        limit: int,
        only: Filter = Filter(),
        method: SearchMethod = EXACT,  # noqa: ARG002
    ) -> list[ScoredContent]:
        """Exact search: 7 ms at 100,000 points."""
        nearest = partial(self._nearest, vector)
        return self._lookup.use(only, partial(edge_search.search, nearest, limit, only))

    def _nearest(self, vector: Vector, limit: int, offset: int, only: Any, payload: Any) -> Any:
        request = engine.QueryRequest(
            limit=limit,
            offset=offset,
            query=engine.Query.Nearest(vector),
            filter=only,
            with_payload=payload,
            with_vector=False,
            params=engine.SearchParams(exact=True),
        )
        return self._try("be searched", partial(self._shard.query, request))

    def scroll(
        self, only: Filter = Filter(), start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Ids and payloads of all matching points, read a page at a time."""
        page, after = self.scroll_page(only, start)
        yield from page
        while after is not None:
            page, after = self.scroll_page(only, after)
            yield from page

    def scroll_page(
        self, only: Filter, after: uuid.UUID | None
    ) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
        """One page of a scroll, and where the next one begins; None: there is no next one."""
        return self._lookup.use(only, partial(self._page, only, after))

    def _page(
        self, only: Filter, after: uuid.UUID | None, lookup: Lookup | None
    ) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
        selected, left = edge_search.narrowed(only, lookup)
        request = engine.ScrollRequest(
            limit=PAGE, offset=after, filter=selected, with_payload=True, with_vector=False
        )
        records, following = self._try("be read", partial(self._shard.scroll, request))
        page = [(record.id, record.payload) for record in records]
        return edge_search.kept(page, left, lookup), following

    def index_field(self, name: str, kind: str = "keyword") -> None:
        """Does nothing: filters are answered by the lookup file."""

    @cached_property
    def _indexed(self) -> frozenset[str]:
        """The payload fields that the engine has an index of: an earlier clipindex made it."""
        return frozenset(self._try("be read", self._shard.info).payload_schema)

    def _drop_indexes(self) -> None:
        """The engine reads its indexes whole at each open, 0.15 s and 100 MB for 100,000 points;
        the lookup file answers without them."""
        if self._lookup.is_kept and self._indexed:
            for field in self._indexed:
                operation = engine.UpdateOperation.delete_field_index(field)
                self._try("be written", partial(self._shard.update, operation))
            del self._indexed

    def count(self, only: Filter = Filter()) -> int:
        """The exact number of points that match the filter."""
        return self._lookup.use(only, partial(self._counted, only))

    def _counted(self, only: Filter, lookup: Lookup | None) -> int:
        if lookup is not None and all(map(is_known, only.fields())):
            return lookup.count(only)
        request = engine.CountRequest(filter=engine_filter(only.conditions()))
        return int(self._try("be counted", partial(self._shard.count, request)))

    def labels(self) -> dict[str, Kind]:
        """By the lookup, or by reading all points."""
        read = partial(labels_by_reading, self.scroll())
        return self._lookup.use(None, lambda file: file.labels() if file else read())

    def values(self, field: str) -> dict[Value, int]:
        """By the lookup, or by reading all points."""
        read = partial(values_by_reading, self.scroll(), field)
        return self._lookup.use(None, lambda file: file.values(field) if file else read())

    def estimate(self) -> int:
        """The exact number of points."""
        return self.count()

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points."""
        self._try("be deleted from", lambda: self._lookup.will_change(deleted=ids))
        operation = engine.UpdateOperation.delete_points(list(ids))
        self._try("be deleted from", partial(self._shard.update, operation))

    def close(self) -> None:
        """Flush and release the files."""
        if self._lookup.is_behind:
            self.flush()
        self._lookup.close()
        self._try("be closed", self._shard.close)

    def _check_free_space(self, count: int) -> None:
        need = HEADROOM + 4 * BYTES_PER_POINT * count
        if (free := free_space(self._folder)) < need:
            raise DiskFull(
                f"{free >> 20} MiB are free where the collection lies, {need >> 20} are needed",
                path=self.location,
                hint=MORE_ROOM,
            )

    def _try(self, action: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClipIndexError:
            raise
        except BaseException as error:  # a panic of the engine is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            message = f"the collection cannot {action}: {str(error)[:300]}"
            if _tells_of_no_room(error):
                raise DiskFull(message, path=self.location, hint=MORE_ROOM) from error
            raise StoreError(
                message,
                path=self.location,
                hint="check the folder's permissions and the disk; restore a damaged collection "
                "from a backup, or ingest the pictures into a new --collection",
            ) from error


def _tells_of_no_room(error: BaseException) -> bool:
    """The engine's errors carry the system's only as text, in two spellings."""
    number = error.errno if isinstance(error, OSError) else None
    spellings = (form.format(code) for code in NO_ROOM for form in ("os error {})", "code: {},"))
    return number in NO_ROOM or any(spelling in str(error) for spelling in spellings)
