"""The connection to a Qdrant server: timeouts, retries, and one place for every failure.

Retries are safe because ids are deterministic: a request that timed out may have been applied,
and repeating it changes nothing. Every exception that qdrant-client can raise becomes a
StoreError whose message names the URL and never the key.
"""

from __future__ import annotations

import itertools
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from types import MappingProxyType
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient

from clipindex.errors import ClipIndexWarning, StoreError
from clipindex.files.identity import escaped
from clipindex.stores.address import Server
from clipindex.stores.failures import AnswerFault, ErrorAnswer, Failure, status_of, understand

FIRST_WAIT = 0.25  # seconds; doubled each time, and varied so that writers do not retry in step
LONGEST_WAIT = 10.0  # seconds
LARGEST_ANSWER = 64 << 20  # bytes; 250 points of 4,096 numbers have 13 MB
SILENT_FOR = 5.0  # seconds; a longer wait is reported

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a caller waits."""

    timeout: int  # seconds that the server may be silent; qdrant-client takes whole ones
    patience: float  # seconds for all attempts together
    attempts: int


WRITING = RetryPolicy(60, 300.0, 9)  # an upsert is applied before it is answered; servers restart
READING = RetryPolicy(10, 20.0, 4)  # a person is waiting


class Connection:
    """A client of one server, with its retries."""

    def __init__(self, address: Server, policy: RetryPolicy) -> None:
        self.url = address.url
        self._address = address
        self._policy = policy
        self._client = self._new_client()

    def _new_client(self) -> QdrantClient:
        # uncompressed: a small answer cannot grow, so its size is checked while it arrives
        headers = {"accept-encoding": "identity"}
        if self._address.key:  # not as `api_key`: that warns of plain http even for localhost
            headers["api-key"] = self._address.key
        return QdrantClient(
            url=self.url,
            headers=headers,
            timeout=self._policy.timeout,
            check_compatibility=False,  # it prints from a thread; `create` checks the version
            trust_env=not self._address.is_localhost,  # no proxy for localhost
            event_hooks={"response": [_check_answer]},
        )

    def call(
        self,
        action: str,
        request: Callable[[QdrantClient], T],
        instead: Mapping[int, R] = MappingProxyType({}),
    ) -> T | R:
        """Carry out a request, with retries where they may help.

        `action` names it in messages ("writing to 'photos'"); `instead` maps HTTP statuses that
        are no failures to results. Raises StoreError.
        """
        started = time.monotonic()
        for attempt in itertools.count(1):
            try:
                result = self._within_patience(request, started)
                if result is None:
                    raise AssertionError  # as qdrant-client itself does, unless run with -O
                return result
            except Exception as error:  # every failure is translated here
                status = status_of(error)
                if status is not None and status in instead:
                    return instead[status]
                failure = understand(error, self._policy.timeout)
                pause = _pause(failure, attempt)
                spent = time.monotonic() - started + pause
                if not failure.passing or attempt >= self._policy.attempts:
                    raise self._failed(action, failure, attempt) from error
                if spent > self._policy.patience:
                    raise self._failed(action, failure, attempt) from error
                if spent > SILENT_FOR:
                    self._warn_of_wait(failure, pause)
            time.sleep(pause)
        raise AssertionError("unreachable: count() never ends")

    def _within_patience(self, request: Callable[[QdrantClient], T], started: float) -> T:
        """Raises AnswerFault for a request that lasts longer than patience, or one timeout.

        Timeouts of httpx restart with every byte, so a server that sends one a second would be
        waited for without end, in the headers as in the body. The request therefore runs in a
        thread, which is abandoned together with its client.
        """
        result: Future[T] = Future()

        def run(client: QdrantClient) -> None:
            try:
                result.set_result(request(client))
            except BaseException as error:
                result.set_exception(error)

        Thread(target=run, args=(self._client,), name="request", daemon=True).start()
        left = started + self._policy.patience - time.monotonic()
        longest = max(left, float(self._policy.timeout))
        wait([result], longest)
        if not result.done():
            self._client = self._new_client()
            raise AnswerFault(f"did not complete its answer within {longest:.0f} s")
        return result.result()

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def _warn_of_wait(self, failure: Failure, seconds: float) -> None:
        """A wait happens deep inside a request, where no event can be returned."""
        message = f"the server {self.url} {failure.reason}; trying again in {seconds:.0f} s"
        warnings.warn(self._printable(message), ClipIndexWarning, stacklevel=3)

    def _failed(self, action: str, failure: Failure, attempts: int) -> StoreError:
        tries = f", after {attempts} attempts" if attempts > 1 else ""
        message = f"{action} failed: the server {self.url} {failure.reason}{tries}"
        return StoreError(self._printable(message), path=self.url, hint=failure.hint)

    def _printable(self, text: str) -> str:
        """`text` without the key, and with escapes for what a terminal would obey."""
        if self._address.key:
            text = text.replace(self._address.key, "***")
        return escaped(text)


class _Limited(httpx.SyncByteStream):
    """A body that raises AnswerFault when it becomes too large."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise AnswerFault(f"sent an answer larger than {LARGEST_ANSWER >> 20} MiB")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _check_answer(response: httpx.Response) -> None:
    """Raises ErrorAnswer for everything but a success with JSON, before qdrant-client parses it,
    and AnswerFault for an answer that is compressed or too large."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerFault("compressed its answer, which it was asked not to do")
    assert isinstance(response.stream, httpx.SyncByteStream)  # the client is synchronous
    response.stream = _Limited(response.stream)
    is_json = "json" in response.headers.get("content-type", "")
    if response.status_code not in (200, 201, 202) or not is_json:
        raise ErrorAnswer(response.status_code, response.headers, response.read())


def _pause(failure: Failure, attempt: int) -> float:
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)
    return backoff if failure.retry_after is None else max(failure.retry_after, backoff)
