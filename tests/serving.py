"""A service for tests: asked in this process, or listening at a port of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

import clipindex
from clipindex.serve import running as process
from clipindex.serve.app import application
from clipindex.serve.options import ServeOptions
from clipindex.serve.service import Service

HERE = "http://127.0.0.1:8420"


class Caller:
    """Asks a service in this process, without a socket."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._transport = httpx.ASGITransport(application(service), raise_app_exceptions=False)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=HERE) as client:
                return await client.request(method, path, **more)

        return asyncio.run(request())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("POST", path, **more)

    def paths(self, **query: Any) -> list[str]:
        """The names of the files that a search finds, best first."""
        answer = self.get("/search", params=query)
        assert answer.status_code == 200, answer.text
        return [result["name"] for result in answer.json()["results"]]


@contextmanager
def calling(
    index: clipindex.Index, say: Callable[[str], object] = str, **options: Any
) -> Iterator[Caller]:
    with Service(index, ServeOptions(**options), say) as service:
        yield Caller(service)


@contextmanager
def listening(index: clipindex.Index, **options: Any) -> Iterator[str]:
    """A service at a free port; gives its URL."""
    started = threading.Event()
    with (
        Service(index, ServeOptions(port=0, **options)) as service,
        process.bound(service.options) as listener,
    ):
        server = process.server_for(service, started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(10)
            yield process.url_of(listener).rstrip("/")
        finally:
            server.should_exit = True
            thread.join(15)
