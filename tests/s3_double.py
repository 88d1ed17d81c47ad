"""A small S3 server on this machine, for the tests: objects in memory, signatures checked with
botocore's own signer, and faults where a test wants them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMIsecret", "FwoGZXIvYXdzTOKEN"
PAGE = 1000


@dataclass(frozen=True)
class Fault:
    """What a server does instead of answering as it should: a status and a code; `after` bytes
    the connection is closed."""

    status: int = 200
    code: str = ""
    after: int | None = None


@dataclass
class Stored:
    """An object. `written`: seconds since 1970."""

    data: bytes
    written: float = 1_700_000_000.25

    @property
    def tag(self) -> str:
        return '"' + hashlib.md5(self.data, usedforsecurity=False).hexdigest() + '"'


@dataclass
class S3Double:
    """Buckets of objects; every request is noted. `faults`: key -> what happens to the next
    requests for it, one after another; the last one stays."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=lambda: defaultdict(dict))
    requests: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    refused: int = 0  # requests with a wrong signature
    sent: int = 0  # bytes of bodies
    page: int = PAGE
    authorised: set[str] = field(default_factory=set)  # the values of Authorization
    delay: float = 0.0  # seconds before each answer to a GET
    url: str = ""
    queries: list[str] = field(default_factory=list)  # what stood behind the `?` of requests
    at_once: int = 0  # objects being sent now
    most_at_once: int = 0

    def put(
        self, key: str, data: bytes, bucket: str = "cats", written: float = 1.7e9 + 0.25
    ) -> None:
        """Store an object."""
        self.buckets[bucket][key] = Stored(data, written)

    def take(self) -> list[str]:
        """The requests since the last call: `LIST prefix`, `HEAD key`, `GET key`."""
        taken, self.requests = self.requests, []
        return taken


@contextmanager
def s3_double() -> Iterator[S3Double]:
    """A server while the context lasts."""
    double = S3Double()
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    double.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    double: S3Double
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_args: object) -> None:
        """Nothing: the tests read `requests`."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).removeprefix("/").partition("/")
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        is_azure = asked.get("comp") == "list"
        is_list = "list-type" in asked or is_azure
        verb = "LIST" if is_list else self.command
        name = asked.get("prefix", "") if is_list else key
        self.double.requests.append(f"{verb} {name}")
        self.double.queries.append(address.query)
        self.double.authorised |= {self.headers.get("authorization", "")}
        if self.headers.get("authorization", "").startswith("AWS4") and not self._is_signed():
            self.double.refused += 1
            return self._fail(403, "SignatureDoesNotMatch")
        fault = self._fault(f"LIST {name}" if is_list else key)
        if fault is not None and fault.after is None:
            return self._fail(fault.status, fault.code)
        if bucket not in self.double.buckets:
            return self._fail(404, "NoSuchBucket")
        if is_azure:
            return self._list_blobs(self.double.buckets[bucket], asked.get("prefix", ""))
        if is_list:
            return self._list(self.double.buckets[bucket], asked)
        stored = self.double.buckets[bucket].get(key)
        if stored is None:
            return self._fail(404, "NoSuchKey")
        if self.headers.get("if-match") not in (None, "*", stored.tag, stored.tag.strip('"')):
            return self._fail(412, "PreconditionFailed")
        return self._send(stored, fault.after if fault else None)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _fault(self, key: str) -> Fault | None:
        waiting = self.double.faults.get(key)
        if not waiting:
            return None
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def _fail(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, stored: Stored, after: int | None) -> None:
        self.double.at_once += 1
        self.double.most_at_once = max(self.double.most_at_once, self.double.at_once)
        time.sleep(self.double.delay)
        self.double.at_once -= 1
        size = len(stored.data)
        start, stop = asked_part(self.headers.get("range"), size)
        self.send_response(206 if "range" in self.headers else 200)
        self.send_header("ETag", stored.tag)
        self.send_header("Last-Modified", formatdate(int(stored.written), usegmt=True))
        self.send_header("Content-Length", str(stop - start))
        self.send_header("x-ms-blob-type", "BlockBlob")
        if "range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        if self.command != "HEAD":
            body = stored.data[start:stop][:after]
            self.double.sent += len(body)
            self.wfile.write(body)
            self.close_connection = after is not None

    def _list(self, objects: dict[str, Stored], asked: dict[str, str]) -> None:
        prefix = asked.get("prefix", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
        page, rest = keys[: self.double.page], keys[self.double.page :]
        is_url = asked.get("encoding-type") == "url"  # or a control character breaks the XML
        name = quote if is_url else partial(escape, entities={"\x01": "&#1;"})
        contents = "".join(
            f"<Contents><Key>{name(key)}</Key><Size>{len(objects[key].data)}</Size>"
            f"<LastModified>{_time(objects[key].written)}</LastModified>"
            f"<ETag>{escape(objects[key].tag)}</ETag></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        encoding = "<EncodingType>url</EncodingType>" if is_url else ""
        body = (
            f"<ListBucketResult><IsTruncated>{'true' if rest else 'false'}</IsTruncated>"
            f"{encoding}{more}{contents}</ListBucketResult>"
        ).encode()
        self._answer(body)

    def _list_blobs(self, objects: dict[str, Stored], prefix: str) -> None:
        """A listing as Azure writes it, on one page."""
        blobs = "".join(
            f"<Blob>{_blob_name(key)}<Properties>"
            f"<Last-Modified>{formatdate(int(stored.written), usegmt=True)}</Last-Modified>"
            f"<Content-Length>{len(stored.data)}</Content-Length>"
            f"<Content-Type>image/jpeg</Content-Type><Etag>{stored.tag[1:-1]}</Etag>"
            "</Properties></Blob>"
            for key, stored in sorted(objects.items())
            if key.startswith(prefix)
        )
        self._answer(
            f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>".encode()
        )

    def _answer(self, body: bytes) -> None:
        self.double.sent += len(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _is_signed(self) -> bool:
        """Whether the request's signature is the one that botocore makes of it."""
        given = dict(
            part.strip().split("=", 1)
            for part in self.headers["authorization"].partition(" ")[2].split(",")
        )
        signer = S3SigV4Auth(Credentials(KEY, SECRET), "s3", given["Credential"].split("/")[2])
        signed = {name: self.headers[name] for name in given["SignedHeaders"].split(";")}
        request = AWSRequest(self.command, self.double.url + self.path, headers=signed)
        request.context["timestamp"] = self.headers["x-amz-date"]
        text = signer.string_to_sign(request, signer.canonical_request(request))
        is_ours = given["Credential"].startswith(f"{KEY}/")
        return is_ours and signer.signature(text, request) == given["Signature"]


def asked_part(header: str | None, size: int) -> tuple[int, int]:
    """From where to where a request wants an object's bytes."""
    start, _, last = (header or "").removeprefix("bytes=").partition("-")
    return int(start or 0), min(int(last) + 1 if last else size, size)


def _blob_name(key: str) -> str:
    """Azure writes a name that XML cannot hold percent-encoded."""
    if key.isprintable():
        return f"<Name>{escape(key)}</Name>"
    return f'<Name Encoded="true">{quote(key)}</Name>'


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
