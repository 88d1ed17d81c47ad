"""Relocating: files that moved to another folder get their new paths; no picture is opened."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import islice

from clipindex.collection.agreement import reconcile, row_from_payload
from clipindex.collection.catalogue import INDEXED
from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import UsageError
from clipindex.files.access import exists, is_folder
from clipindex.files.identity import (
    as_written,
    display_path,
    is_below,
    path_from_payload,
    point_id,
    resolve_root,
)
from clipindex.stores.filter import Filter
from clipindex.stores.labels import is_label
from clipindex.stores.payload import path_fields
from clipindex.stores.points import POINTS_AT_ONCE, Point
from clipindex.stores.validation import healed_payload, payload_fault
from clipindex.stores.verified import BatchVerified, write_verified


def relocate(place: Place, old: AnyPath, new: AnyPath) -> int:
    """Rewrite the paths of everything below `old` to lie below `new`; returns how many.

    Raises UsageError when `new` is not a folder, or nothing is remembered below `old`.
    """
    before, after = as_written(old), resolve_root(new)
    if not is_folder(after):
        what, hint = "no such folder", "correct the path, or mount the disk first"
        if exists(after):
            what, hint = "this is a file, not a folder", "name the folder that the pictures are in"
        raise UsageError(what, path=display_path(after), hint=hint)
    if is_below(after, before) or is_below(before, after):
        raise UsageError(
            "one of the two paths lies below the other",
            path=display_path(after),
            hint="ingest the new folder instead: moved pictures are not embedded again",
        )
    with open_for_change(place, "relocate") as collection:
        if not remembers_below(collection, before):
            raise UsageError(
                "the collection remembers nothing below it",
                path=display_path(before),
                hint="correct the path; `clipindex status` lists the folders",
            )
        return sum(batch.points for batch in rewrite_paths(collection, before, after))


def rewrite_paths(collection: Collection, old: bytes, new: bytes) -> Iterator[BatchVerified]:
    """Give everything below `old` its path below `new`. Batch by batch, the new points are
    written and verified, then the old ones deleted; after a kill, a second call finishes."""
    catalogue = collection.catalogue
    points = collection.points
    reconcile(collection)
    only = Filter().also(("source", collection.source), ("folders", display_path(old)))
    below = [
        name
        for name, payload in points.scroll(only)
        if "path" in payload and is_below(path_from_payload(payload), old)
    ]
    remaining = iter(below)
    while ids := list(islice(remaining, POINTS_AT_ONCE)):
        outdated = list(points.retrieve(ids).values())
        batch = _moved(collection, outdated, old, new)
        write_verified(points, batch)
        points.delete([point.id for point in outdated])
        points.flush()
        catalogue.write(
            [row_from_payload(point.payload) for point in batch if _is_sound(point)],
            [path_from_payload(point.payload) for point in outdated],
            [path_from_payload(point.payload) for point in batch],
        )
        yield BatchVerified(len(batch), tuple(str(point.id) for point in batch))
    _move_notes(collection, old, new)
    _move_roots(collection, old, new)


def remembers_below(collection: Collection, folder: bytes) -> bool:
    """Whether a file or a root below a folder is remembered. Roots count: a call that was killed
    late may have left only notes and roots to move."""
    catalogue = collection.catalogue
    return any(is_below(row.path, folder) for row in catalogue.rows()) or any(
        is_below(root, folder) for root in catalogue.roots()
    )


def new_path(path: bytes, old: bytes, new: bytes) -> bytes:
    """`path` with `new` in place of `old`.

    >>> new_path(b"/a/b/c.jpg", b"/a", b"/mnt")
    b'/mnt/b/c.jpg'
    """
    rest = path[len(old.rstrip(b"/")) :].lstrip(b"/")
    return new.rstrip(b"/") + b"/" + rest if rest else new


def _is_sound(point: Point) -> bool:
    """Else the next ingest reads the file again and writes the point anew."""
    return payload_fault(healed_payload(point.payload)) is None


def _moved(
    collection: Collection, outdated: Sequence[Point], old: bytes, new: bytes
) -> list[Point]:
    """Points under their new paths. One that exists there stays and gets the missing tags."""
    paths = [new_path(path_from_payload(point.payload), old, new) for point in outdated]
    names = [point_id(collection.source, path) for path in paths]
    existing = collection.points.retrieve(names)
    return [
        _at_new_path(point, path, name, existing.get(name))
        for point, path, name in zip(outdated, paths, names, strict=True)
    ]


def _at_new_path(point: Point, path: bytes, name: uuid.UUID, existing: Point | None) -> Point:
    if existing is not None:
        tags = {name: value for name, value in point.payload.items() if is_label(name)}
        return Point(name, existing.vector, {**tags, **existing.payload})
    fields = {**point.payload, **path_fields(path)}
    payload = {field: value for field, value in fields.items() if value is not None}
    return Point(name, point.vector, payload)


def _move_notes(collection: Collection, old: bytes, new: bytes) -> None:
    """Notes of quarantine and skip; a note that exists at the new path stays."""
    catalogue = collection.catalogue
    notes = [row for row in catalogue.rows() if row.state != INDEXED and is_below(row.path, old)]
    moved = [row._replace(path=new_path(row.path, old, new), ctime_ns=None) for row in notes]
    catalogue.carry_refusals({row.path: new_path(row.path, old, new) for row in notes})
    catalogue.write(
        [row for row in moved if catalogue.get(row.path) is None],
        [row.path for row in notes],
    )


def _move_roots(collection: Collection, old: bytes, new: bytes) -> None:
    catalogue = collection.catalogue
    roots = catalogue.roots()
    for root, options in roots.items():
        if is_below(root, old):
            target = new_path(root, old, new)
            catalogue.remember_root(target, roots.get(target, options))
            catalogue.forget_root(root)
