"""Removing files from a collection: their points, and then what is remembered of them.

The order keeps every promise after a kill: points deleted, flushed, looked for again, and only
then the rows. A row whose point is gone is found by the next run, which reconciles both.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import islice

from clipindex.collection.opening import Collection
from clipindex.collection.place import is_shared
from clipindex.errors import VerificationFailed
from clipindex.files.identity import display_path, is_below, path_from_payload, point_id
from clipindex.stores.filter import Filter
from clipindex.stores.points import POINTS_AT_ONCE


def remove_files(
    collection: Collection,
    paths: Iterable[bytes],
    still: Callable[[bytes], bool] = lambda _path: True,
) -> list[bytes]:
    """Delete the points and rows of files, batch by batch; returns those that were removed.

    `still` is asked for each path at the last moment. Raises VerificationFailed when a point
    outlives its deletion, or others are gone as well.
    """
    points, catalogue = collection.points, collection.catalogue
    before, deleted = points.count(), 0
    removed: list[bytes] = []
    remaining = iter(paths)
    while batch := list(islice(remaining, POINTS_AT_ONCE)):
        going = [path for path in batch if still(path)]
        ids = [point_id(collection.source, path) for path in going]
        deleted += _delete(collection, ids)
        catalogue.write((), going)
        removed += going
    if not is_shared(collection.place) and points.count() != before - deleted:
        raise VerificationFailed(
            f"{before - points.count():,} points are gone where {deleted:,} were deleted",
            path=points.location,
            hint="run `clipindex reindex`: it finds what is missing and embeds it again",
        )
    return removed


def remove_below(collection: Collection, folder: bytes) -> int:
    """Remove all files at or below a path; returns how many. Points without a row go too: those
    that other parts of this source wrote."""
    only = Filter().also(("source", collection.source), ("folders", display_path(folder)))
    paths = {
        path_from_payload(payload)
        for _, payload in collection.points.scroll(only)
        if "path" in payload
    }
    paths.update(row.path for row in collection.catalogue.rows())
    removed = remove_files(collection, sorted(path for path in paths if is_below(path, folder)))
    collection.catalogue.forget_folders(folder)
    return len(removed)


def _delete(collection: Collection, ids: list[uuid.UUID]) -> int:
    """Delete points, make that durable, and look for them; returns how many existed."""
    points = collection.points
    existing = points.retrieve(ids)
    if not existing:
        return 0
    points.delete(list(existing))
    points.flush()
    if left := points.retrieve(list(existing)):
        raise VerificationFailed(
            f"{len(left):,} deleted points can still be read",
            path=points.location,
            hint="run the same command again; if it happens twice, suspect the disk",
        )
    return len(existing)
