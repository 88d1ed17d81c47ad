"""Work for a client, given up when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, TypeVar

from starlette.requests import Request

from clipindex.serve.problems import Problem

T = TypeVar("T")
LEFT = 499  # the status by which nginx notes it


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, for a request whose body was read. Once the client closes the
    connection the work is cancelled; nobody reads the Problem that is raised then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(LEFT, "the client left")
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each of them returns, in their order. The first that fails cancels the others."""
    tasks: list[asyncio.Task[T]] = [asyncio.ensure_future(work) for work in works]
    done: Awaitable[list[T]] = asyncio.gather(*tasks)
    try:
        return await done
    finally:
        for task in tasks:
            task.cancel()
