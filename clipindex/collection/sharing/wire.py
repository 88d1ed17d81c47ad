"""What the holder of a collection and the processes that ask it say to one another.

One JSON object a line. Both sides begin with a greeting that names the protocol and the version
of clipindex; with another protocol they part. Then the asker sends requests, each of which gets
one answer. Vectors travel as base64 of little-endian float32.
"""

from __future__ import annotations

import base64
import json
import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from clipindex import errors
from clipindex._version import __version__
from clipindex.errors import ClipIndexError, StoreError
from clipindex.stores.filter import Filter, Near, Range, Value
from clipindex.stores.payload import Payload
from clipindex.stores.points import Point, Vector

PROTOCOL = 1
# What a holder can do beside what every version can. An older one would overlook conditions that
# it does not know, and answer as if they were not there.
FILTERS = "filters"
ABILITIES = (FILTERS,)
LONGEST_REQUEST = 16 << 20  # bytes; 250 ids have 10 kB, a vector 3 kB

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The other side went away, or sent what is not a message."""


class Channel:
    """A connected socket that carries messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")

    def send(self, message: Message, timeout: float) -> None:
        """Raises ChannelClosed, also when the other side takes nothing for `timeout` seconds."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout: float | None, longest: int = -1) -> Message:
        """The next message, of at most `longest` bytes. Raises TimeoutError, ChannelClosed."""
        try:
            self._socket.settimeout(timeout)
            line = self._file.readline(longest)
            if not line.endswith(b"\n"):
                raise ChannelClosed
            message = json.loads(line)
        except TimeoutError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise ChannelClosed from error
        if not isinstance(message, dict):
            raise ChannelClosed
        return message

    def shut(self) -> None:
        """Wake whoever waits on this channel, in whichever thread: it is over."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._file.close()
        self._socket.close()


def greeting(**more: str) -> Message:
    """The first message of either side."""
    return {"protocol": PROTOCOL, "clipindex": __version__, "can": ABILITIES, **more}


def filter_to(only: Filter) -> Message:
    """A filter as JSON."""
    return asdict(only)


def filter_from(message: Message) -> Filter:
    """Raises KeyError, TypeError or ValueError for what is not a filter. An earlier version sends
    only the first four kinds of conditions."""
    return Filter(
        equals=tuple((str(field), _value(value)) for field, value in message["equals"]),
        differs=tuple((str(field), _value(value)) for field, value in message["differs"]),
        among=tuple((str(field), tuple(map(str, some))) for field, some in message["among"]),
        outside=tuple((str(field), tuple(map(str, some))) for field, some in message["outside"]),
        ranges=tuple(map(_range, message.get("ranges", ()))),
        beyond=tuple(map(_range, message.get("beyond", ()))),
        near=tuple(map(_near, message.get("near", ()))),
        absent=tuple(map(str, message.get("absent", ()))),
    )


def _range(bounds: Message) -> Range:
    named = ((name, bounds[name]) for name in ("gte", "lte", "gt", "lt"))
    given = {name: _value(bound) for name, bound in named if bound is not None}
    return Range(field=str(bounds["field"]), **given)


def _near(circle: Message) -> Near:
    numbers = (float(circle[name]) for name in ("latitude", "longitude", "metres"))
    return Near(str(circle["field"]), *numbers)


def _value(value: object) -> Value:
    return value if isinstance(value, bool | int | float) else str(value)


def vector_to(vector: Vector) -> str:
    """A vector [dimension] float32 as text."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")


def vector_from(text: str) -> Vector:
    """Raises ValueError or TypeError for what is not a vector."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)


def points_to(points: Sequence[Point]) -> list[Any]:
    """Points as JSON."""
    return [[str(point.id), vector_to(point.vector), point.payload] for point in points]


def points_from(values: list[Any]) -> dict[uuid.UUID, Point]:
    """Points by id. Raises ValueError or TypeError for what is no list of them."""
    points = (Point(uuid.UUID(name), vector_from(text), payload) for name, text, payload in values)
    return {point.id: point for point in points}


def page_to(page: Sequence[tuple[uuid.UUID, Payload]], after: uuid.UUID | None) -> Message:
    """A page of a scroll and where the next one begins."""
    return {
        "page": [[str(name), payload] for name, payload in page],
        "next": None if after is None else str(after),
    }


def page_from(message: Message) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
    """Raises KeyError, ValueError or TypeError for what is no page."""
    page = [(uuid.UUID(name), dict(payload)) for name, payload in message["page"]]
    return page, None if message["next"] is None else uuid.UUID(message["next"])


def error_to(error: ClipIndexError) -> Message:
    """An error of the holder's as the answer to a request."""
    return {
        "error": error.kind,
        "message": error.message,
        "path": error.path,
        "hint": error.hint,
    }


def error_from(message: Message) -> ClipIndexError:
    """The same error, raised by the asker. Of a kind that it does not know: a StoreError."""
    kind = getattr(errors, str(message["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, ClipIndexError)):
        kind = StoreError
    return kind(
        str(message.get("message", "")),
        path=str(message.get("path", "")),
        hint=str(message.get("hint", "")),
    )
