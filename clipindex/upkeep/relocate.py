"""A disk is mounted elsewhere: points and rows get their new paths; no picture is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.collection.opening import Collection, reconcile, row_from_payload
from clipindex.files.identity import display_path, is_below, path_from_payload, point_id
from clipindex.stores.filter import Filter
from clipindex.stores.payload import path_fields, tag_fields, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, Point
from clipindex.stores.verified import BatchVerified, write_verified


def relocate(collection: Collection, old: bytes, new: bytes) -> Iterator[BatchVerified]:
    """Move everything below `old` to `new`: new points verified, then the old ones deleted,
    batch by batch. Killed anywhere, a second call finishes."""
    catalogue, store = collection.catalogue, collection.points
    reconcile(collection)
    only = Filter((("source", collection.source), ("folders", display_path(old))))
    below = [id for id, payload in store.scroll(only) if is_below(path_from_payload(payload), old)]
    waiting = iter(below)
    while batch := list(islice(waiting, POINTS_AT_ONCE)):
        found = list(store.retrieve(batch).values())
        points = [_moved(collection, point, old, new) for point in found]
        write_verified(store, points)
        store.delete([point.id for point in found])
        store.flush()
        catalogue.write(
            [row_from_payload(point.payload) for point in points],
            [path_from_payload(point.payload) for point in found],
        )
        yield BatchVerified(len(points), tuple(str(point.id) for point in points))
    _move_notes(collection, old, new)


def remembers_below(collection: Collection, folder: bytes) -> bool:
    """Whether a file or a root below a folder is remembered; a first call that was killed may
    have left nothing but notes and roots to move."""
    catalogue = collection.catalogue
    return any(is_below(row.path, folder) for row in catalogue.rows()) or any(
        is_below(root, folder) for root in catalogue.roots()
    )


def new_path(path: bytes, old: bytes, new: bytes) -> bytes:
    """`path` with `new` in the place of `old`.

    >>> new_path(b"/a/b/c.jpg", b"/a", b"/mnt")
    b'/mnt/b/c.jpg'
    """
    rest = path[len(old.rstrip(b"/")) :].lstrip(b"/")
    return new.rstrip(b"/") + b"/" + rest if rest else new


def _moved(collection: Collection, point: Point, old: bytes, new: bytes) -> Point:
    """The point under its new path. Where one is already, that one stays and gains the tags."""
    path = new_path(path_from_payload(point.payload), old, new)
    id = point_id(collection.source, path)
    there = collection.points.retrieve([id]).get(id)
    if there is not None:
        tags = tag_fields(tags_of(point.payload))
        return Point(id, there.vector, {**tags, **there.payload})
    fields = {**point.payload, **path_fields(path)}
    payload = {name: value for name, value in fields.items() if value is not None}
    return Point(id, point.vector, payload)


def _move_notes(collection: Collection, old: bytes, new: bytes) -> None:
    """Quarantine and skip notes, and remembered roots, go along."""
    catalogue = collection.catalogue
    notes: list[Row] = [
        row for row in catalogue.rows() if row.state != INDEXED and is_below(row.path, old)
    ]
    moved = [replace(row, path=new_path(row.path, old, new), ctime_ns=None) for row in notes]
    catalogue.write(
        [row for row in moved if catalogue.get(row.path) is None],  # what is there knows better
        [row.path for row in notes],
    )
    roots = catalogue.roots()
    for root, options in roots.items():
        if is_below(root, old):
            place = new_path(root, old, new)
            catalogue.remember_root(place, roots.get(place, options))
            catalogue.forget_root(root)
