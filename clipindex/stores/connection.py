"""The connection to a Qdrant server: timeouts, retries, and one place for every failure.

Retries are safe because ids are deterministic: a request that timed out may have been applied,
and repeating it changes nothing. Every exception that qdrant-client can raise becomes a
StoreError whose message names the URL and never the key.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient

from clipindex.errors import StoreError
from clipindex.stores.address import Server
from clipindex.stores.failures import ErrorAnswer, Failure, status_of, understand
from clipindex.stores.waiting import Waiting, current_listener

FIRST_WAIT = 0.25  # seconds; doubled each time, and varied so that writers do not retry in step
LONGEST_WAIT = 10.0  # seconds
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
        self._key = address.key
        self._policy = policy
        self._report = current_listener()
        self._client = QdrantClient(
            url=address.url,
            # not as `api_key`: that warns of plain http even for localhost
            headers={"api-key": address.key} if address.key else None,
            timeout=policy.timeout,
            check_compatibility=False,  # it prints from a thread; `create` checks the version
            trust_env=not address.is_localhost,  # no proxy for localhost
            event_hooks={"response": [_refuse]},
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
                result = request(self._client)
                if result is None:
                    raise AssertionError  # as qdrant-client itself does, unless run with -O
                return result
            except Exception as error:  # every failure is translated here
                status = status_of(error)
                if status is not None and status in instead:
                    return instead[status]
                failure = understand(error, self._policy.timeout)
                wait = _wait(failure, attempt)
                spent = time.monotonic() - started + wait
                if not failure.passing or attempt >= self._policy.attempts:
                    raise self._failed(action, failure, attempt) from error
                if spent > self._policy.patience:
                    raise self._failed(action, failure, attempt) from error
                if spent > SILENT_FOR:
                    self._report(Waiting(self.url, self._printable(failure.reason), wait))
            time.sleep(wait)
        raise AssertionError("unreachable: count() never ends")

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def _failed(self, action: str, failure: Failure, attempts: int) -> StoreError:
        tries = f", after {attempts} attempts" if attempts > 1 else ""
        message = f"{action} failed: the server {self.url} {failure.reason}{tries}"
        return StoreError(self._printable(message), path=self.url, hint=failure.hint)

    def _printable(self, text: str) -> str:
        """`text` without the key, and with escapes for what a terminal would obey."""
        if self._key:
            text = text.replace(self._key, "***")
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )


def _refuse(response: httpx.Response) -> None:
    """Raises ErrorAnswer for everything but a success with JSON, before qdrant-client parses it."""
    is_json = "json" in response.headers.get("content-type", "")
    if response.status_code not in (200, 201, 202) or not is_json:
        raise ErrorAnswer(response.status_code, response.headers, response.read())


def _wait(failure: Failure, attempt: int) -> float:
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)
    return backoff if failure.retry_after is None else max(failure.retry_after, backoff)
