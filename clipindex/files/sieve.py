"""Listings of Google's and Azure's stores, without the keys at which obstore gives up.

For one key that is no path obstore withholds the whole page, and no other library here has the
credentials to ask again. So obstore lists through a server of our own, on the loopback interface
while this one listing lasts: each request goes on to the store as it is, and of the answer the
keys that are no paths are taken out and kept.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote
from urllib.request import getproxies

import httpx

from clipindex.files.addresses import key_fault
from clipindex.files.objects import Listed

SECONDS = 60.0  # without an answer or a byte
_HOPS = {"host", "connection", "content-length", "content-encoding", "transfer-encoding"}
_ITEM = re.compile(rb"<(Contents|Blob)>.*?</\1>", re.DOTALL)
_KEY = re.compile(rb"<(?:Key|Name)( Encoded=\"true\")?>(.*?)</(?:Key|Name)>", re.DOTALL)
_SIZE = re.compile(rb"<(?:Size|Content-Length)>(\d+)<")
_REFERENCE = re.compile(r"&(?:#(\d+)|#[xX]([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class Sieve:
    """A server at `url` that stands before the store at `store`, both without a slash at the
    end. Raises OSError for a proxy that cannot be used."""

    def __init__(self, store: str) -> None:
        self.store = store
        self._odd: deque[Listed] = deque()
        try:  # through the proxies of the environment, as obstore
            self.client = httpx.Client(verify=ssl.create_default_context(), timeout=SECONDS)
        except (ImportError, ValueError, httpx.InvalidURL):
            raise OSError(errno.EIO, "the proxy of the environment cannot be used") from None
        handler = type("Handler", (_Handler,), {"sieve": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def taken(self) -> Iterator[Listed]:
        """The objects that it took out of listings since the last call."""
        while self._odd:
            yield self._odd.popleft()

    def filtered(self, answer: bytes) -> bytes:
        """A page of a listing without the objects whose keys are no paths."""
        return _ITEM.sub(self._kept, answer)

    def _kept(self, match: re.Match[bytes]) -> bytes:
        item = match[0]
        key, size = _KEY.search(item), _SIZE.search(item)
        if key is None or size is None:
            return item
        name = _text(key[2])
        if key[1]:  # Azure's way to write what XML cannot hold
            name = unquote(name, errors="surrogateescape")
        if key_fault(name.encode("utf-8", "surrogateescape")) is None:
            return item
        self._odd.append(Listed(name, int(size[1]), 0.0, ""))  # never read: no time, no tag
        return b""


@contextmanager
def sieve(store: str) -> Iterator[Sieve]:
    """A sieve before the store at this address, while the context lasts."""
    filtering = Sieve(store)
    thread = threading.Thread(target=filtering.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield filtering
    finally:
        filtering.server.shutdown()
        filtering.server.server_close()
        thread.join()
        filtering.client.close()


def direct(options: dict[str, object]) -> dict[str, object]:
    """Options of obstore's client, with which it asks a sieve without the proxy of the environment:
    the credentials stay on this machine until the sieve sends them on."""
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("http") or proxies.get("all")
    if proxy is None:
        return options
    excluded = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return {**options, "proxy_url": proxy, "proxy_excludes": f"{excluded},127.0.0.1".lstrip(",")}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Nothing: a listing that is given up closes its connection."""


class _Handler(BaseHTTPRequestHandler):
    sieve: Sieve
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_args: object) -> None:
        """Nothing: an address may hold a signature."""

    def do_GET(self) -> None:
        headers = {name: self.headers[name] for name in self.headers if name.lower() not in _HOPS}
        try:
            answer = self.sieve.client.get(self.sieve.store + self.path, headers=headers)
            status, body = answer.status_code, answer.content
        except httpx.HTTPError:  # obstore asks again, as for a gateway that fails
            status, body, answer = 502, b"", httpx.Response(502)
        if status == 200:
            body = self.sieve.filtered(body)
        self.send_response(status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOPS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _text(xml: bytes) -> str:
    """The text of an element; a parser would refuse the references to control characters."""
    return _REFERENCE.sub(_referred, xml.decode("utf-8", "surrogateescape"))


def _referred(match: re.Match[str]) -> str:
    if match[3]:
        return _NAMED[match[3]]
    number = int(match[1]) if match[1] else int(match[2], 16)
    return chr(number) if number <= 0x10FFFF else match[0]
