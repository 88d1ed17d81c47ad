"""Answers that are computed once for everybody who asks within some seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Keeps an answer for each of a few keys. Those who ask while it is computed wait for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._until: dict[Hashable, float] = {}

    async def of(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """The answer for a key. What it raises is raised to all who wait, and not kept."""
        task = self._tasks.get(key)
        if task is None or (task.done() and time.monotonic() >= self._until.get(key, 0.0)):
            task = asyncio.ensure_future(self._computed(key, compute))
            self._tasks[key] = task
        return await asyncio.shield(task)  # whoever leaves does not take it from the others

    async def _computed(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        self._until[key] = 0.0
        answer = await compute()
        self._until[key] = time.monotonic() + self._seconds
        return answer
