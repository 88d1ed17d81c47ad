"""The holder's side: threads that answer other processes from the points this one has open.

The engine keeps Python's interpreter lock in every call, so an answer waits for the writer's call
under way, and never sees half of one. `Points.turn` keeps whole batches apart as well: nobody is
shown a point that is not verified yet.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from socket import socket

from clipindex.collection.sharing import wire
from clipindex.collection.sharing.socket_file import Listener, is_allowed
from clipindex.collection.sharing.wire import Channel, ChannelClosed, Message
from clipindex.errors import ClipIndexError, StoreError
from clipindex.stores.points import PagedPoints

AT_ONCE = 64  # connections; more wait to be accepted
GREETING_PATIENCE = 5.0  # seconds for a process that connected to say who it is
SENDING_PATIENCE = 10.0  # seconds for it to take an answer
OPENING_PATIENCE = 60.0  # seconds that the engine may take to open before a request is refused
LINGER = 1.0  # seconds at the end for those who have asked
NEXT = 0.1  # seconds until the next request of a query that has had an answer
WAKE_UP = 0.5  # seconds; only where `Listener.stop` does not wake accept()


class Answering:
    """Answers on a socket until it is closed. Requests that come before the points are open wait
    for them."""

    def __init__(self, listener: Listener, purpose: str, hand_over: Callable[[], bool]) -> None:
        """`hand_over` is called when another process wants to write: whether this one is idle,
        and is about to free the lock."""
        self._listener = listener
        self._purpose = purpose
        self._hand_over = hand_over
        self._points: PagedPoints | None = None
        self._is_open = threading.Event()
        self._is_closing = self._is_over = False
        self._places = threading.Semaphore(AT_ONCE)
        self._state = threading.Condition()
        self._channels: dict[Channel, float] = {}  # when each may be cut off, by time.monotonic()
        self._accepting = threading.Thread(target=self._accept, name="answers", daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self._listener.path)

    @contextmanager
    def answering_from(self, points: PagedPoints) -> Iterator[None]:
        """Answer from these points; at the end, before they are closed, stop answering."""
        self._points = points
        self._is_open.set()
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Answer who has connected, within a second, and drop all connections: whoever has more
        to ask opens the collection itself, or asks the next holder."""
        if self._is_closing:
            return
        self._is_closing = True
        self._listener.stop()
        self._accepting.join(2 * WAKE_UP)
        self._is_open.set()  # whoever still waits for the points is let go
        deadline = time.monotonic() + LINGER
        with self._state:
            while (now := time.monotonic()) < min(
                deadline, max(self._channels.values(), default=0)
            ):
                self._state.wait(min(deadline, max(self._channels.values())) - now)
            self._is_over = True
            for channel in self._channels:
                channel.shut()
        self._listener.socket.close()

    def _busy_until(self) -> float:
        return max(self._channels.values(), default=0.0)

    def _accept(self) -> None:
        """Until nobody is left who had connected when `close` was called."""
        listener = self._listener.socket
        while True:
            try:
                listener.settimeout(0 if self._is_closing else WAKE_UP)
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:  # nobody is left, or the process has no descriptors left
                if self._is_closing:
                    return
                time.sleep(WAKE_UP)
                continue
            self._places.acquire()
            channel = Channel(connection)
            self._note(channel, math.inf)
            talk = threading.Thread(target=self._talk, args=(channel, connection), daemon=True)
            try:
                talk.start()
            except RuntimeError:  # no more threads, or no memory for one: refused as a busy one is
                self._end(channel)

    def _note(self, channel: Channel, until: float) -> None:
        with self._state:
            self._channels[channel] = until
            self._state.notify_all()

    def _talk(self, channel: Channel, connection: socket) -> None:
        """One connection, from greeting to end. Nothing that it says can end the run."""
        try:
            with suppress(ChannelClosed, TimeoutError):
                self._converse(channel, is_allowed(connection))
        finally:
            self._end(channel)

    def _end(self, channel: Channel) -> None:
        channel.close()
        with self._state:
            self._channels.pop(channel, None)
            self._state.notify_all()
        self._places.release()

    def _converse(self, channel: Channel, allowed: bool) -> None:
        greeting = channel.receive(GREETING_PATIENCE, wire.LONGEST_REQUEST)
        reply = wire.greeting(purpose=self._purpose)
        channel.send(reply if allowed else reply | {"forbidden": True}, SENDING_PATIENCE)
        if not allowed or greeting.get("protocol") != wire.PROTOCOL:
            return
        while not self._is_over:
            request = channel.receive(None, wire.LONGEST_REQUEST)
            self._note(channel, math.inf)
            channel.send(self._answer(request), SENDING_PATIENCE)
            self._note(channel, time.monotonic() + NEXT)

    def _answer(self, request: Message) -> Message:
        try:
            if request.get("ask") == "hand_over":
                return {"handed_over": self._hand_over()}
            if not self._is_open.wait(OPENING_PATIENCE) or self._points is None:
                raise ChannelClosed
            with self._points.turn():
                return ANSWERS[request["ask"]](self._points, request)
        except ClipIndexError as error:
            if self._is_over:  # the points may be closed already
                raise ChannelClosed from error
            return wire.error_to(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return wire.error_to(StoreError(f"no request that clipindex understands: {error!r}"))


def _search(points: PagedPoints, request: Message) -> Message:
    vector, only = wire.vector_from(request["vector"]), wire.filter_from(request["only"])
    contents = points.search(vector, limit=int(request["limit"]), only=only)
    return {"contents": [[content.sha256, content.score] for content in contents]}


def _scroll(points: PagedPoints, request: Message) -> Message:
    after = request["after"]
    start = None if after is None else uuid.UUID(after)
    return wire.page_to(*points.scroll_page(wire.filter_from(request["only"]), start))


def _retrieve(points: PagedPoints, request: Message) -> Message:
    stored = points.retrieve([uuid.UUID(name) for name in request["ids"]])
    return {"points": wire.points_to(list(stored.values()))}


def _count(points: PagedPoints, request: Message) -> Message:
    return {"count": points.count(wire.filter_from(request["only"]))}


def _labels(points: PagedPoints, request: Message) -> Message:  # noqa: ARG001
    return {"labels": points.labels()}


def _values(points: PagedPoints, request: Message) -> Message:
    return {"values": list(points.values(str(request["field"])).items())}


ANSWERS: Mapping[str, Callable[[PagedPoints, Message], Message]] = {
    "search": _search,
    "scroll": _scroll,
    "retrieve": _retrieve,
    "count": _count,
    "labels": _labels,
    "values": _values,
}
