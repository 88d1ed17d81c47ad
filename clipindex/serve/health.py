"""Whether the service runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex._version import __version__


def routes() -> list[Route]:
    """For whoever watches the service."""
    return [Route("/healthz", alive, methods=["GET"])]


async def alive(_: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok", "version": __version__})
