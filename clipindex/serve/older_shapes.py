"""Embeddings in the shapes that some clients of older services speak."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex.errors import FileFault
from clipindex.model.encoder import Embedding
from clipindex.search.embedding import Item
from clipindex.serve.embed_items import embed_items, unreadable
from clipindex.serve.inline_pictures import picture_in
from clipindex.serve.models import Served
from clipindex.serve.openai_shapes import checked_text, read_json
from clipindex.serve.problems import Problem
from clipindex.serve.service import service_of
from clipindex.serve.uploads import read_form

FILE = "file"


def routes() -> list[Route]:
    """Each answers with one vector, of the collection's own model."""
    return [
        Route("/embed/image", embed_image, methods=["POST"]),
        Route("/embed/text", embed_text, methods=["POST"]),
        Route("/embed-image", embed_file, methods=["POST"]),
    ]


async def embed_image(request: Request) -> Response:
    """`{"image": base64 or data URL}`."""
    errands = service_of(request).models.errands
    item = await errands.do(request, partial(_image, await request.body()))
    _, made = await _embedding(request, item)
    return _with_dimensions(made)


async def embed_text(request: Request) -> Response:
    """`{"text": words}`."""
    value = read_json(await request.body()).get("text")
    if value is None:
        raise Problem(400, "No text provided")
    _, made = await _embedding(request, Item(checked_text(value, "text"), name="text"))
    return _with_dimensions(made)


async def embed_file(request: Request) -> Response:
    """A form with the picture in the field `file`."""
    form = await read_form(request, most_files=1, most_fields=20)
    file = form.get(FILE)
    if not isinstance(file, UploadFile) or not (data := await file.read()):
        raise Problem(400, "No file provided")
    served, made = await _embedding(request, Item(picture=data, name=FILE))
    embedder = served.embedder
    answer = {"embedding": made.vector.tolist(), "model": served.name, "device": embedder.device}
    return JSONResponse(answer)


async def _embedding(request: Request, item: Item) -> tuple[Served, Embedding]:
    models = service_of(request).models
    served = await models.named()
    (made,) = await embed_items(request, models, served, [item])
    return served, made


def _image(body: bytes) -> Item:
    value: Any = read_json(body).get("image")
    if not value:
        raise Problem(400, "No image provided")
    if not isinstance(value, str):
        raise Problem(400, "'image' is no picture: send base64 or a data URL")
    try:
        return Item(picture=picture_in(value), name="image")
    except FileFault as fault:
        raise unreadable(fault, "image") from None


def _with_dimensions(made: Embedding) -> Response:
    return JSONResponse({"embedding": made.vector.tolist(), "dimensions": len(made.vector)})
