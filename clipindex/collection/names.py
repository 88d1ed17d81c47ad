"""Names of collections and sources. Light: the command line imports it at every start."""

from __future__ import annotations

import re

from clipindex.errors import UsageError

DEFAULT_COLLECTION = "image_embeddings"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(what: str, name: str) -> str:
    """The name itself. Raises UsageError when no `what` (a collection, a source) can have it."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {what}",
            hint="letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )
    return name


def check_names(collection: str, source: str) -> None:
    """Raises UsageError for a name that no collection or source can have."""
    check_name("collection", collection)
    check_name("source", source)
