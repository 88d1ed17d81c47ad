"""HTTP around the double: bodies, answers, limits of size, connections."""

from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from qdrant_double.faults import Faults
from qdrant_double.protocol import Problem, Request
from qdrant_double.validation import unreadable

if TYPE_CHECKING:
    from qdrant_double.double import Double

NGINX = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"


class Handler(Faults, BaseHTTPRequestHandler):
    """One connection."""

    double: Double
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.timeout = self.double.keep_alive
        super().setup()
        self.double.connections.add(self)

    def finish(self) -> None:
        self.double.connections.discard(self)
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Quiet: the double keeps its own log."""

    def handle_one_request(self) -> None:
        with suppress(ConnectionError, BrokenPipeError):
            super().handle_one_request()
            return
        self.close_connection = True

    def serve(self) -> None:
        self.started = time.monotonic()
        length = int(self.headers.get("content-length") or 0)
        if self.double.proxy_limit is not None and length > self.double.proxy_limit:
            self.refuse_body(413, NGINX, "text/html")
            return
        raw = b"" if length > self.double.body_limit else self.rfile.read(length)
        request = self.parsed(raw)
        self.double.awake.wait(600)
        fault = self.double.next_fault(request)
        if fault is None and length > self.double.body_limit:
            words = f"JSON payload ({length} bytes) is larger than allowed"
            words += f" (limit: {self.double.body_limit} bytes)."
            self.refuse_body(400, self.error(words), "application/json")
            return
        if fault is None or fault.kind in ("applied", "truncated", "halved"):
            status, answer, headers = self.result(request, raw)
        if fault is not None:
            self.fail(fault, b"{}" if fault.kind not in ("truncated", "halved") else answer)
        else:
            self.send(status, answer, headers)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def parsed(self, raw: bytes) -> Request:
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, body if isinstance(body, dict) else {})

    def result(self, request: Request, raw: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer."""
        if request.route in ([""], []):
            about = {"title": "qdrant - vector search engine", "version": self.double.version}
            return 200, json.dumps(about).encode(), {}
        try:
            self.double.check_json(request, raw)
            answer = {"result": self.answer(request), "status": "ok", "time": self.spent()}
            return 200, json.dumps(answer).encode(), {}
        except Problem as problem:
            if problem.plain:
                kind = {"content-type": "text/plain; charset=utf-8"}
                return problem.status, str(problem).encode(), {**kind, **problem.headers}
            return problem.status, self.error(str(problem)), problem.headers

    def answer(self, request: Request) -> object:
        """A value of another type than the server expects is a 400."""
        try:
            return self.double.answer(request)
        except (KeyError, TypeError, AttributeError) as error:
            raise unreadable(f"{type(error).__name__}: {error}") from error

    def error(self, words: str) -> bytes:
        return json.dumps({"status": {"error": words}, "time": self.spent()}).encode()

    def spent(self) -> float:
        return round(time.monotonic() - self.started, 9)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            if body or name != "content-type":
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse_body(self, status: int, answer: bytes, kind: str) -> None:
        """Answer before the body has come, and close: a client that still sends may see the
        answer or a broken pipe."""
        self.send(status, answer, {"content-type": kind, "connection": "close"})
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection from another thread, while this one waits for the next request."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Reset the connection, as a server that died does."""
        self.close_connection = True
        with suppress(OSError, ValueError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.wfile.flush()
            self.connection.close()
