"""Work of many requests, done in batches by a few threads, each request in its turn.

A request with a thousand pictures does not hold up one with a single picture: from each request
that waits one piece is taken, then the next. A piece whose sender is gone is left out.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

WAIT = 0.003  # seconds that a batch waits for pieces that are on their way to it
REST = 30.0  # seconds without work after which a thread ends


@dataclass(frozen=True, slots=True, eq=False)
class _Piece(Generic[Given, Made]):
    """One piece of work, and the request that it belongs to."""

    owner: object
    given: Given
    made: Future[Made] = field(default_factory=Future)


class Lane(Generic[Given, Made]):
    """A queue and the threads that work on it, which come with the work and go after it."""

    def __init__(
        self,
        work: Callable[[Sequence[Given]], Sequence[Made]],
        *,
        name: str,
        threads: int = 1,
        batch: int = 1,
        most_of_one: int | None = None,
    ) -> None:
        """`work` makes a result for each piece, on several threads at once. At most `most_of_one`
        pieces of a request are worked on at a time, so that a thread is left for the others."""
        self._work = work
        self._name = name
        self._threads = threads
        self._batch = batch
        self._most_of_one = most_of_one or threads * batch
        self._waiting: OrderedDict[object, deque[_Piece[Given, Made]]] = OrderedDict()
        self._size = 0
        self._coming = 0
        self._idle = 0
        self._running = 0
        self._in_hand: Counter[object] = Counter()
        self._changed = threading.Condition()
        self._is_closed = False

    async def do(self, owner: object, given: Given) -> Made:
        """The result of one piece of work of the request `owner`. Raises what the work raises;
        whoever is cancelled meanwhile takes the piece out of the queue."""
        return await asyncio.wrap_future(self._put(_Piece(owner, given)))

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While it lasts, a piece is on its way: a batch that is not full may wait for it."""
        self._count_coming(1)
        try:
            yield
        finally:
            self._count_coming(-1)

    def close(self) -> None:
        """Drop what waits, and end the threads once they are done with what they have in hand."""
        with self._changed:
            self._is_closed = True
            pieces = [piece for queue in self._waiting.values() for piece in queue]
            self._waiting.clear()
            self._size = 0
            self._changed.notify_all()
        for piece in pieces:
            piece.made.cancel()

    def _count_coming(self, change: int) -> None:
        with self._changed:
            self._coming += change
            if not self._coming:
                self._changed.notify_all()

    def _put(self, piece: _Piece[Given, Made]) -> Future[Made]:
        with self._changed:
            if self._is_closed:
                piece.made.cancel()
                return piece.made
            if self._idle <= self._size and self._running < self._threads:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._running += 1  # only now: starting may fail
            self._waiting.setdefault(piece.owner, deque()).append(piece)
            self._size += 1
            self._changed.notify_all()
        return piece.made

    def _run(self) -> None:
        while (pieces := self._next()) is not None:
            self._do(pieces)
            with self._changed:
                for piece in pieces:
                    self._in_hand[piece.owner] -= 1
                self._in_hand += Counter()  # forgets requests with none
                self._changed.notify_all()

    def _do(self, pieces: Sequence[_Piece[Given, Made]]) -> None:
        """A batch that fails is done again piece by piece: the error goes to whose fault it is."""
        try:
            made = self._work([piece.given for piece in pieces])
        except Exception as error:
            if len(pieces) == 1:
                pieces[0].made.set_exception(error)
                return
            for piece in pieces:
                self._do([piece])
            return
        for piece, result in zip(pieces, made, strict=True):
            piece.made.set_result(result)

    def _next(self) -> list[_Piece[Given, Made]] | None:
        """The next batch, once there is one; None when the thread has nothing more to do."""
        with self._changed:
            self._idle += 1
            try:
                has_rested = False
                while not self._is_closed:
                    self._wait_for_more()
                    if pieces := self._taken():
                        self._changed.notify_all()  # of what it left
                        return pieces
                    if has_rested and not self._size:
                        break
                    has_rested = not self._changed.wait(REST)
                self._running -= 1
                return None
            finally:
                self._idle -= 1

    def _wait_for_more(self) -> None:
        """Wait a moment where a batch is not full, and pieces for it are on their way."""
        until = time.monotonic() + WAIT
        while 0 < self._size < self._batch and self._coming and not self._is_closed:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _taken(self) -> list[_Piece[Given, Made]]:
        """A batch: in turn one piece of each request. What waits is shared among the threads that
        have nothing to do."""
        free = self._idle + self._threads - self._running
        most = min(self._batch, -(-self._size // free))
        pieces: list[_Piece[Given, Made]] = []
        while len(pieces) < most and (piece := self._first()) is not None:
            if piece.made.set_running_or_notify_cancel():
                pieces.append(piece)
                self._in_hand[piece.owner] += 1
        return pieces

    def _first(self) -> _Piece[Given, Made] | None:
        """The piece whose turn it is, taken out of its queue, which goes to the end."""
        for owner, queue in self._waiting.items():
            if self._in_hand[owner] >= self._most_of_one:
                continue
            piece = queue.popleft()
            self._size -= 1
            if queue:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            return piece
        return None
