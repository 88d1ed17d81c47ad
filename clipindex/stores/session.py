"""What a request to a Qdrant server is sent with: plain JSON for what reads, qdrant-client for
what writes.

qdrant-client builds a thousand pydantic models when it is imported: 0.8 s of CPU, which a query
or `status` would spend for five requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ssl import SSLContext
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from clipindex.stores.failures import AnswerFault, ErrorAnswer

if TYPE_CHECKING:
    from clipindex.stores.server_writes import Writes

LARGEST_ANSWER = 64 << 20  # bytes; 250 points of 4,096 numbers have 13 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a server is reached."""

    url: str
    headers: Mapping[str, str]
    timeout: int  # seconds; qdrant-client takes whole ones
    trust_env: bool  # whether the environment may name a proxy
    verify: SSLContext | bool

    def options(self) -> dict[str, Any]:
        """As httpx names them, and qdrant-client, which hands them on."""
        return {
            "headers": dict(self.headers),
            "timeout": self.timeout,
            "trust_env": self.trust_env,
            "verify": self.verify,
            "event_hooks": {"response": [_check_answer]},
        }


class Session:
    """Requests to one server. Each raises httpx's exceptions, ErrorAnswer or AnswerFault, which
    `failures.understand` explains, and ValueError for an answer that is no JSON."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._http = httpx.Client(**transport.options())

    def get(self, path: str) -> Any:
        """The JSON that a path answers with; see `path_of`."""
        return self._http.get(self._transport.url + path).json()

    def post(self, path: str, body: Mapping[str, object], **parameters: str) -> Any:
        """The `result` of a request with a body; what is None in it is not sent."""
        sent = {name: value for name, value in body.items() if value is not None}
        url = self._transport.url + path
        return self._http.post(url, json=sent, params=parameters).json()["result"]

    @cached_property
    def writes(self) -> Writes:
        """The requests that change something."""
        from clipindex.stores.server_writes import Writes  # loads qdrant-client

        return Writes(self._transport.url, self._transport.options())

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()
        if "writes" in self.__dict__:
            self.writes.close()


def path_of(collection: str, *rest: str) -> str:
    """The path of a collection, whatever its name. Raises ValueError for `.` and `..`, which lead
    elsewhere."""
    if collection in (".", ".."):
        raise ValueError(f"no collection has the name {collection!r}")
    return "/".join(("/collections", quote(collection, safe=""), *rest))


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
    """Raises ErrorAnswer for everything but a success with JSON, before it is parsed, and
    AnswerFault for an answer that is compressed or too large."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerFault("compressed its answer, which it was asked not to do")
    assert isinstance(response.stream, httpx.SyncByteStream)  # the client is synchronous
    response.stream = _Limited(response.stream)
    is_json = "json" in response.headers.get("content-type", "")
    if response.status_code not in (200, 201, 202) or not is_json:
        raise ErrorAnswer(response.status_code, response.headers, response.read())
