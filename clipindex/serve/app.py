"""The service as one application: the routes of all modules."""

from __future__ import annotations

from starlette.applications import Starlette

from clipindex.serve import (
    embeddings_api,
    health,
    page_files,
    points_api,
    search_api,
    thumbnails,
)
from clipindex.serve.problems import HANDLERS
from clipindex.serve.service import Service

MODULES = (page_files, search_api, points_api, thumbnails, embeddings_api, health)


def application(service: Service) -> Starlette:
    """The application that answers with this service's index."""
    routes = [route for module in MODULES for route in module.routes()]
    application = Starlette(routes=routes, exception_handlers=HANDLERS)
    application.state.service = service
    return application
