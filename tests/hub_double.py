"""A Hugging Face hub on this machine: the parts of its protocol that a download uses.

`/REPOSITORY/resolve/REVISION/PATH` answers for a small file with its bytes, for a large one with a
redirect to a second server, as the hub does to its store, and both know ranges. Faults are injected
by name of the file: each is used up by the answers that it spoils.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MOVED = "api/cache/"  # where the hub's own redirects lead
LARGE = 1000  # bytes from which a file is kept in the store, under its SHA-256


@dataclass
class Request:
    """One request as it arrived."""

    server: str  # hub or store
    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Fault:
    """What goes wrong with the next `times` answers that carry a file's bytes, or for `head` with
    those that only speak of it."""

    times: int = 1_000_000
    status: int = 0  # instead of the file
    code: str = ""  # the hub's X-Error-Code beside it
    cut: int = 0  # bytes after which the connection closes
    other: bool = False  # the right number of other bytes
    whole: bool = False  # ranges are ignored
    head: bool = False


@dataclass
class HubDouble:
    """Both servers, their files, and the requests that came."""

    repository: str = "someone/small"
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    as_mirror: bool = False  # its etags say nothing about the content
    moved: bool = False  # a small file lies below another path of the hub
    as_page: bool = False  # no hub at all: a network's page to log in

    def __enter__(self) -> HubDouble:
        self._servers = [_serve(_hub_handler(self)), _serve(_store_handler(self))]
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def store_url(self) -> str:
        """Another origin than the hub's: the port differs."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def fetched(self, path: str = "") -> list[Request]:
        """The requests for bytes, of one file or all."""
        wanted = hashlib.sha256(self.files[path]).hexdigest() if path else ""
        return [
            request
            for request in self.requests
            if request.method == "GET"
            and (request.path.endswith(path) or request.path.endswith(wanted))
        ]

    def _fault(self, path: str, *, head: bool) -> Fault | None:
        for fault in self.faults.get(path, []):
            if fault.head == head and fault.times:
                fault.times -= 1
                return fault
        return None


def _serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""
    double: HubDouble

    def log_message(self, *_: object) -> None:
        """Silent."""

    def note(self) -> None:
        self.double.requests.append(
            Request(
                self.name,
                self.command,
                urlsplit(self.path).path,
                self.headers.get("range"),
                self.headers.get("authorization"),
            )
        )

    def answer(self, status: int, headers: dict[str, Any], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: str, headers: dict[str, Any]) -> None:
        """The bytes, or the part that is asked for, or what a fault makes of them."""
        content = self.double.files[path]
        if self.command == "HEAD":
            self.answer(200, {**headers, "Content-Length": len(content)})
            return
        fault = self.double._fault(path, head=False) or Fault()
        if fault.status:
            self.answer(fault.status, {"X-Error-Code": fault.code})
            return
        if fault.other:
            content = bytes(byte ^ 1 for byte in content)
        wanted = self.headers.get("range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if start >= len(content) > 0 and not fault.whole:
            self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        status = 200
        if start and not fault.whole:
            status = 206
            size = len(content)
            headers = {**headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"}
            content = content[start:]
        if not fault.cut:
            self.answer(status, headers, content)
            return
        self.answer(status, {**headers, "Content-Length": len(content)}, content[: fault.cut])
        self.close_connection = True


def _hub_handler(of: HubDouble) -> type[BaseHTTPRequestHandler]:
    class Hub(_Handler):
        name = "hub"
        double = of

        def do_GET(self) -> None:
            self.note()
            if of.as_page:
                self.answer(200, {}, b"<html>please log in</html>")
                return
            asked = urlsplit(self.path).path[1:]
            if of.moved and not asked.startswith(MOVED):
                self.answer(307, {"Location": f"/{MOVED}{asked}"}, b"Temporary Redirect")
                return
            repository, _, rest = asked.removeprefix(MOVED).partition("/resolve/")
            revision, _, path = rest.partition("/")
            if repository != of.repository:
                self.answer(401, {"X-Error-Code": "RepoNotFound"})
                return
            if revision not in (COMMIT, "main"):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
                return
            if path not in of.files:
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            if self.command == "HEAD" and (fault := of._fault(path, head=True)):
                self.answer(fault.status, {"X-Error-Code": fault.code})
                return
            self.give(path)

        do_HEAD = do_GET  # noqa: N815

        def give(self, path: str) -> None:
            content = of.files[path]
            headers: dict[str, Any] = {"X-Repo-Commit": COMMIT}
            sha256 = hashlib.sha256(content).hexdigest()
            if len(content) < LARGE:
                git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                self.send_file(path, {**headers, "ETag": f'"{git}"'})
                return
            etag = f'"{"of-a-mirror" if of.as_mirror else sha256}"'
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": len(content)}
            headers["Location"] = f"{of.store_url}/store/{sha256}"
            self.answer(302, headers, b"Found. Redirecting")

    return Hub


def _store_handler(of: HubDouble) -> type[BaseHTTPRequestHandler]:
    class Store(_Handler):
        name = "store"
        double = of

        def do_GET(self) -> None:
            self.note()
            wanted = self.path.rpartition("/")[2]
            for path, content in of.files.items():
                if hashlib.sha256(content).hexdigest() == wanted:
                    self.send_file(path, {"ETag": '"of-the-store"'})
                    return
            self.answer(404, {})

        do_HEAD = do_GET  # noqa: N815

    return Store
