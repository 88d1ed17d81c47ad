"""Requests about one collection of a server, no larger than it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from clipindex.stores.connection import Connection, TooLarge
from clipindex.stores.points import POINTS_AT_ONCE
from clipindex.stores.session import Session

PartRequest = Callable[[str, Sequence[Any], Session], Any]  # collection, items


class Sender:
    """What is sent about one collection."""

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection, self._collection = connection, collection
        self._most = POINTS_AT_ONCE  # points of a request; fewer once one was refused as too large

    def call(
        self,
        action: str,
        request: Callable[[Session], Any],
        instead: Mapping[int, Any] = MappingProxyType({}),
        *,
        can_split: bool = False,
    ) -> Any:
        """As Connection's; `action` ends before the collection's name."""
        what = f"{action} '{self._collection}'"
        return self._connection.call(what, request, instead, can_split=can_split)

    def in_parts(
        self, action: str, request: PartRequest, items: Sequence[Any], most: int
    ) -> list[Any]:
        """Send items, at most so many at once: a request that is too large is halved, and no later
        one is as large. Returns the answers."""
        answers: list[Any] = []
        start = 0
        size = min(most, self._most)
        while start < len(items):
            part = items[start : start + size]
            send = partial(request, self._collection, part)
            try:
                answers.append(self.call(action, send, can_split=len(part) > 1))
                start += len(part)
            except TooLarge:
                size = len(part) // 2
                self._most = min(self._most, size)
        return answers
