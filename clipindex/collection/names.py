"""Names of collections and sources. Light: the command line imports it at every start."""

from __future__ import annotations

import re

from clipindex.errors import UsageError

DEFAULT_COLLECTION = "image_embeddings"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_names(collection: str, source: str) -> None:
    """Raises UsageError for a name that no collection or source can have."""
    for what, name in (("collection", collection), ("source", source)):
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a {what}",
                hint="letters, digits, '.', '_' and '-', beginning with a letter or digit",
            )
