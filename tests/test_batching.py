"""Work of many requests in batches: each in its turn, nobody's error or absence is another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from clipindex.serve import batching
from clipindex.serve.batching import Lane
from clipindex.serve.connected import LEFT, all_of, while_connected
from clipindex.serve.problems import Problem


class Worker:
    """Doubles numbers, notes the batches, and stands still while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        assert self.gate.wait(5)
        if 13 in batch:
            raise ValueError("13")
        return [2 * number for number in batch]


@contextmanager
def lane(work: Callable[[Sequence[int]], list[int]], **options: Any) -> Iterator[Lane[int, int]]:
    made = Lane[int, int](work, name="test", **options)
    try:
        yield made
    finally:
        made.close()


async def behind_the_gate(worker: Worker, lane: Lane[int, int], *works: Awaitable[Any]) -> Any:
    """Results of works that all wait while the only thread has another piece in hand."""
    worker.gate.clear()
    before = len(worker.batches)
    first = asyncio.ensure_future(lane.do("first", 0))
    while len(worker.batches) == before:
        await asyncio.sleep(0.001)
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.sleep(0.01)
    worker.gate.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_goes_together_whoever_sent_it() -> None:
    worker = Worker()
    with lane(worker, batch=4) as one:
        works = [one.do(f"request {number}", number) for number in range(1, 9)]
        assert asyncio.run(behind_the_gate(worker, one, *works)) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert worker.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_long_request_does_not_hold_up_a_short_one() -> None:
    worker = Worker()
    with lane(worker, batch=2) as one:
        long = [one.do("long", number) for number in range(100, 110)]
        asyncio.run(behind_the_gate(worker, one, *long, one.do("short", 1), one.do("other", 2)))
    assert worker.batches[1:3] == [[100, 1], [2, 101]]


def test_an_error_goes_to_the_piece_at_fault_alone() -> None:
    worker = Worker()
    with lane(worker, batch=3) as one:
        works = [one.do(number, number) for number in (1, 13, 3)]
        made = asyncio.run(behind_the_gate(worker, one, *works))
    assert (made[0], str(made[1]), made[2]) == (2, "13", 6)


def test_whoever_leaves_is_left_out() -> None:
    worker = Worker()

    async def impatient(one: Lane[int, int]) -> int:
        return await asyncio.wait_for(one.do("impatient", 7), 0.002)

    with lane(worker, batch=4) as one:
        works = [one.do("patient", 1), impatient(one), one.do("patient", 2)]
        made = asyncio.run(behind_the_gate(worker, one, *works))
    assert (made[0], type(made[1]), made[2]) == (2, TimeoutError, 4)
    assert worker.batches[1:] == [[1, 2]]


def test_one_request_never_has_all_threads() -> None:
    """Its pieces take long, here without end; a thread is left for the others."""
    gate = threading.Event()
    in_hand = threading.Semaphore(0)

    def work(batch: Sequence[int]) -> list[int]:
        if batch[0] >= 100:
            in_hand.release()
            assert gate.wait(5)
        return list(batch)

    async def both(one: Lane[int, int]) -> int:
        long = [asyncio.ensure_future(one.do("long", 100 + number)) for number in range(5)]
        await asyncio.to_thread(lambda: [in_hand.acquire(timeout=5) for _ in range(2)])
        made = await asyncio.wait_for(one.do("short", 1), 5)
        gate.set()
        await asyncio.gather(*long)
        return made

    with lane(work, threads=3, most_of_one=2) as one:
        assert asyncio.run(both(one)) == 1


def test_a_batch_waits_a_moment_for_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAIT", 5.0)
    worker = Worker()

    async def prepared(one: Lane[int, int], number: int) -> int:
        with one.coming():
            await asyncio.sleep(number / 100)
        return await one.do(number, number)

    async def all_three(one: Lane[int, int]) -> list[int]:
        return await asyncio.gather(*(prepared(one, number) for number in (1, 2, 3)))

    with lane(worker, batch=3) as one:
        assert asyncio.run(all_three(one)) == [2, 4, 6]
    assert worker.batches in ([[1, 2, 3]], [[1, 2], [3]])  # at the last nothing is on its way


def test_threads_end_without_work_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "REST", 0.01)

    async def twice(one: Lane[int, int]) -> list[int]:
        made = [await one.do("one", 1)]
        before = threading.active_count()
        while any(thread.name == "test" for thread in threading.enumerate()):
            await asyncio.sleep(0.005)
        assert threading.active_count() < before
        return [*made, await one.do("one", 2)]

    with lane(Worker()) as one:
        assert asyncio.run(asyncio.wait_for(twice(one), 5)) == [2, 4]


def test_a_closed_lane_takes_nothing() -> None:
    with lane(Worker()) as one:
        pass
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(one.do("late", 1))


def request_that(*messages: str) -> Request:
    """A request whose client sends these messages, and then stays."""
    left = list(messages)

    async def receive() -> dict[str, str]:
        if left:
            return {"type": left.pop(0)}
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]


def test_work_ends_with_the_connection() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    request = request_that("http.request", "http.disconnect")
    with pytest.raises(Problem) as problem:
        asyncio.run(while_connected(request, work()))
    assert (problem.value.status, ended) == (LEFT, ["cancelled"])


def test_the_first_error_ends_the_others() -> None:
    ended: list[str] = []

    async def fails() -> None:
        raise ValueError("at fault")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def both() -> None:
        with pytest.raises(ValueError, match="at fault"):
            await while_connected(request_that(), all_of([waits(), fails()]))
        await asyncio.sleep(0)

    asyncio.run(both())
    assert ended == ["cancelled"]
