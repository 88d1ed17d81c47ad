"""The search page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>clipindex</title>
<form action="/search"><input name="q" aria-label="Search"><button>Search</button></form>
</html>
"""


def routes() -> list[Route]:
    """The page."""
    return [Route("/", page, methods=["GET"])]


async def page(_: Request) -> Response:
    """The page itself."""
    return HTMLResponse(PAGE)
