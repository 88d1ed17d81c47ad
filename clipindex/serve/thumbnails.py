"""Small versions of indexed pictures, made once and kept in the user's cache folder.

They are kept by the SHA-256 of a picture's bytes, so that copies share one, and a changed picture
never shows an old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clipindex.errors import FileFault
from clipindex.files.bounded_cache import BoundedCache
from clipindex.files.user_folders import cache_folder
from clipindex.pictures.thumbnails import thumbnail
from clipindex.search.indexed import IndexedPicture
from clipindex.serve.points_api import picture_content, visible_picture
from clipindex.serve.problems import Problem
from clipindex.serve.service import Service, service_of

SIDES = (160, 320, 640, 1280)  # pixels of the longer side; few, so that they are made once
SIDE = 320
MOST_BYTES = 2 << 30  # of all thumbnails: some 100,000 of 320 pixels
FOREVER = "private, max-age=31536000, immutable"  # the address names the content
LATEST = "private, no-cache"  # ask again: the file may have been indexed anew
PLACEHOLDER = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 320 240">'
    b'<rect width="320" height="240" fill="#8883"/>'
    b'<g fill="none" stroke="#888" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">'
    b'<rect x="134" y="98" width="52" height="44" rx="5"/><path d="M138 148l44-56"/></g></svg>'
)


@dataclass(slots=True)
class Thumbnails:
    """The thumbnails of a service; `making`: those that are made now, which others wait for."""

    making: dict[str, asyncio.Task[bytes]] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        """A thumbnail; in place of one that cannot be made, a neutral picture and the status that
        says why."""
        side = side_of(request.query_params.get("side", str(SIDE)))
        picture = await visible_picture(request)
        headers = _headers(picture, side, request.query_params.get("v", ""))
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        try:
            data = await self.of(service_of(request), picture, side)
        except Problem as problem:
            return _placeholder(problem.status)
        except FileFault:
            return _placeholder(422)
        return Response(data, media_type="image/jpeg", headers=headers)

    async def of(self, service: Service, picture: IndexedPicture, side: int) -> bytes:
        """The thumbnail of a picture as a JPEG, `side` one of SIDES. Raises Problem where the
        file is gone, FileFault where it cannot be decoded, QueueFull."""
        key = f"{picture.sha256}-{side}.jpg"
        data = await service.search(_cache_of(service).get, key)
        return data or await self._once(key, lambda: _made(service, picture, side, key))

    async def _once(self, key: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The thumbnail of `key`, made for all who ask meanwhile; whoever gives up stops no
        other."""
        task = self.making.get(key)
        if task is None:
            task = self.making[key] = asyncio.ensure_future(make())
            task.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(task)

    def _end(self, key: str, task: asyncio.Task[bytes]) -> None:
        del self.making[key]
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits any more


def routes() -> list[Route]:
    """The thumbnails."""
    return [Route("/thumb/{id}", Thumbnails().answer, methods=["GET"])]


async def _made(service: Service, picture: IndexedPicture, side: int, key: str) -> bytes:
    content = await picture_content(service, picture)

    def make() -> bytes:
        data = thumbnail(content.data, side)
        _cache_of(service).put(key, data)
        return data

    return await service.handle_picture(make)


def _cache_of(service: Service) -> BoundedCache:
    folder = service.options.thumbnails
    if folder is None and (caches := cache_folder()) is not None:
        folder = caches / "thumbnails"
    return BoundedCache(folder, MOST_BYTES)


def side_of(text: str) -> int:
    """The next larger of the sides that there are. Raises Problem for what is no number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text)):
        raise Problem(400, f"side is a number of pixels, not {text[:40]!r}")
    return next((side for side in SIDES if side >= int(text)), SIDES[-1])


def _headers(picture: IndexedPicture, side: int, version: str) -> dict[str, str]:
    is_named = len(version) >= 8 and picture.sha256.startswith(version)
    return {
        "etag": f'"{picture.sha256[:32]}-{side}"',
        "cache-control": FOREVER if is_named else LATEST,
    }


def _placeholder(status: int) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(PLACEHOLDER, status, headers, media_type="image/svg+xml")
