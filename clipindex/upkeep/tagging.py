"""Tags: KEY=VALUE on points. Only payloads are written, verified; no picture is opened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, point_id, resolve_root
from clipindex.stores.filter import Filter
from clipindex.stores.payload import TAG, Payload, Tags, check_key, tag_fields, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.verified import BatchVerified, write_verified

KEYS_SHOWN = 10  # of the tags that there are, in an error about one that there is not


def tag(place: Place, tags: Tags, paths: Sequence[AnyPath]) -> int:
    """Put tags on every indexed picture at or below the paths; returns how many lacked them.
    Raises UsageError for a key that no tag can have, and for a path with nothing below it."""
    for key in tags:
        check_key(key)
    with open_for_change(place, "tag") as collection:
        ids = points_below(collection, paths)
        for key in tags:
            collection.points.index_field(TAG + key)
        return sum(batch.points for batch in put_tags(collection.points, ids, tags))


def untag(place: Place, keys: Sequence[str], paths: Sequence[AnyPath]) -> int:
    """Take tags off every indexed picture at or below the paths; returns how many had them.

    Raises as `tag` does, and for a key that none of these pictures has; then nothing is changed.
    """
    for key in keys:
        check_key(key)
    with open_for_change(place, "untag") as collection:
        ids, present = _below(collection, paths)
        for key in keys:
            if key not in present:
                names = sorted(present)
                raise UsageError(
                    f"no picture at or below {'this path' if len(paths) == 1 else 'these paths'} "
                    f"has the tag '{key}'",
                    path=display_path(resolve_root(paths[0])) if len(paths) == 1 else "",
                    hint=f"their tags: {', '.join(names[:KEYS_SHOWN])}"
                    + (", ..." if len(names) > KEYS_SHOWN else "")
                    if names
                    else "they have no tags",
                )
        return sum(batch.points for batch in take_tags(collection.points, ids, keys))


def points_below(collection: Collection, paths: Sequence[AnyPath]) -> list[uuid.UUID]:
    """Points of this source at or below any of the paths, whether these still exist or not.
    Raises UsageError for a path at or below which nothing is indexed."""
    return _below(collection, paths)[0]


def _below(collection: Collection, paths: Sequence[AnyPath]) -> tuple[list[uuid.UUID], set[str]]:
    """The points at or below the paths, and the keys of all their tags."""
    ids: dict[uuid.UUID, None] = {}
    keys: set[str] = set()
    for path in paths:
        name = resolve_root(path)
        itself = collection.points.retrieve([point_id(collection.source, name)])
        only = Filter().also(("source", collection.source), ("folders", display_path(name)))
        below = {point.id: None for point in itself.values()}
        keys.update(*(tags_of(point.payload) for point in itself.values()))
        for point, payload in collection.points.scroll(only):
            below[point] = None
            keys.update(tags_of(payload))
        if not below:
            raise UsageError(
                "nothing is indexed at or below this path",
                path=display_path(name),
                hint="correct the path, or ingest it first; `clipindex status` lists the folders",
            )
        ids |= below
    return list(ids), keys


def put_tags(points: Points, ids: Iterable[uuid.UUID], tags: Tags) -> Iterator[BatchVerified]:
    """Put tags on points; a point that has them already is not written. Raises UsageError for a
    tag that no field can hold."""
    for key in tags:
        check_key(key)
    fields = tag_fields(tags)
    yield from rewrite(points, ids, lambda payload: {**payload, **fields})


def take_tags(
    points: Points, ids: Iterable[uuid.UUID], keys: Iterable[str]
) -> Iterator[BatchVerified]:
    """Remove tags from points; a point without them is not written."""
    removed = {TAG + key for key in keys}

    def without_tags(payload: Payload) -> Payload:
        return {name: value for name, value in payload.items() if name not in removed}

    yield from rewrite(points, ids, without_tags)


def rewrite(
    points: Points, ids: Iterable[uuid.UUID], change: Callable[[Payload], Payload]
) -> Iterator[BatchVerified]:
    """Read payloads, change them and write them back with their own vectors, batch by batch."""
    remaining = iter(ids)
    while batch := list(islice(remaining, POINTS_AT_ONCE)):
        changed = [
            Point(point.id, point.vector, payload)
            for point in points.retrieve(batch).values()
            if (payload := change(point.payload)) != point.payload
        ]
        if changed:
            write_verified(points, changed)
            yield BatchVerified(len(changed), tuple(str(point.id) for point in changed))
