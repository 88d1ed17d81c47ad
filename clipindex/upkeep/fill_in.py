"""Fields that earlier versions did not store, filled in from those that they did."""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.collection.opening import Collection
from clipindex.collection.place import is_shared
from clipindex.errors import StoreError
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload, orientation_of
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.tagging import rewrite


def fill_in(collection: Collection) -> Iterator[BatchVerified]:
    """The orientation of this source's pictures on a server, from their sizes; no picture is read.
    An embedded store derives it itself."""
    if not is_shared(collection.place):
        return
    only = Filter(equals=(("source", collection.source),), absent=("orientation",))
    try:
        lacking = [name for name, known in collection.points.scroll(only) if orientation_of(known)]
    except StoreError:  # strict mode without an index; a server that is away is told of next
        return
    yield from rewrite(collection.points, lacking, _with_orientation)


def _with_orientation(payload: Payload) -> Payload:
    orientation = orientation_of(payload)
    return payload if orientation is None else {**payload, "orientation": orientation}
