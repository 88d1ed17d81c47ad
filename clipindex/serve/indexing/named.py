"""Files that are named to be indexed: those that the next `reindex` would find by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clipindex.collection.place import Place
from clipindex.collection.status import remembered_roots
from clipindex.files.access import file_record
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import folders_of
from clipindex.files.walk import Root, finds
from clipindex.ingest.scope import excluded_path, root_from_memory
from clipindex.serve.problems import Problem


@dataclass(frozen=True, slots=True)
class Named:
    """A file below an ingested folder, and the tags that the folder gives it."""

    record: FileRecord
    tags: dict[str, str]


def named_file(place: Place, text: str) -> Named:
    """The file at a path. Raises Problem 400 for what is no path, 403 for one that is not below an
    ingested folder, whether it exists or not; 404 where a walk would find no such file."""
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:
        raise _no_path() from None
    if not os.path.isabs(path) or b"\0" in path or os.path.normpath(path) != path:
        raise _no_path()
    memories = remembered_roots(place.locate())
    above = [folder for folder in folders_of(path) if folder in memories]
    if not above:
        raise Problem(
            403,
            "the path is not below a folder that was ingested",
            "ingest the folder once: clipindex ingest FOLDER",
        )
    nearest = root_from_memory(above[0], memories[above[0]])
    if not _is_found(nearest, path, excluded_path(place)):
        raise _not_found()
    record = file_record(path)
    if record is None:
        raise _not_found()
    tags: dict[str, str] = {}
    for folder in memories:
        if folder in above:
            tags.update(memories[folder]["tags"])
    return Named(record, tags)


def _is_found(root: Root, path: bytes, excluded: bytes) -> bool:
    try:
        return finds(root, path, excluded)
    except OSError:
        return False


def _no_path() -> Problem:
    return Problem(400, "path is not the whole path of a file", "such as /photos/2024/cat.jpg")


def _not_found() -> Problem:
    return Problem(
        404,
        "there is no such file, or it is left out",
        "links, hidden files and what the folder's options exclude are not indexed by their paths",
    )
