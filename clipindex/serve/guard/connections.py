"""The connections of a service: how many there are, and how long one may take to say something.

uvicorn bounds neither a connection that sends no request, nor one that takes no answer.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from clipindex.serve.options import Limits

LEAST_IDLE = 0.5  # seconds, before a connection has to make room for another one
EVERY = 0.5  # seconds between two looks at all connections
CLOSING = 5.0  # seconds for a client to take the last of an answer


def _full() -> bytes:
    words = {"error": "too many connections", "hint": "try again in a second"}
    body = json.dumps(words).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


FULL = _full()


class Connections:
    """All connections of a service."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: set[Connection] = set()
        self._looking: asyncio.TimerHandle | None = None

    def protocol(self, **given: Any) -> asyncio.Protocol:
        """One more connection, for uvicorn."""
        return Connection(self, **given)

    def enter(self, connection: Connection) -> bool:
        """Whether there is room; where there is none, the one that was idle longest goes."""
        self._open.add(connection)
        if self._looking is None:
            self._look()
        if len(self._open) <= self.limits.connections:
            return True
        now = connection.loop.time()
        idle = [each for each in self._open if each.idle_for(now) >= LEAST_IDLE]
        if idle:
            max(idle, key=lambda each: each.idle_for(now)).abort()
        return bool(idle)

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)

    def _look(self) -> None:
        """Cut those that say nothing or take nothing; again and again while there are any."""
        self._looking = None
        for connection in list(self._open):
            connection.cut_if_late()
        if self._open:
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(EVERY, self._look)


class Connection(H11Protocol):
    """uvicorn's, with an eye on the time."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._connections = connections
        self._idle_since = self.loop.time()
        self._closing_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; one too many gets an answer and is closed."""
        super().connection_made(transport)
        if not self._connections.enter(self):
            transport.write(FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._connections.leave(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """As uvicorn's; from now on the connection is idle."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def idle_for(self, now: float) -> float:
        """Seconds without a request under way; one whose headers still arrive is none."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return now - self._idle_since if is_idle else 0.0

    def cut_if_late(self) -> None:
        """Close the connection where it has said or taken nothing for too long."""
        now, limits = self.loop.time(), self._connections.limits
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
        if self.idle_for(now) > limits.idle or (
            self._closing_since is not None and now - self._closing_since > CLOSING
        ):
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever the client has not taken yet."""
        self.transport.abort()
