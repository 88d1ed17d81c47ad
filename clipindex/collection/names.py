"""Names of collections and sources. Light: the command line imports it at every start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.collection.place import Place

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


def require_named_source(place: Place) -> None:
    """Raises UsageError where a server's points would be deleted for a source that is guessed: a
    machine may have been renamed, or share its name with another one."""
    if place.source_is_default:
        raise UsageError(
            "on a server only the files of a source that you name are removed",
            path=place.name,
            hint=f"add --source NAME; this machine's files have '{place.source}' unless you named "
            "another one when you ingested them",
        )
