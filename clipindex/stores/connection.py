"""The wire to a Qdrant server: addresses, time-outs, retries, and one door for every fault.

Retrying is safe because ids are deterministic: a request that timed out may have been applied,
and doing it again changes nothing. Every exception that qdrant-client can raise ends here as an
error of our own tree, whose message names the URL and never the key.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from clipindex.errors import ClipIndexWarning, StoreError
from clipindex.stores.address import Server

FIRST_WAIT = 0.25  # seconds; doubled each time, and scattered so that writers do not march in step
LONGEST_WAIT = 10.0
SILENT_FOR = 5.0  # then the user is told what is being waited for
PASSING = {408, 425, 429}  # and everything from 500 on, 501 and 505 aside

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a caller is ready to wait: for one answer, and for all attempts together."""

    timeout: int  # whole seconds: qdrant-client rounds up
    patience: float
    attempts: int


WRITING = RetryPolicy(60, 300.0, 9)  # an upsert is applied before it is answered; servers restart
READING = RetryPolicy(10, 20.0, 4)  # somebody sits before it


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt: what happened, what helps, and whether trying again might."""

    reason: str
    hint: str
    passing: bool = False
    retry_after: float | None = None  # seconds, where the server said so


class ErrorAnswer(Exception):
    """An HTTP answer that is not a Qdrant success, raised before qdrant-client parses it."""

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A client of one server, with policy."""

    def __init__(self, address: Server, policy: RetryPolicy) -> None:
        self.url = address.url
        self._key = address.key
        self._policy = policy
        self._client = QdrantClient(
            url=address.url,
            # not as `api_key`: that warns of plain http even on loopback
            headers={"api-key": address.key} if address.key else None,
            timeout=policy.timeout,
            check_compatibility=False,  # it prints from a thread; we ask by ourselves
            trust_env=not address.loopback,  # HTTP_PROXY is not for this machine
            event_hooks={"response": [_refuse]},
        )

    def call(
        self,
        what: str,
        request: Callable[[QdrantClient], T],
        instead: Mapping[int, T] | None = None,
    ) -> T:
        """Carry out a request, again and again where that may help.

        `instead` gives the results that certain HTTP statuses stand for. Raises StoreError.
        """
        started, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                result = request(self._client)
                if result is None:
                    raise AssertionError  # as qdrant-client itself does, unless run with -O
                return result
            except Exception as error:  # the door: whatever comes through is translated
                status = _status(error)
                if instead is not None and status is not None and status in instead:
                    return instead[status]
                failure = understand(error, self._policy.timeout)
                wait = _wait(failure, attempt)
                spent = time.monotonic() - started
                if (
                    not failure.passing
                    or attempt >= self._policy.attempts
                    or (spent + wait > self._policy.patience)
                ):
                    raise self._failed(what, failure, attempt) from error
                if spent + wait > SILENT_FOR:
                    note = f"the server {self.url} {failure.reason}; trying again in {wait:.0f} s"
                    warnings.warn(self._without_key(note), ClipIndexWarning, stacklevel=3)
            time.sleep(wait)

    def close(self) -> None:
        """Let go of the sockets."""
        self._client.close()

    def _failed(self, what: str, failure: Failure, attempts: int) -> StoreError:
        tries = f", after {attempts} attempts" if attempts > 1 else ""
        message = f"{what} failed: the server {self.url} {failure.reason}{tries}"
        return StoreError(self._without_key(message), path=self.url, hint=failure.hint)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def understand(error: Exception, timeout: int) -> Failure:
    """Any exception that a request can raise, as what it means to a user."""
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    match cause:
        case ErrorAnswer():
            return _answered(cause)
        case UnexpectedResponse():
            headers = httpx.Headers(cause.headers)
            return _answered(ErrorAnswer(cause.status_code or 0, headers, cause.content))
        case ResourceExhaustedResponse():
            return Failure(_BUSY, _LATER, True, float(cause.retry_after_s))
        case QdrantException():
            return Failure(_BUSY, _LATER, True)
        case httpx.TimeoutException():
            return Failure(f"did not answer within {timeout} s", _LATER, True)
        case httpx.ConnectError() if _is_tls(cause):
            return Failure(
                f"has no certificate that this machine trusts ({_words(cause)})",
                "name its authority in SSL_CERT_FILE; for plain http write http://",
            )
        case httpx.ConnectError():
            return Failure(f"cannot be reached ({_words(cause)})", _IS_IT_THERE, True)
        case httpx.TransportError():
            return Failure(f"cut the connection ({_words(cause)})", _LATER, True)
        case json.JSONDecodeError():
            return Failure("sent an answer that is cut short", _LATER, True)
        case _:  # a 200 that holds no answer of Qdrant's: AssertionError, ValidationError, ...
            return Failure(
                f"sent an answer that is not Qdrant's ({type(cause).__name__})", _IS_IT_QDRANT
            )


_BUSY = "is asked too much at once (429)"
_LATER = "finished batches are safe; run the same command again when it is well"
_IS_IT_THERE = "is it running, and are host and port right? Qdrant's port is 6333"
_IS_IT_QDRANT = "is --url that of a Qdrant server, and no proxy or login page in between?"


def _refuse(response: httpx.Response) -> None:
    """Everything but a success with JSON in it, stopped before qdrant-client parses it."""
    is_json = "json" in response.headers.get("content-type", "")
    if response.status_code not in (200, 201, 202) or not is_json:
        raise ErrorAnswer(response.status_code, response.headers, response.read())


def _answered(answer: ErrorAnswer) -> Failure:
    status, words = answer.status, _server_words(answer.body)
    if status in (200, 201, 202):
        return Failure("answers with something that is not JSON, such as a web page", _IS_IT_QDRANT)
    if 300 <= status < 400:
        target = urlsplit(answer.headers.get("location", ""))
        where = f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else "?"
        return Failure(f"redirects to {where} ({status})", "name that address in --url if it is it")
    if status in (401, 403):
        return Failure(
            f"denies access ({status}){words}",
            "put a key that may do this into the environment as CLIPINDEX_API_KEY",
        )
    if status == 404:
        return Failure(f"knows nothing of that name ({status}){words}", _IS_IT_QDRANT)
    if status == 429:
        return Failure(_BUSY + words, _LATER, True, _retry_after(answer.headers))
    if status == 413:
        return Failure(f"takes no request of this size ({status})", "use a smaller --batch-size")
    passing = status in PASSING or (status >= 500 and status not in (501, 505))
    reason = f"is in trouble ({status}){words}" if passing else f"refuses ({status}){words}"
    hint = _LATER if passing else "the server's own words say why"
    return Failure(reason, hint, passing, _retry_after(answer.headers) if passing else None)


def _server_words(body: bytes) -> str:
    """Qdrant's own message, where there is one."""
    try:
        words = json.loads(body)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {str(words)[:300]}"


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds to wait: the header holds a number of them, or a date."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _wait(failure: Failure, attempt: int) -> float:
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)
    return backoff if failure.retry_after is None else max(failure.retry_after, backoff)


def _status(error: Exception) -> int | None:
    source: Any = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(source, ErrorAnswer):
        return source.status
    return source.status_code if isinstance(source, UnexpectedResponse) else None


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
