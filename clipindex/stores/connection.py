"""The connection to a Qdrant server: timeouts, retries, and one place for every failure.

Retries are safe because ids are deterministic: a request that timed out may have been applied,
and repeating it changes nothing. Every exception that a request can raise becomes a StoreError
whose message names the URL and never the key.
"""

from __future__ import annotations

import itertools
import os
import random
import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from threading import Thread
from types import MappingProxyType
from typing import TypeVar

from clipindex.errors import ClipIndexWarning, DiskFull, StoreError
from clipindex.files.identity import escaped
from clipindex.stores.address import Server
from clipindex.stores.failures import AnswerFault, Failure, status_of, understand
from clipindex.stores.session import Session, Transport

FIRST_WAIT = 0.25  # seconds; doubled each time, and varied so that writers do not retry in step
LONGEST_WAIT = 10.0  # seconds
SILENT_FOR = 3.0  # seconds; a longer wait is reported
NOTE_EVERY = 30.0  # seconds between two such reports
GRACE = 1.0  # seconds; a timeout of the request itself says more than ours
SLICE = 1.0  # seconds; on Windows Ctrl-C does not end a wait for a thread

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a caller waits."""

    timeout: int  # seconds that the server may be silent
    patience: float  # seconds for all attempts together


WRITING = RetryPolicy(60, 300.0)  # an upsert is applied before it is answered; servers restart
READING = RetryPolicy(10, 20.0)  # a person is waiting


class TooLarge(Exception):
    """The server takes no request of this size; a part of it may do."""


class Connection:
    """Requests to one server, with their retries."""

    def __init__(self, address: Server, policy: RetryPolicy) -> None:
        """`address.timeout` takes the place of the policy's. Raises StoreError for an authority
        (SSL_CERT_FILE) that cannot be read."""
        self.url = address.url
        self._address = address
        self._policy = replace(policy, timeout=address.timeout or policy.timeout)
        self._noted = 0.0  # when a wait was last reported
        self._session = self._new_session()

    def wait_longer(self, policy: RetryPolicy) -> None:
        """From now on wait at least as long as `policy` says."""
        self._policy = RetryPolicy(
            max(self._policy.timeout, policy.timeout), max(self._policy.patience, policy.patience)
        )
        self._session.close()
        self._session = self._new_session()

    def wait_at_most(self, policy: RetryPolicy) -> None:
        """From now on wait no longer than `policy` says."""
        self._policy = RetryPolicy(
            min(self._policy.timeout, policy.timeout), min(self._policy.patience, policy.patience)
        )
        self._session = self._new_session()

    def _new_session(self) -> Session:
        # uncompressed: a small answer cannot grow, so its size is checked while it arrives
        headers = {"accept-encoding": "identity"}
        if self._address.key:
            headers["api-key"] = self._address.key
        is_local = self._address.is_localhost
        try:
            return Session(
                Transport(
                    url=self.url,
                    headers=headers,
                    timeout=self._policy.timeout,
                    trust_env=not is_local,  # no proxy for localhost
                    verify=_authorities() if is_local else True,
                )
            )
        except OSError as error:
            raise StoreError(
                f"the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}",
                path=self.url,
                hint="name a file in PEM format, or unset the variable",
            ) from error

    def call(
        self,
        action: str,
        request: Callable[[Session], T],
        instead: Mapping[int, R] = MappingProxyType({}),
        *,
        can_split: bool = False,
    ) -> T | R:
        """Carry out a request, with retries where they may help, until patience ends.

        `action` names it in messages ("writing to 'photos'"); `instead` maps HTTP statuses that
        are no failures to results. Raises StoreError, DiskFull for the server's disk, and where
        the caller `can_split` the request TooLarge.
        """
        started = time.monotonic()
        for attempt in itertools.count(1):
            try:
                result = self._within_patience(request, started)
                if result is None:
                    raise AssertionError  # as qdrant-client itself does, unless run with -O
                return result
            except ClipIndexWarning:  # a note, where the caller made warnings errors
                raise
            except Exception as error:  # every failure is translated here
                status = status_of(error)
                if status is not None and status in instead:
                    return instead[status]
                failure = understand(error, self._policy.timeout)
                if can_split and (failure.too_large or (failure.was_cut and attempt > 1)):
                    raise TooLarge from error
                left = started + self._policy.patience - time.monotonic()
                if not failure.passing or left <= max(0.0, failure.retry_after or 0.0):
                    raise self._failed(action, failure, time.monotonic() - started) from error
            if self._policy.patience - left > SILENT_FOR:
                self._note(f"{failure.reason}; trying for up to {self._policy.patience:.0f} s")
            time.sleep(min(left, _pause(failure, attempt)))
        raise AssertionError("unreachable: count() never ends")

    def _within_patience(self, request: Callable[[Session], T], started: float) -> T:
        """Raises AnswerFault when a request outlasts patience, or one timeout and GRACE.

        Timeouts of httpx restart with every byte, so a server that sends one a second would be
        waited for without end, in the headers as in the body. The request therefore runs in a
        thread, which is abandoned together with its session.
        """
        result: Future[T] = Future()

        def run(session: Session) -> None:
            try:
                result.set_result(request(session))
            except BaseException as error:
                result.set_exception(error)

        Thread(target=run, args=(self._session,), name="request", daemon=True).start()
        began = time.monotonic()
        longest = max(started + self._policy.patience - began, self._policy.timeout + GRACE)
        while not result.done() and (waited := time.monotonic() - began) < longest:
            if waited > SILENT_FOR:
                self._note(f"has not answered for {waited:.0f} s; still waiting")
            wait([result], min(SLICE, longest - waited))
        if not result.done():
            self._session = self._new_session()
            raise AnswerFault(f"did not complete its answer within {longest:.0f} s")
        return result.result()

    def close(self) -> None:
        """Close the sockets."""
        self._session.close()

    def _note(self, text: str) -> None:
        """Report a wait, not too often: it happens inside a request, which returns no event."""
        now = time.monotonic()
        if self._noted and now < self._noted + NOTE_EVERY:
            return
        self._noted = now
        message = self._printable(f"the server {self.url} {text}")
        warnings.warn(message, ClipIndexWarning, stacklevel=4)

    def _failed(self, action: str, failure: Failure, seconds: float) -> StoreError | DiskFull:
        tried = f", tried for {seconds:.0f} s" if failure.passing and seconds >= 1 else ""
        message = f"{action} failed: the server {self.url} {failure.reason}{tried}"
        kind = DiskFull if failure.disk_full else StoreError
        return kind(self._printable(message), path=self.url, hint=failure.hint)

    def _printable(self, text: str) -> str:
        """`text` without the key, and with escapes for what a terminal would obey."""
        if self._address.key:
            text = text.replace(self._address.key, "***")
        return escaped(text)


def _authorities() -> ssl.SSLContext | bool:
    """What may vouch for https on this machine: httpx looks at these variables only together with
    those of proxies."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file, capath=folder) if file or folder else True


def _pause(failure: Failure, attempt: int) -> float:
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)
    return backoff if failure.retry_after is None else max(failure.retry_after, backoff)
