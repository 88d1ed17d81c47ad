"""Keeping a shard's lookup file in step with the engine, and opening it when a filter asks.

Nothing here may fail a run or a query: the file is a copy. Where it cannot be used, the engine
answers by itself, correctly and slowly.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clipindex.stores.filter import Filter
from clipindex.stores.lookup_sql import NAME, is_known
from clipindex.stores.payload import INDEXED_FIELDS, Payload
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
        count: Callable[[], int],
        may_make: bool,
    ) -> None:
        """`stamp` names the engine's state, `points` reads all it has. `may_make`: the folder is
        the collection's own, not a copy of it that is soon deleted."""
        self._folder = folder
        self._stamp = stamp
        self._points = points
        self._count = count
        self._may_make = may_make
        self._lookup: Lookup | None = None
        self._is_closed = False
        self._is_kept: bool | None = None  # whether this writer keeps the file in step
        self._before: str | None = None  # the engine's stamp before the changes not noted yet
        self._changes: dict[bytes, Payload | None] = {}

    def will_change(self, written: Sequence[Point] = (), deleted: Iterable[uuid.UUID] = ()) -> None:
        """Before the engine changes anything."""
        if self._is_kept is None:
            # Of an older collection the first query with a filter makes it: a writer only goes on.
            self._is_kept = self._exists() or (self._may_make and self._count() == 0)
        if not self._is_kept:
            return
        if self._before is None:
            self._before = self._stamp()
        self._changes.update((point.id.bytes, dict(point.payload)) for point in written)
        self._changes.update((name.bytes, None) for name in deleted)

    def changed(self) -> None:
        """After the engine made it durable: take it over, if the file was in step before."""
        before, changes = self._before, self._changes
        self._before, self._changes = None, {}
        if before is None:
            return
        try:
            is_first = not self._exists()
            lookup = self._open(make=is_first)
            if lookup is not None and (is_first or lookup.stamp == before):
                lookup.change(changes, self._stamp())
            else:
                self._is_kept = False
        except _errors():
            self._is_kept = False
            self.close()

    @property
    def is_behind(self) -> bool:
        """Whether changes wait to be taken over."""
        return self._before is not None

    def use(self, only: Filter | None, request: Callable[[Lookup | None], T]) -> T:
        """What `request` returns, handed the lookup if it can answer this filter; None: any."""
        lookup = self.ready() if only is None else self._answering(only)
        if lookup is not None:
            try:
                return request(lookup)
            except _errors():
                self.close()
        return request(None)

    def _answering(self, only: Filter) -> Lookup | None:
        """The lookup, brought up to date, for a filter that the engine cannot answer by its own
        indexes; None where the engine is asked."""
        fields = only.fields() - set(INDEXED_FIELDS)
        if not fields:
            return None
        return self.ready() if all(map(is_known, fields)) else None

    def ready(self) -> Lookup | None:
        """The lookup, brought up to date; None where it cannot be used."""
        if self._before is not None or self._is_closed:
            return None
        try:
            lookup, stamp = self._open(make=self._may_make), self._stamp()
            if lookup is not None and lookup.stamp != stamp:
                if not self._may_make:
                    return None
                lookup.fill(self._points(), stamp)
            return lookup
        except _errors():
            self.close()
            return None

    def close(self) -> None:
        """Close the file, for good."""
        self._is_closed = True
        if self._lookup is not None:
            with suppress(*_errors()):
                self._lookup.close()
            self._lookup = None

    def _exists(self) -> bool:
        return (self._folder / NAME).exists()

    def _open(self, *, make: bool) -> Lookup | None:
        from clipindex.stores.lookup import Lookup  # a query without a filter needs no SQLite

        if self._lookup is None and not self._is_closed:
            if not make and not self._exists():
                return None
            self._lookup = Lookup(self._folder, make=make)
        return self._lookup


def _errors() -> tuple[type[BaseException], ...]:
    import sqlite3  # not loaded for a query without a filter

    return sqlite3.Error, OSError


def stamp_of(manifest: Mapping[str, Mapping[str, object]]) -> str:
    """The number of the last change to each segment, as one text."""
    numbers = {name: segment["segment_version"] for name, segment in manifest.items()}
    return json.dumps(numbers, sort_keys=True)
