"""A bounded number of threads, and a bounded number of requests that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class QueueFull(Exception):
    """So many requests wait already that one more is refused."""


class Threads:
    """Runs functions for the event loop, some at a time and in their order."""

    def __init__(self, name: str, count: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._most = count + most_waiting
        self._taken = 0

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result. Raises QueueFull; whoever stops waiting for a function that runs
        already leaves its place taken until it has returned."""
        if self._taken >= self._most:
            raise QueueFull
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function, *args)
        self._taken += 1
        future.add_done_callback(lambda _: self._free(loop, future))
        return await asyncio.wrap_future(future)

    def _free(self, loop: asyncio.AbstractEventLoop, _: Future[T]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._taken -= 1

    @property
    def taken(self) -> int:
        """How many functions run or wait."""
        return self._taken

    def close(self) -> None:
        """Drop those that wait; those that run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
