"""A collection that stays open between calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from clipindex.collection.contract import Contract, StoredContract
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.place import Located, Place
from clipindex.collection.sharing.reading import Reader
from clipindex.errors import Switched
from clipindex.stores.points import ReadablePoints

T = TypeVar("T")


class Kept:
    """Keeps one collection open for reading; any number of threads may call.

    Other processes that read are answered meanwhile, and one that writes gets the lock. Where
    nobody could ask for it (Windows has no Unix sockets), or on a server, nothing stays open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._contract: Contract | None = None
        self._is_closed = False

    def open_for_reading(
        self, place: Place, stored: StoredContract, purpose: str
    ) -> AbstractContextManager[ReadablePoints]:
        """As `Place.open_for_reading`, but left open at the end."""
        with self._lock:
            if self._is_closed or not isinstance(place, FolderPlace):
                return place.open_for_reading(stored, purpose)
            if self._reader is None or self._contract != stored.contract:  # it was made anew
                self._end()
                self._reader = place.kept_reader(stored)
                self._contract = stored.contract
            return nullcontext(self._reader)

    def close(self) -> None:
        """Close the collection once the requests in hand are done; later ones open it anew."""
        with self._lock:
            self._is_closed = True
            self._end()

    def _end(self) -> None:
        if self._reader is not None:
            self._reader.end()
            self._reader = None


def opened_for_reading(
    located: Located, purpose: str, kept: Kept | None
) -> AbstractContextManager[ReadablePoints]:
    """The points of a located collection: those that are `kept` open, or opened for this. Raises
    as `Place.open_for_reading` does."""
    stored, place = located.require(), located.place
    if kept is None:
        return place.open_for_reading(stored, purpose)
    return kept.open_for_reading(place, stored, purpose)


def read_live(
    place: Place, purpose: str, kept: Kept | None, read: Callable[[ReadablePoints], T]
) -> T:
    """What `read` makes of the points of a collection. Where its name was switched to another
    model's collection meanwhile, it is called again with that one."""
    while True:
        try:
            with opened_for_reading(place.locate(), purpose, kept) as points:
                return read(points)
        except Switched:
            continue
