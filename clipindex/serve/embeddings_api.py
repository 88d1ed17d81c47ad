"""Embeddings of texts and pictures by the model that made the index."""

from __future__ import annotations

from starlette.routing import Route


def routes() -> list[Route]:
    """The embeddings."""
    return []
