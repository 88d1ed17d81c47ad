"""Embeddings of texts and pictures by the model that made the index, and by others beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex.serve import older_shapes, openai_shapes
from clipindex.serve.embed_items import embed_items
from clipindex.serve.openai_shapes import Asked, described
from clipindex.serve.service import service_of


def routes() -> list[Route]:
    """The embeddings, in OpenAI's shape and in older ones."""
    return [
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/embeddings/multimodal", multimodal, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", model, methods=["GET"]),
        *older_shapes.routes(),
    ]


async def embeddings(request: Request) -> Response:
    """One vector for each input: a text, a picture, or both."""
    return await _embeddings(request, openai_shapes.asked_for_inputs)


async def multimodal(request: Request) -> Response:
    """One vector of a text, a picture, or both."""
    return await _embeddings(request, openai_shapes.asked_for_parts)


async def _embeddings(request: Request, read: Callable[[bytes], Asked]) -> Response:
    """Both ways through JSON are long where there are many pictures or numbers, so that a thread
    goes them."""
    models = service_of(request).models
    asked: Asked = await models.errands.do(request, partial(read, await request.body()))
    served = await models.named(asked.model)
    pooling = asked.pooling_of(served)
    made = await embed_items(request, models, served, asked.items, pooling)
    answer = partial(openai_shapes.answer, asked, served, pooling, made)
    return Response(await models.errands.do(request, answer), media_type="application/json")


async def models(request: Request) -> Response:
    """The models that are loaded."""
    models = service_of(request).models
    data = [described(served, models.since) for served in await models.all()]
    return JSONResponse({"object": "list", "data": data})


async def model(request: Request) -> Response:
    """One of them, by any of its names."""
    models = service_of(request).models
    served = await models.named(request.path_params["name"])
    return JSONResponse(described(served, models.since))
