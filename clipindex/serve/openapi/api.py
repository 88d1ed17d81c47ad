"""GET /openapi.json."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex._version import __version__
from clipindex.serve.openapi.requests import PATHS
from clipindex.serve.openapi.schemas import SCHEMAS

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {
        "title": "clipindex",
        "version": __version__,
        "description": "Searches in an index of photographs, and embeddings by its model.",
    },
    "paths": PATHS,
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    },
    "security": [{}, {"token": []}],
}


def routes() -> list[Route]:
    """The description."""
    return [Route("/openapi.json", description, methods=["GET"])]


async def description(_: Request) -> Response:
    """What can be asked, for programs that read it."""
    return JSONResponse(DESCRIPTION)
