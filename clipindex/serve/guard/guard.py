"""The guard: every request passes it, before anything looks at what it asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipindex.serve.access import Access
from clipindex.serve.guard.limits import Limited
from clipindex.serve.guard.origins import Origins
from clipindex.serve.guard.sessions import Sessions
from clipindex.serve.guard.tokens import Tokens, access_without_token
from clipindex.serve.journal import Done, Journal
from clipindex.serve.options import Limits
from clipindex.serve.problems import Problem

HEADERS = {  # of every answer, unless it has its own
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
# What shows nothing of the index: the page, which then asks for a token.
OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/favicon.ico"})
OPEN_BELOW = "/static/"
READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who is let in. `cookie`: the name of the session's cookie; `may_write`: whoever is let in
    without a token may write as well."""

    origins: Origins
    tokens: Tokens
    limits: Limits
    cookie: str
    may_write: bool = False
    sessions: Sessions = field(default_factory=Sessions)

    def access_for(self, method: str, path: str, headers: Mapping[str, str]) -> Access:
        """What the sender of a request may do. Raises Problem 401."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        access = access_without_token(self.tokens, may_write=self.may_write)
        if self.tokens and kind.lower() == "bearer":
            access = self.tokens.access_for(token.strip())
        elif self.tokens and method in READS:  # a cookie is sent by whatever makes the browser ask
            access = self.sessions.access_for(self.session_of(headers))
        if access is None and (path in OPEN or path.startswith(OPEN_BELOW)):
            return Access()
        if access is None:
            hint = "send the header: Authorization: Bearer TOKEN"
            raise Problem(401, "a token is needed", hint, {"www-authenticate": "Bearer"})
        return access

    def session_of(self, headers: Mapping[str, str]) -> str:
        """The session that a request's cookie names; empty for none."""
        return cookie_parser(headers.get("cookie", "")).get(self.cookie, "")


@dataclass(slots=True)
class Answer:
    """An answer on its way, with the headers that every one has."""

    send_on: Send
    status: int = 0  # 0: nothing was sent yet

    async def send(self, message: Message) -> None:
        """As ASGI's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self.send_on(message)


class Guard:
    """An application behind its rules."""

    def __init__(self, application: ASGIApp, rules: Rules, journal: Journal) -> None:
        self._application = Limited(application, rules.limits)
        self._rules = rules
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what an answer that has begun was broken off by: its connection is then cut."""
        if scope["type"] != "http":
            return
        start, answer = time.perf_counter(), Answer(send)
        try:
            self._let_in(scope)
            await self._application(scope, receive, answer.send)
        except Problem as problem:
            if answer.status:
                raise
            await problem.answer(scope["path"])(scope, receive, answer.send)
        except Exception as error:
            self._journal.failed(error)
            raise
        finally:
            seconds = time.perf_counter() - start
            self._journal.note(_done(scope, answer.status or 499, seconds))

    def _let_in(self, scope: Scope) -> None:
        method, path, headers = scope["method"], scope["path"], Headers(scope=scope)
        self._rules.origins.check(method, path, headers)
        access = self._rules.access_for(method, path, headers)
        scope.setdefault("state", {})["access"] = access


def _done(scope: Scope, status: int, seconds: float) -> Done:
    access = scope.get("state", {}).get("access", Access())
    return Done(
        method=scope["method"],
        route=route_of(scope),
        path=scope["path"],
        status=status,
        seconds=seconds,
        caller=access.name,
    )


def route_of(scope: Scope) -> str:
    """The route that a request took, as it is declared; `other` where there is none."""
    application = scope.get("app")
    endpoint = scope.get("endpoint")
    for route in application.routes if application is not None and endpoint is not None else ():
        if getattr(route, "endpoint", None) is endpoint:
            return str(route.path)
    return "other"
