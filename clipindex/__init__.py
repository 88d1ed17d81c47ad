"""clipindex turns folders of photographs into a searchable index.

The way of a picture: walk -> FileRecord -> plan -> content (one read, one hash) -> pixels
-> embedding -> point -> upsert, flush, read back -> reported. `Index` is the whole of it:

    with_words = clipindex.Index("./index").query("a dog on a beach")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clipindex.errors import ClipIndexError, ClipIndexWarning, ExitCode
    from clipindex.events import (
        BatchVerified,
        EmbeddingOn,
        Event,
        FileDone,
        FolderFault,
        RunFinished,
        Status,
        Summary,
    )
    from clipindex.index import Index
    from clipindex.preprocessing import Preprocessing
    from clipindex.preview import Preview
    from clipindex.recorder import IngestOptions
    from clipindex.search import Hit, QueryOptions, Term
    from clipindex.status import CollectionStatus
    from clipindex.stores.address import Server
    from clipindex.survey import Part
    from clipindex.towers import Provider
    from clipindex.walk import WalkPolicy

_HOMES = {
    "BatchVerified": "events",
    "ClipIndexError": "errors",
    "ClipIndexWarning": "errors",
    "CollectionStatus": "status",
    "EmbeddingOn": "events",
    "Event": "events",
    "ExitCode": "errors",
    "FileDone": "events",
    "FolderFault": "events",
    "Hit": "search",
    "Index": "index",
    "IngestOptions": "recorder",
    "Part": "survey",
    "Preprocessing": "preprocessing",
    "Preview": "preview",
    "Provider": "towers",
    "QueryOptions": "search",
    "RunFinished": "events",
    "Server": "stores.address",
    "Status": "events",
    "Summary": "events",
    "Term": "search",
    "WalkPolicy": "walk",
}

__all__ = [
    "BatchVerified",
    "ClipIndexError",
    "ClipIndexWarning",
    "CollectionStatus",
    "EmbeddingOn",
    "Event",
    "ExitCode",
    "FileDone",
    "FolderFault",
    "Hit",
    "Index",
    "IngestOptions",
    "Part",
    "Preprocessing",
    "Preview",
    "Provider",
    "QueryOptions",
    "RunFinished",
    "Server",
    "Status",
    "Summary",
    "Term",
    "WalkPolicy",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `clipindex --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'clipindex' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"clipindex.{_HOMES[name]}"), name)
