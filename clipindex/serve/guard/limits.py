"""How long a request may take and how much it may bring."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipindex.serve.options import Limits
from clipindex.serve.problems import RETRY, Problem

CLOSE = {"connection": "close"}
BODIES = 8  # of the largest size, that are held at the same time


@dataclass(slots=True)
class Held:
    """Bytes of bodies in memory, of all requests together."""

    most: int
    now: int = 0


@dataclass(slots=True)
class Body:
    """The body of one request while it arrives."""

    limits: Limits
    held: Held
    receive: Receive
    size: int = 0
    is_complete: bool = False
    is_refused: bool = False  # what still arrives is thrown away

    async def next(self) -> Message:
        """The next piece. Raises Problem 413 or 503 once it is too much."""
        message = await self.receive()
        if message["type"] != "http.request" or self.is_refused:
            return message
        piece = len(message.get("body", b""))
        self.size += piece
        self.held.now += piece
        self.is_refused = self.size > self.limits.body or self.held.now > self.held.most
        if self.size > self.limits.body:
            raise too_large(self.limits.body)
        if self.is_refused:
            raise Problem(503, "too many large requests", "try again", {**RETRY, **CLOSE})
        self.is_complete = not message.get("more_body", False)
        return message


def too_large(most: int) -> Problem:
    """The answer to a body that is too large."""
    return Problem(
        413, f"the request is larger than {most >> 20} MiB", "send a smaller picture", CLOSE
    )


class Limited:
    """An application whose requests are bounded in size and time."""

    def __init__(self, application: ASGIApp, limits: Limits) -> None:
        self._application = application
        self._limits = limits
        self._held = Held(BODIES * limits.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Problem: 413 for too large a body, 408 for one that does not arrive, 503 where
        the answer takes too long."""
        limits = self._limits
        _check_announced(scope, limits.body)
        body = Body(limits, self._held, receive)
        try:
            async with asyncio.timeout(limits.seconds):
                await self._application(scope, body.next, send)
        except TimeoutError:
            raise self._late(body) from None
        finally:
            self._held.now -= body.size

    def _late(self, body: Body) -> Problem:
        if not body.is_complete:
            return Problem(408, "the request did not arrive in time", headers=CLOSE)
        seconds = f"{self._limits.seconds:g} s"
        return Problem(503, f"the answer took longer than {seconds}", headers={**RETRY, **CLOSE})


def _check_announced(scope: Scope, most: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > most):
            raise too_large(most)
