"""Keeping a shard's lookup file in step with the engine, and opening it when a filter asks.

Nothing here may fail a run or a query: the file is a copy. Where it cannot be used, the engine
answers by itself, correctly and slowly.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clipindex.stores.filter import Filter
from clipindex.stores.lookup_sql import DIGEST, NAME, is_known
from clipindex.stores.payload import Payload
from clipindex.stores.points import Point

if TYPE_CHECKING:
    from clipindex.stores.lookup import Lookup

T = TypeVar("T")
AllPoints = Callable[[], Iterator[tuple[uuid.UUID, Payload]]]


class ShardLookup:
    """The lookup of one open shard."""

    def __init__(
        self,
        folder: Path,
        *,
        stamp: Callable[[], str],
        points: AllPoints,
        indexed: Callable[[], Set[str]],
        may_make: bool,
    ) -> None:
        """`stamp` names the engine's state, `points` reads all it has, `indexed` are the fields
        of its own indexes. `may_make`: the folder is the collection's own, not a copy of it that
        is soon deleted."""
        self._folder = folder
        self._stamp = stamp
        self._points = points
        self._indexed = indexed
        self._may_make = may_make
        self._lookup: Lookup | None = None
        self._is_closed = False
        self._is_kept: bool | None = None  # whether this writer keeps the file in step
        self._changes: dict[bytes, Payload | None] = {}  # that the engine has not flushed yet
        self.is_behind = False  # changes wait to be taken over

    def will_change(self, written: Sequence[Point] = (), deleted: Iterable[uuid.UUID] = ()) -> None:
        """Before the engine changes anything."""
        if self._is_kept is None:
            self._is_kept = self.ready() is not None
        if self.is_kept:
            self.is_behind = True
            self._changes.update((point.id.bytes, dict(point.payload)) for point in written)
            self._changes.update((name.bytes, None) for name in deleted)

    def changed(self) -> None:
        """After the engine made it durable: take it over."""
        changes, self._changes = self._changes, {}
        if self.is_behind and self._lookup is not None:
            with self._giving_up_on_errors():
                self._lookup.change(changes, self._stamp())
        self.is_behind = False

    @property
    def is_kept(self) -> bool:
        """Whether this writer keeps the file in step; known after `will_change`."""
        return bool(self._is_kept) and not self._is_closed

    def use(self, only: Filter | None, request: Callable[[Lookup | None], T]) -> T:
        """What `request` returns, handed the lookup if it can answer this filter; None: any."""
        lookup = self.ready() if only is None else self._answering(only)
        if lookup is not None:
            with self._giving_up_on_errors():
                return request(lookup)
        return request(None)

    def _answering(self, only: Filter) -> Lookup | None:
        """The lookup for a filter that the engine cannot answer by its own indexes; None where
        the engine is asked. Every query asks for copies: for these alone the file is not filled,
        which takes longer than the engine's reading."""
        fields = only.fields()
        if not any(map(is_known, fields)) or fields <= self._indexed():
            return None
        return self.ready(may_fill=fields != {DIGEST})

    def ready(self, *, may_fill: bool = True) -> Lookup | None:
        """The lookup, brought up to date; None where it cannot be used."""
        if self.is_behind or self._is_closed:
            return None
        with self._giving_up_on_errors():
            lookup, stamp = self._opened(), self._stamp()
            if lookup is None or lookup.stamp == stamp:
                return lookup
            if self._may_make and may_fill:
                lookup.fill(self._points(), stamp)
                return lookup
        return None

    def close(self) -> None:
        """Close the file, for good."""
        self._is_closed = True
        if self._lookup is not None:
            import sqlite3  # as below

            with suppress(sqlite3.Error, OSError):
                self._lookup.close()
            self._lookup = None

    def _opened(self) -> Lookup | None:
        from clipindex.stores.lookup import Lookup  # most commands need no SQLite

        if self._lookup is None and (self._may_make or (self._folder / NAME).exists()):
            self._lookup = Lookup(self._folder, make=self._may_make)
        return self._lookup

    @contextmanager
    def _giving_up_on_errors(self) -> Iterator[None]:
        """Errors of the file close it; a file that is no whole database is deleted, and the next
        open makes it anew."""
        import sqlite3

        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            if self._may_make and type(error) is sqlite3.DatabaseError:  # not one of its kinds
                for path in self._folder.glob(f"{NAME}*"):
                    with suppress(OSError):
                        path.unlink()


def stamp_of(manifest: Mapping[str, Mapping[str, object]]) -> str:
    """The number of the last change to each segment, as one text."""
    numbers = {name: segment["segment_version"] for name, segment in manifest.items()}
    return json.dumps(numbers, sort_keys=True)
