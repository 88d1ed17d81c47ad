"""The service as one application: the routes of all modules."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from clipindex.serve import (
    embeddings_api,
    health,
    index_api,
    page_files,
    points_api,
    search_api,
    session_api,
    thumbnails,
)
from clipindex.serve.guard.guard import Guard, Rules
from clipindex.serve.guard.origins import origins_of
from clipindex.serve.openapi import api
from clipindex.serve.problems import HANDLERS
from clipindex.serve.service import Service

MODULES = (
    *(page_files, session_api, search_api, points_api, thumbnails),
    *(embeddings_api, index_api, health, api),
)


def application(service: Service) -> ASGIApp:
    """The application that answers with this service's index, behind its guard."""
    options = service.options
    rules = Rules(
        origins=origins_of(options.host, options.hosts),
        tokens=options.tokens,
        limits=options.limits,
        cookie=f"clipindex-{options.port}",
        may_write=options.uploads is not None,
    )
    routes = [route for module in MODULES for route in module.routes()]
    inner = Starlette(routes=routes, exception_handlers=HANDLERS)
    inner.state.service, inner.state.rules = service, rules
    return Guard(inner, rules, service.journal)
