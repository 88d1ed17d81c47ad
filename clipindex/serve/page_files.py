"""The search page: plain files of this package, read once."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clipindex.serve.problems import Problem

INDEX, ICON = "index.html", "icon.svg"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file of the page, as it is and compressed."""

    media_type: str
    etag: str
    data: bytes
    compressed: bytes


def read_page() -> dict[str, PageFile]:
    """The files of the page by their names."""
    page = files("clipindex.serve") / "page"
    found = {entry.name: entry.read_bytes() for entry in page.iterdir()}
    return {
        name: PageFile(
            media_type=MEDIA_TYPES[PurePath(name).suffix],
            etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"',
            data=data,
            compressed=gzip.compress(data, mtime=0),
        )
        for name, data in found.items()
    }


def routes() -> list[Route]:
    """The page and its parts."""
    page = read_page()

    async def index(request: Request) -> Response:
        return _answer(request, page, INDEX)

    async def icon(request: Request) -> Response:
        return _answer(request, page, ICON)

    async def part(request: Request) -> Response:
        return _answer(request, page, request.path_params["name"])

    return [
        Route("/", index, methods=["GET"]),
        Route("/favicon.ico", icon, methods=["GET"]),
        Route("/static/{name}", part, methods=["GET"]),
    ]


def _answer(request: Request, page: Mapping[str, PageFile], name: str) -> Response:
    """A file. It is always asked for anew, so that a page never runs with parts of an earlier
    version; what has not changed is not sent again."""
    file = page.get(name)
    if file is None:
        raise Problem(404, "the page has no such file")
    headers = {"etag": file.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.data, headers=headers, media_type=file.media_type)
