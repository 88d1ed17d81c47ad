"""Tags: KEY=VALUE on points. Only payloads are written, verified; no picture is opened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from clipindex.stores.payload import TAG, Payload, Tags, check_key, tag_fields
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.verified import BatchVerified, write_verified


def put_tags(points: Points, ids: Iterable[uuid.UUID], tags: Tags) -> Iterator[BatchVerified]:
    """Put tags on points; a point that has them already is not written. Raises UsageError for a
    tag that no field can hold."""
    for key in tags:
        check_key(key)
    fields = tag_fields(tags)
    yield from _rewrite(points, ids, lambda payload: {**payload, **fields})


def take_tags(
    points: Points, ids: Iterable[uuid.UUID], keys: Iterable[str]
) -> Iterator[BatchVerified]:
    """Remove tags from points; a point without them is not written."""
    removed = {TAG + key for key in keys}

    def without_tags(payload: Payload) -> Payload:
        return {name: value for name, value in payload.items() if name not in removed}

    yield from _rewrite(points, ids, without_tags)


def _rewrite(
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
