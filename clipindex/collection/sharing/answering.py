"""The holder's side: threads that answer other processes from the points this one has open.

The engine keeps Python's interpreter lock in every call, so an answer waits for the writer's call
under way, and never sees half of one. `Points.turn` keeps whole batches apart as well: nobody is
shown a point that is not verified yet.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
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
LINGER = 2.0  # seconds at the end for the requests in hand
WAKE_UP = 0.5  # seconds; only where a socket's shutdown does not wake accept()


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
        self._is_closing = False
        self._places = threading.Semaphore(AT_ONCE)
        self._state = threading.Condition()
        self._channels: set[Channel] = set()
        self._in_hand = 0
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
        """Finish the requests in hand, within two seconds, and drop all connections: whoever
        asked opens the collection itself, or asks the next holder."""
        if self._is_closing:
            return
        self._is_closing = True
        self._listener.close()
        self._is_open.set()  # whoever still waits for the points is let go
        with self._state:
            self._state.wait_for(lambda: not self._in_hand, LINGER)
            for channel in self._channels:
                channel.shut()
        self._accepting.join(2 * WAKE_UP)

    def _accept(self) -> None:
        with suppress(OSError):
            self._listener.socket.settimeout(WAKE_UP)
        while not self._is_closing:
            try:
                connection, _ = self._listener.socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._places.acquire()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket) -> None:
        """One connection, from greeting to end. Nothing that it says can end the run."""
        try:
            with closing(Channel(connection)) as channel, suppress(ChannelClosed, TimeoutError):
                with self._state:
                    self._channels.add(channel)
                try:
                    self._converse(channel, is_allowed(connection))
                finally:
                    with self._state:
                        self._channels.discard(channel)
        finally:
            self._places.release()

    def _converse(self, channel: Channel, allowed: bool) -> None:
        greeting = channel.receive(GREETING_PATIENCE, wire.LONGEST_REQUEST)
        reply = wire.greeting(purpose=self._purpose)
        channel.send(reply if allowed else reply | {"forbidden": True}, SENDING_PATIENCE)
        if not allowed or greeting.get("protocol") != wire.PROTOCOL:
            return
        while not self._is_closing:
            request = channel.receive(None, wire.LONGEST_REQUEST)
            with self._state:
                self._in_hand += 1
            try:
                channel.send(self._answer(request), SENDING_PATIENCE)
            finally:
                with self._state:
                    self._in_hand -= 1
                    self._state.notify_all()

    def _answer(self, request: Message) -> Message:
        try:
            if request.get("ask") == "hand_over":
                return {"handed_over": self._hand_over()}
            if not self._is_open.wait(OPENING_PATIENCE) or self._points is None:
                raise ChannelClosed
            with self._points.turn():
                return ANSWERS[request["ask"]](self._points, request)
        except ClipIndexError as error:
            if self._is_closing:  # the points may be closed already
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


ANSWERS: Mapping[str, Callable[[PagedPoints, Message], Message]] = {
    "search": _search,
    "scroll": _scroll,
    "retrieve": _retrieve,
    "count": _count,
}
