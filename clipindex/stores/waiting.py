"""Waits for a server, reported while they last: to the terminal, a log, JSON lines.

A wait happens deep inside a request, where nobody can be returned an event. A front end therefore
names a listener around its work:

    with report_waits(view.show):
        index.query("a dog")
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from clipindex.errors import ClipIndexWarning


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request to a server failed in a way that may pass; it is sent again after `seconds`."""

    server: str  # its URL
    reason: str  # printable; completes "the server ..."
    seconds: float


Listener = Callable[[Waiting], object]


def _warn(waiting: Waiting) -> None:
    """The default listener: a warning, as Python programs expect of a library."""
    message = (
        f"the server {waiting.server} {waiting.reason}; trying again in {waiting.seconds:.0f} s"
    )
    warnings.warn(message, ClipIndexWarning, stacklevel=2)


_listener: ContextVar[Listener] = ContextVar("listener", default=_warn)


@contextmanager
def report_waits(listener: Listener) -> Iterator[None]:
    """Connections opened inside report their waits to `listener`, from whatever thread they are
    used. It is called before the wait begins; inside another call, the inner listener counts."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def current_listener() -> Listener:
    """The listener for a connection that is opened now."""
    return _listener.get()
