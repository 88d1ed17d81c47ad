"""Tags: KEY=VALUE on points. Only payloads are written, verified; no picture is opened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, resolve_root
from clipindex.stores.payload import TAG, Payload, Tags, check_key, tag_fields, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.verified import BatchVerified, write_verified
from clipindex.upkeep.selection import Selection, below

KEYS_SHOWN = 10  # of the tags that there are, in an error about one that there is not


def tag(place: Place, tags: Tags, pictures: Sequence[AnyPath] | Selection) -> int:
    """Put tags on every indexed picture at or below paths, or on those of a selection; returns
    how many lacked them. Raises UsageError for a key that no tag can have, and for a path with
    nothing below it."""
    for key in tags:
        check_key(key)
    with open_for_change(place, "tag") as collection:
        ids, _ = _chosen(collection, pictures)
        for key in tags:
            collection.points.index_field(TAG + key)
        return sum(batch.points for batch in put_tags(collection.points, ids, tags))


def untag(place: Place, keys: Sequence[str], pictures: Sequence[AnyPath] | Selection) -> int:
    """Take tags off every indexed picture at or below paths, or off those of a selection; returns
    how many had them.

    Raises as `tag` does, and for a key that none of these pictures has; then nothing is changed.
    """
    for key in keys:
        check_key(key)
    with open_for_change(place, "untag") as collection:
        ids, present = _chosen(collection, pictures)
        for key in keys:
            if key not in present:
                raise UsageError(
                    f"{_none_of(pictures)} has the tag '{key}'",
                    path=_only_path(pictures),
                    hint=_listed(sorted(present)),
                )
        return sum(batch.points for batch in take_tags(collection.points, ids, keys))


def _chosen(
    collection: Collection, pictures: Sequence[AnyPath] | Selection
) -> tuple[list[uuid.UUID], set[str]]:
    """The points that are meant, and the keys of all their tags."""
    keys: set[str] = set()
    if isinstance(pictures, Selection):
        keys.update(*(picture.tags for picture in pictures.pictures))
        return [picture.id for picture in pictures.pictures], keys
    payloads = below(collection.points, collection.source, pictures)
    keys.update(*map(tags_of, payloads.values()))
    return list(payloads), keys


def _none_of(pictures: Sequence[AnyPath] | Selection) -> str:
    if isinstance(pictures, Selection):
        return "none of these pictures"
    paths = "this path" if len(pictures) == 1 else "these paths"
    return f"no picture at or below {paths}"


def _only_path(pictures: Sequence[AnyPath] | Selection) -> str:
    if isinstance(pictures, Selection) or len(pictures) != 1:
        return ""
    return display_path(resolve_root(pictures[0]))


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > KEYS_SHOWN else ""
    return f"their tags: {', '.join(names[:KEYS_SHOWN])}{more}" if names else "they have no tags"


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
