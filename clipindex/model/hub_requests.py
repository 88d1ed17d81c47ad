"""Requests to the hub: tried again while it makes sense, and every failure in words.

The door to httpx in this room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from clipindex._version import __version__
from clipindex.errors import ModelError
from clipindex.model.registry import RemoteFile

ATTEMPTS = 5  # in a row that bring nothing of a file
ATTEMPTS_TO_ASK = 3  # about a file: a machine without a network is to be told soon
FIRST_PAUSE = 1.0  # seconds before the second attempt; doubled each time
CONNECT_WITHIN = 10.0  # seconds
MOST_REDIRECTS = 5
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses after which it is tried again
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
WAYS_OUT = (
    "three ways on: name a mirror of the hub in HF_ENDPOINT; or run the same command on a machine"
    " with a network, copy the folder that `clipindex models path NAME` prints there, and use it"
    " here with --model FOLDER; or use mini, which comes with clipindex"
)

T = TypeVar("T")


class HubFailure(Exception):
    """An answer that is no file."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"status {answer.status_code}")
        self.status = answer.status_code
        self.code = answer.headers.get("x-error-code", "")  # the hub's own word for it


class TransientFailure(HubFailure):
    """An answer that the same request may not get again."""


class Interrupted(httpx.TransportError):
    """The connection closed before all bytes had come."""


WORTH_ANOTHER_TRY = (httpx.TransportError, TransientFailure)


class Requests:
    """A client of one hub. The token is sent to the hub alone, and only over https or to this
    machine; a redirect to another host goes without it."""

    def __init__(self, endpoint: str, token: str | None, timeout: float) -> None:
        self._hub = urlsplit(endpoint)
        is_local = self._hub.hostname in LOCAL_HOSTS
        self._token = token if is_local or self._hub.scheme == "https" else None
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=CONNECT_WITHIN),
            headers={"user-agent": f"clipindex/{__version__}", "accept-encoding": "identity"},
            trust_env=not is_local,  # no proxy for this machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def head(self, url: str) -> dict[str, str]:
        """The headers of a file, with those of the answers that redirect to it; not asked of the
        host that only stores a copy. Raises what `in_words` puts into words."""
        said: dict[str, str] = {}
        for _ in range(MOST_REDIRECTS):
            answer = patiently(lambda url=url: self._head(url))  # type: ignore[misc]
            if answer.is_redirect:
                answer.headers.pop("content-length", None)  # of the redirect itself
            said = {**answer.headers, **said}
            if not answer.is_redirect or "x-linked-etag" in said:
                return said
            url = urljoin(url, answer.headers.get("location", ""))
        raise httpx.TooManyRedirects("it redirects in a circle")

    def _head(self, url: str) -> httpx.Response:
        answer = self._client.head(url, headers=self._headers(url))
        _raise_for(answer)
        return answer

    def bytes_from(self, url: str, offset: int) -> Iterator[bytes | None]:
        """The bytes of a file from `offset` on; None first where the server sends it from its
        start instead. Raises what `in_words` puts into words."""
        headers = self._headers(url) | ({"range": f"bytes={offset}-"} if offset else {})
        with self._client.stream("GET", url, headers=headers, follow_redirects=True) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                yield None
                return
            _raise_for(answer)
            if offset and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                yield None
            yield from answer.iter_bytes()  # as they come: a fixed size would lose the last ones

    def _headers(self, url: str) -> dict[str, str]:
        where = urlsplit(url)
        if self._token and (where.scheme, where.netloc) == (self._hub.scheme, self._hub.netloc):
            return {"authorization": f"Bearer {self._token}"}
        return {}


def patiently(request: Callable[[], T]) -> T:
    """What a request returns, tried again after what may pass."""
    for attempt in range(ATTEMPTS_TO_ASK - 1):
        try:
            return request()
        except WORTH_ANOTHER_TRY:
            pause(attempt)
    return request()


def pause(attempt: int) -> None:
    """Before the next attempt; `attempt` counts from 0."""
    time.sleep(FIRST_PAUSE * 2**attempt)


def _raise_for(answer: httpx.Response) -> None:
    if answer.status_code >= 400:
        raise (TransientFailure if answer.status_code in TRANSIENT else HubFailure)(answer)


@contextmanager
def in_words(file: RemoteFile, endpoint: str) -> Iterator[None]:
    """Turns what a request raises into ModelError."""
    try:
        yield
    except HubFailure as error:
        raise _refusal(error, file, endpoint) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError(
            f"the hub cannot be reached at {_asked(error) or endpoint}:"
            f" {str(error) or type(error).__name__}",
            hint=f"what has arrived is kept, and the same command goes on from there; {WAYS_OUT}",
        ) from error


def _asked(error: Exception) -> str:
    """The server that was asked: a firewall may let the hub through, and not its store."""
    try:
        url = getattr(error, "request", None).url  # type: ignore[union-attr]
    except (AttributeError, RuntimeError):  # it has none
        return ""
    return f"{url.scheme}://{url.netloc.decode()}"


def _refusal(error: HubFailure, file: RemoteFile, endpoint: str) -> ModelError:
    repository = f"{endpoint}/{file.repository}"
    log_in = "run `hf auth login`, or set HF_TOKEN"
    if error.code == "GatedRepo":
        return ModelError(
            f"the hub gives {file.repository} only to those who have accepted its terms",
            hint=f"accept them at {repository}, then {log_in}",
        )
    if error.status in (401, 403) or error.code == "RepoNotFound":
        return ModelError(
            f"the hub does not give {file.repository}: it is private, or gone (status"
            f" {error.status})",
            hint=f"look at {repository}; if it is private, {log_in}",
        )
    if error.status == 404:
        at = f" at revision {file.revision[:12]}" if file.revision else ""
        return ModelError(
            f"{repository} has no {file.path}{at}",
            hint="a mirror may lack it: unset HF_ENDPOINT; else update clipindex, whose list of"
            " models may know a newer one",
        )
    return ModelError(
        f"the hub does not answer as it should: status {error.status} of {endpoint}",
        hint=f"try again later: what has arrived is kept; {WAYS_OUT}",
    )
