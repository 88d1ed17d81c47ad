"""Reading a collection, whoever holds it: opened by this process, or through its holder."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from clipindex.collection.lock import PATIENCE, POLL, QUERY, LockFile, busy, holder_of
from clipindex.collection.sharing.asking import AskedPoints, NoAnswer
from clipindex.collection.sharing.hold import answering
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind
from clipindex.stores.payload import Payload
from clipindex.stores.points import PagedPoints, Point, ScoredContent, Vector
from clipindex.stores.search_method import EXACT, Accuracy, SearchMethod

BUSY_PATIENCE = 0.8  # seconds: where nobody answers, a query says "busy" within a second
READER_PATIENCE = 10.0  # seconds a query waits for its turn behind other queries
GRACE = 1.0  # seconds after a hand-over in which the lock is left to the writer that asked

T = TypeVar("T")


class Source(Protocol):
    """Where a reader gets its points from: the engine or `AskedPoints`."""

    def search(self, vector: Vector, *, limit: int, only: Filter = ...) -> list[ScoredContent]: ...
    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]: ...
    def count(self, only: Filter = ...) -> int: ...
    def labels(self) -> dict[str, Kind]: ...
    def values(self, field: str) -> dict[Value, int]: ...
    def scroll_page(
        self, only: Filter, after: uuid.UUID | None
    ) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A collection as a reader sees it."""

    lock: Path
    location: str
    check: Callable[[], None]  # raises where it is no longer the collection that was meant
    opened: Callable[[bool], AbstractContextManager[PagedPoints]]  # called with `LockFile.alone`


class Reader:
    """The points of an embedded collection for reading; any number of threads may call.

    A reader holds the lock itself, or asks the process that does. When that one ends, even in
    the middle of a request, the reader takes the lock or asks the next one.
    """

    def __init__(self, collection: Readable, purpose: str, *, keeps: bool) -> None:
        """`keeps`: it may stay open for long between requests, and then hands the lock over to a
        writer."""
        self.location = collection.location
        self._collection = collection
        self._purpose = purpose
        self._keeps = keeps
        self._turn = threading.RLock()
        self._source: Source | None = None
        self._resources = ExitStack()
        self._is_ended = False
        self._is_reachable = False  # others can ask this process, or it asks another
        self._handed_over = -GRACE

    def begin(self) -> None:
        """Take the lock or find who answers. Raises CollectionBusy where neither succeeds, and as
        the engine does."""
        with self._turn:
            self._ready()

    def close(self) -> None:
        """Free the lock, or hang up. A later request opens the collection again."""
        with self._turn:
            self._source = None
            self._resources.close()

    def end(self) -> None:
        """`close`, and stay closed but for the requests of threads that still have this reader."""
        with self._turn:
            self._is_ended = True
            self.close()

    def search_method(
        self,
        accuracy: Accuracy,  # noqa: ARG002
        only: Filter = Filter(),  # noqa: ARG002
    ) -> SearchMethod:
        """The embedded engine compares every vector."""
        return EXACT

    def search(
        self,
        vector: Vector,
        *,
        limit: int,
        only: Filter = Filter(),
        method: SearchMethod = EXACT,  # noqa: ARG002
    ) -> list[ScoredContent]:
        """As `Points.search`."""
        return self._use(lambda points: points.search(vector, limit=limit, only=only))

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """As `Points.retrieve`."""
        return self._use(lambda points: points.retrieve(ids))

    def count(self, only: Filter = Filter()) -> int:
        """As `Points.count`."""
        return self._use(lambda points: points.count(only))

    def labels(self) -> dict[str, Kind]:
        """As `Points.labels`."""
        return self._use(lambda points: points.labels())

    def values(self, field: str) -> dict[Value, int]:
        """As `Points.values`."""
        return self._use(lambda points: points.values(field))

    def estimate(self) -> int:
        """The exact number of points."""
        return self.count()

    def scroll(
        self, only: Filter = Filter(), start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """As `Points.scroll`. A run that writes meanwhile is seen in the pages still to come."""
        after = start
        while True:
            page, after = self._use(partial(_page, only, after))
            yield from page
            if after is None:
                return

    def _use(self, request: Callable[[Source], T]) -> T:
        with self._turn:
            deadline = time.monotonic() + READER_PATIENCE
            while True:
                try:
                    return request(self._ready())
                except NoAnswer as silence:
                    self.close()
                    if not silence.passing or time.monotonic() > deadline:
                        raise busy(self._collection.lock, silence.reason, silence.hint) from None
                finally:
                    if self._is_ended or (self._keeps and not self._is_reachable):
                        self.close()  # a writer could not ask for it

    def _ready(self) -> Source:
        if self._source is None:
            with ExitStack() as resources:
                self._source = self._find_source(resources)
                self._resources = resources.pop_all()
        return self._source

    def _find_source(self, resources: ExitStack) -> Source:
        """Whatever comes first: the lock is free, or its holder answers."""
        lock = self._collection.lock
        file = resources.enter_context(closing(LockFile(lock, reading=True)))
        start = time.monotonic()
        deadline = start + (BUSY_PATIENCE if self._purpose == QUERY else PATIENCE)
        while True:
            if time.monotonic() >= self._handed_over + GRACE and file.try_to_take():
                return self._own(file, resources)
            note = holder_of(lock)
            try:
                asked = resources.enter_context(closing(AskedPoints(lock, note)))
            except NoAnswer as silence:
                now = time.monotonic()
                if note is not None and note.purpose == QUERY:  # its turn will come
                    deadline = max(deadline, min(start + READER_PATIENCE, now + BUSY_PATIENCE))
                if not silence.passing or now > deadline:
                    raise busy(lock, silence.reason, silence.hint) from None
            else:
                file.close()
                self._collection.check()
                self._is_reachable = True
                return asked
            time.sleep(POLL)

    def _own(self, file: LockFile, resources: ExitStack) -> PagedPoints:
        """The points, opened by this process, which has the lock."""
        answers = None
        if file.alone:
            folder = self._collection.lock.parent
            answers = resources.enter_context(answering(folder, self._purpose, self._hand_over))
        self._is_reachable = answers is not None
        file.sign(self._purpose, None if answers is None else answers.address)
        self._collection.check()
        points = resources.enter_context(self._collection.opened(file.alone))
        if answers is not None:
            resources.enter_context(answers.answering_from(points))
        return points

    def _hand_over(self) -> bool:
        """Called by a thread that answers: a writer asks for the lock."""
        if self._keeps:
            threading.Thread(target=self._release, daemon=True).start()
        return self._keeps

    def _release(self) -> None:
        with self._turn:
            self._handed_over = time.monotonic()
            self.close()


def _page(
    only: Filter, after: uuid.UUID | None, points: Source
) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
    return points.scroll_page(only, after)
