"""Tags: KEY=VALUE on points. A payload write, verified like any other; no picture is opened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from clipindex.stores.payload import TAG, Payload, Tags, tag_fields
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.verified import BatchVerified, write_verified


def put_tags(store: Points, ids: Iterable[uuid.UUID], tags: Tags) -> Iterator[BatchVerified]:
    """Put tags on points; those that have them already are not written."""
    wanted = tag_fields(tags)
    yield from _rewrite(store, ids, lambda payload: {**payload, **wanted})


def take_tags(
    store: Points, ids: Iterable[uuid.UUID], keys: Iterable[str]
) -> Iterator[BatchVerified]:
    """Take tags off points."""
    gone = {TAG + key for key in keys}

    def without(payload: Payload) -> Payload:
        return {name: value for name, value in payload.items() if name not in gone}

    yield from _rewrite(store, ids, without)


def _rewrite(
    store: Points, ids: Iterable[uuid.UUID], change: Callable[[Payload], Payload]
) -> Iterator[BatchVerified]:
    """Read, change and write payloads back with their own vectors, batch by batch."""
    left = iter(ids)
    while batch := list(islice(left, POINTS_AT_ONCE)):
        changed = [
            Point(point.id, point.vector, payload)
            for point in store.retrieve(batch).values()
            if (payload := change(point.payload)) != point.payload
        ]
        if changed:
            write_verified(store, changed)
            yield BatchVerified(len(changed), tuple(str(point.id) for point in changed))
