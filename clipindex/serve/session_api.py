"""POST and DELETE /session: the page shows its token once, and gets a cookie for its pictures."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clipindex.serve.access import access_of
from clipindex.serve.guard.guard import Rules
from clipindex.serve.guard.sessions import LASTS


def routes() -> list[Route]:
    """The session of the page."""
    return [
        Route("/session", begin, methods=["POST"]),
        Route("/session", end, methods=["DELETE"]),
    ]


async def begin(request: Request) -> Response:
    """A session for whoever shows a token; 204, with a cookie that no script can read."""
    rules = _rules(request)
    answer = Response(status_code=204)
    if rules.tokens:
        answer.set_cookie(
            rules.cookie,
            rules.sessions.begin(access_of(request)),
            max_age=LASTS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


async def end(request: Request) -> Response:
    """The session is over."""
    rules = _rules(request)
    rules.sessions.end(rules.session_of(request.headers))
    answer = Response(status_code=204)
    answer.delete_cookie(rules.cookie, httponly=True, samesite="strict")
    return answer


def _rules(request: Request) -> Rules:
    rules = request.app.state.rules
    assert isinstance(rules, Rules)
    return rules
