"""Single pictures by their ids, and what there is to filter by."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex.errors import FileFault, UsageError
from clipindex.pictures.content import Content
from clipindex.pictures.thumbnails import thumbnail
from clipindex.search.indexed import IndexedPicture, content_of
from clipindex.search.scoped import Scope
from clipindex.search.similar import id_of
from clipindex.serve.access import access_of
from clipindex.serve.pictures_json import indexed_json
from clipindex.serve.problems import Problem
from clipindex.serve.service import Service, service_of

MEDIA_TYPES = {  # what browsers show as it is
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}

NO_PICTURE = "no picture has this id"
LARGEST_SHOWN = 2048  # pixels of the longer side


def routes() -> list[Route]:
    """Pictures and facets."""
    return [
        Route("/points/{id}", point, methods=["GET"]),
        Route("/original/{id}", original, methods=["GET"]),
        Route("/facets", facets, methods=["GET"]),
    ]


async def visible_picture(request: Request) -> IndexedPicture:
    """The picture that the path of a request names, if its sender may see it. Raises Problem 404:
    what may not be seen is said not to be there."""
    scope = access_of(request).scope
    return await picture_named(service_of(request), request.path_params["id"], scope)


async def picture_named(service: Service, text: str, scope: Scope = ()) -> IndexedPicture:
    """The picture of an id, within a scope. Raises Problem 404, also for what is no id."""
    try:
        picture = await service.search(service.index.picture, id_of(text), scope)
    except UsageError:
        raise Problem(404, NO_PICTURE) from None
    if picture is None:
        raise Problem(404, NO_PICTURE)
    return picture


async def picture_content(service: Service, picture: IndexedPicture) -> Content:
    """The bytes that were indexed, read from the file now. Raises Problem where they are gone."""
    own = service.index.place.source
    if picture.payload.get("source") not in (None, own):
        raise Problem(404, "the file is on another machine", f"its source is not '{own}'")
    try:
        return await service.handle_picture(content_of, picture)
    except FileFault as fault:
        raise Problem(410, f"the file cannot be shown: {fault.reason}") from None


async def point(request: Request) -> Response:
    """One picture, and all that is stored of it."""
    return JSONResponse(indexed_json(await visible_picture(request)))


async def original(request: Request) -> Response:
    """The picture's own bytes, as they were indexed; of a format that browsers do not show, a
    JPEG of up to LARGEST_SHOWN pixels."""
    picture = await visible_picture(request)
    headers = {"etag": f'"{picture.sha256}"', "cache-control": "private, max-age=86400"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    content = await picture_content(service_of(request), picture)
    media = MEDIA_TYPES.get(str(picture.payload.get("format")))
    if media is not None:
        return Response(content.data, media_type=media, headers=headers)
    shown = await service_of(request).handle_picture(thumbnail, content.data, LARGEST_SHOWN)
    return Response(shown, media_type="image/jpeg", headers=headers)


async def facets(request: Request) -> Response:
    """What there is to filter by."""
    service, scope = service_of(request), access_of(request).scope
    answer = await service.facets.of(scope, lambda: service.search(_facets, service, scope))
    return JSONResponse(answer)


def _facets(service: Service, scope: Scope) -> dict[str, Any]:
    located = service.index.place.locate()
    facets = service.index.facets(scope)
    return {
        "collection": located.place.collection,
        "points": facets.points,
        "model": located.require().contract.model,
        "tags": facets.keys,
        "cameras": facets.cameras,
        "types": facets.formats,
        "folders": facets.folders,
        "taken": facets.taken,
    }
