"""Everything that can go wrong on the way: faults that a test puts before an answer."""

from __future__ import annotations

import email.utils
import gzip
import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

from qdrant_double.protocol import Fault

# A server in trouble, in its own words: lib/collection/src/shards/replica_set/update.rs,
# shards/local_shard/shard_ops.rs, shards/shard_holder/mod.rs, operations/types.rs and
# lib/storage/src/content_manager/consensus_manager.rs of Qdrant v1.18.3; the last two of v1.19.0.
INTERNAL = "Service internal error: "
TROUBLE = {
    "no active replica": (
        500,
        INTERNAL + "The replica set for shard 0 on peer 1 has no active replica",
    ),
    "no replica agrees": (
        500,
        INTERNAL + "Failed to apply operation to at least one `Active` replica."
        " Consistency of this update is not guaranteed. Please retry.",
    ),
    "no consensus": (
        500,
        INTERNAL + "Waiting for consensus operation commit failed. Timeout set at: 10 seconds",
    ),
    "wal full": (
        500,
        INTERNAL + "No space left on device: WAL buffer size exceeds available disk space",
    ),
    "disk full": (500, INTERNAL + "No space left on device (os error 28)"),
    "too slow": (408, "Timeout: Operation 'Search' timed out after 60s"),
    "recovering": (
        503,
        "Shard temporarily unavailable: partial snapshot recovery is in progress",
    ),
    "quota": (507, "Insufficient storage: disk usage is above the limit of this node"),
    "standalone": (405, "Qdrant is running in standalone mode"),
}


class Faults(BaseHTTPRequestHandler):
    """The part of the handler that answers wrongly, late or not at all."""

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise NotImplementedError

    def hang_up(self) -> None:
        raise NotImplementedError

    def fail(self, fault: Fault, answer: bytes) -> None:
        match fault.kind:
            case "slow" | "applied":  # `applied`: it was done, but nobody hears of it in time
                time.sleep(float(fault.value))
                self.hang_up()
            case "dropped":
                self.hang_up()
            case "drip" | "drip headers":
                self.drip(float(fault.value), headers=fault.kind == "drip headers")
            case "halved":  # valid HTTP that ends too soon
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer[: len(answer) // 2])
                self.hang_up()
            case "truncated":  # whole HTTP around half of the JSON
                self.send(200, answer[: len(answer) // 2])
            case _:
                self.answer_wrongly(fault)

    def answer_wrongly(self, fault: Fault) -> None:
        """Whole answers that are not what was asked for."""
        match fault.kind:
            case "gzip":
                spaces = gzip.compress(b" " * int(fault.value))
                self.send(200, spaces, {"content-encoding": "gzip"})
            case "large":
                self.send(200, b" " * int(fault.value))
            case "seconds":
                self.send(429, b"{}", {"retry-after": str(fault.value)})
            case "date":
                when = email.utils.formatdate(time.time() + float(fault.value), usegmt=True)
                self.send(429, b"{}", {"retry-after": when})
            case "html":
                self.send(200, b"<html>Please log in</html>", {"content-type": "text/html"})
            case "empty":
                self.send(200, b"{}")
            case "redirect":
                self.send(307, b"", {"location": str(fault.value)})
            case "401" | "403" if fault.plain:
                self.send(
                    int(fault.kind), str(fault.value).encode(), {"content-type": "text/plain"}
                )
            case trouble if trouble in TROUBLE:
                status, words = TROUBLE[trouble]
                self.send(status, json.dumps({"status": {"error": words}, "time": 0.0}).encode())
            case status:
                words = json.dumps({"status": {"error": str(fault.value)}, "time": 0.0})
                self.send(int(status), words.encode(), fault.headers)

    def drip(self, seconds: float, *, headers: bool) -> None:
        """A byte at a time, never silent for long: of the headers, or of the body."""
        start = b"HTTP/1.1 200 OK\r\n"
        if not headers:
            start += b"content-type: application/json\r\ncontent-length: 99999\r\n\r\n"
        self.close_connection = True
        with suppress(OSError):  # the client gave up
            self.wfile.write(start)
            for _ in range(int(seconds / 0.05)):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
