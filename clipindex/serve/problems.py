"""Errors as answers: a status and `{"error": words, "hint": words or null}`, never a traceback."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from clipindex.errors import (
    ClipIndexError,
    CollectionBusy,
    DiskFull,
    FileFault,
    OverBudget,
    Refused,
    StoreError,
    UsageError,
)
from clipindex.serve.threads import QueueFull

STATUSES: tuple[tuple[type[ClipIndexError], int], ...] = (  # the first that fits
    (UsageError, 400),
    (CollectionBusy, 503),
    (StoreError, 503),
    (DiskFull, 507),
    (Refused, 403),
    (ClipIndexError, 500),
)
LINGER = 1.0  # seconds
RETRY = {"retry-after": "1"}
USAGE, SERVER_ERROR = "invalid_request_error", "server_error"  # OpenAI's types of errors
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
OPTION = re.compile(r"--([a-z][a-z-]*)")


class LastAnswer(JSONResponse):
    """The answer to a request that is not read to its end. What still arrives is thrown away for
    a moment: a connection that is closed at once takes the answer with it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI's."""

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "more_body": True}
            await send(message)

        await super().__call__(scope, receive, send_open)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        parameter: str | None = None,
        code: str | None = None,
    ) -> None:
        """`parameter`: the one at fault; `code`: a name of the error for programs. Both are told
        in OpenAI's shape alone."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})
        self.parameter = parameter
        self.code = code

    def answer(self, path: str = "") -> JSONResponse:
        """The answer to a request for this path; below /v1/ in OpenAI's shape."""
        content: dict[str, Any] = {"error": self.message, "hint": self.hint or None}
        if path.startswith("/v1/"):
            content = {
                "error": {
                    "message": self.message + (f" ({self.hint})" if self.hint else ""),
                    "type": TYPES.get(self.status, SERVER_ERROR if self.status >= 500 else USAGE),
                    "param": self.parameter,
                    "code": self.code,
                }
            }
        kind = LastAnswer if self.headers.get("connection") == "close" else JSONResponse
        return kind(content, self.status, self.headers)


def check_parameters(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises Problem for a parameter that there is not."""
    names = sorted(known)
    if unknown := set(given).difference(names):
        name = min(unknown)
        close = get_close_matches(name, names, n=1)
        hint = f"is {close[0]} meant?" if close else f"there are {', '.join(names)}"
        raise Problem(400, f"there is no parameter {name[:40]!r}", hint, parameter=name[:40])


def problem_of(error: Exception) -> Problem:
    """Any error as a problem."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ClipIndexError):
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        retry = RETRY if status == 503 else None
        return Problem(status, _in_parameters(error.message), _in_parameters(error.hint), retry)
    if isinstance(error, OverBudget):
        return Problem(413, f"the picture is too large: {error.reason}")
    if isinstance(error, FileFault):
        return Problem(422, f"the picture cannot be read: {error.reason}")
    if isinstance(error, QueueFull):
        return Problem(503, "too many requests wait", "try again in a second", RETRY)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, headers=error.headers)
    return Problem(500, f"unexpected {type(error).__name__}", "the log of the service has more")


def _in_parameters(text: str) -> str:
    """Options named in a message, as the parameters of a request."""
    return OPTION.sub(lambda match: match[1].replace("-", "_"), text)


async def _answered(request: Request, error: Exception) -> JSONResponse:
    return problem_of(error).answer(request.url.path)


ANSWERED = (Problem, ClipIndexError, FileFault, QueueFull, HTTPException, Exception)
HANDLERS: Mapping[Any, Callable[..., Any]] = dict.fromkeys(ANSWERED, _answered)
