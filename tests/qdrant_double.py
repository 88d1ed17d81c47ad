"""A loopback double of a Qdrant server: its REST protocol over the real embedded engine.

Good enough for an unmodified QdrantClient, with faults on demand and a log of every request;
filters go through the embedded store's own translation. What it does not prove stands in the
README: limits, replicas, the background optimizer, TLS.
"""

from __future__ import annotations

import email.utils
import gzip
import json
import shutil
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import qdrant_edge

from clipindex.stores.edge import engine_filter

Json = dict[str, Any]
engine: Any = qdrant_edge
GROUPING_SEARCHES = 5  # a server looks so often for further groups, and then makes do


@dataclass(frozen=True)
class Request:
    """One request, as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json


class Problem(Exception):
    """An answer that is no success, in Qdrant's own form."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class Fault:
    """Something that goes wrong with the next `times` requests that `when` picks."""

    kind: str  # see Handler.fail
    times: int = 1
    when: Callable[[Request], bool] = lambda _request: True
    value: str | float = ""


@dataclass
class Shard:
    """One collection: a shard of the embedded engine and what a server keeps beside it."""

    folder: Path
    config: Json
    indexes: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        size = self.config["params"]["vectors"]["size"]
        vectors = engine.EdgeVectorParams(size=size, distance=engine.Distance.Cosine)
        # the test's promises are about the client: no write-ahead log makes the double quicker
        config = engine.EdgeConfig(vectors=vectors, wal_enabled=False)
        self.points = engine.EdgeShard.create(str(self.folder), config)


class Double:
    """A server on a free port of this machine; a context manager."""

    def __init__(self, folder: Path, *, key: str = "", version: str = "1.19.0") -> None:
        self.folder = folder
        self.key = key
        self.version = version
        self.strict: Json | None = None  # strict mode of collections made from now on
        self.shards: dict[str, Shard] = {}
        self.aliases: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.lock = threading.RLock()  # a fault's `when` may itself do something
        handler = type("BoundHandler", (Handler,), {"double": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Double:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        for shard in self.shards.values():
            with shard.lock:
                shard.points.close()

    def fail(self, kind: str, **how: Any) -> None:
        """Let the next request (or those that `when` picks) fail."""
        with self.lock:
            self.faults.append(Fault(kind, **how))

    def requests(self, path: str = "") -> list[Request]:
        """Those whose path holds a text."""
        return [request for request in self.log if path in request.path]

    def next_fault(self, request: Request) -> Fault | None:
        with self.lock:
            self.log.append(request)
            for fault in self.faults:
                if fault.times > 0 and fault.when(request):
                    fault.times -= 1
                    return fault
        return None

    def shard(self, name: str) -> Shard:
        name = self.aliases.get(name, name)
        if name not in self.shards:
            raise Problem(404, f"Not found: Collection `{name}` doesn't exist!")
        return self.shards[name]

    # --- what the protocol can do ------------------------------------------------------------

    def answer(self, request: Request) -> object:
        """The `result` of a request."""
        path, _, query = request.path.partition("?")
        parts = path.strip("/").split("/")
        if self.key and request.headers.get("api-key") != self.key and path != "/":
            raise Problem(401, "Must provide an API key or an Authorization bearer token")
        match [request.method, *parts]:
            case ["GET", "collections"]:
                return {"collections": [{"name": name} for name in sorted(self.shards)]}
            case ["POST", "collections", "aliases"]:
                return self.change_aliases(request.body)
            case ["GET", "aliases"]:
                named = sorted(self.aliases.items())
                return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in named]}
            case ["GET", "collections", name]:
                return self.info(self.shard(name))
            case ["GET", "collections", name, "exists"]:
                return {"exists": self.aliases.get(name, name) in self.shards}
            case ["PUT", "collections", name]:
                return self.create(name, request.body)
            case ["PATCH", "collections", name]:
                return self.change(self.shard(name), request.body)
            case ["DELETE", "collections", name]:
                return self.drop(name)
            case ["PUT", "collections", name, "index"]:
                return self.index(self.shard(name), request.body)
            case [_, "collections", name, "points", *operation]:
                return self.on_points(self.shard(name), request, operation, query)
        raise Problem(404, "")

    def create(self, name: str, body: Json) -> bool:
        with self.lock:
            if name in self.shards:
                raise Problem(409, f"Wrong input: Collection `{name}` already exists!")
            if name in self.aliases:
                raise Problem(400, f"Wrong input: Can't create collection with name {name}. Alias")
            hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
            config = {
                "params": {"vectors": body["vectors"]},
                "hnsw_config": {**hnsw, **(body.get("hnsw_config") or {})},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "strict_mode_config": self.strict,
                "metadata": body.get("metadata"),
            }
            self.shards[name] = Shard(self.folder / uuid.uuid4().hex, config)
        return True

    def change(self, shard: Shard, body: Json) -> bool:
        config = shard.config
        config["hnsw_config"].update(body.get("hnsw_config") or {})
        config["optimizer_config"].update(body.get("optimizers_config") or {})
        if body.get("metadata") is not None:
            config["metadata"] = {**(config["metadata"] or {}), **body["metadata"]}
        return True

    def drop(self, name: str) -> bool:
        shard = self.shards.pop(name, None)
        if shard is not None:
            self.aliases = {
                a: stands_for for a, stands_for in self.aliases.items() if stands_for != name
            }
            with shard.lock:
                shard.points.close()
            shutil.rmtree(shard.folder)
        return shard is not None

    def change_aliases(self, body: Json) -> bool:
        """All actions before anybody else's request; one that fails leaves the earlier ones done,
        as the real server does. Making an alias that is there replaces it."""
        with self.lock:
            for action in body["actions"]:
                if made := action.get("create_alias"):
                    alias, collection = made["alias_name"], made["collection_name"]
                    if collection not in self.shards:
                        raise Problem(404, f"Not found: Collection `{collection}` doesn't exist!")
                    if alias in self.shards:
                        raise Problem(409, f"Wrong input: Collection `{alias}` already exists!")
                    self.aliases[alias] = collection
                elif gone := action.get("delete_alias"):
                    self.aliases.pop(gone["alias_name"], None)
                else:
                    raise Problem(400, f"an action that clipindex never asks for: {action}")
        return True

    def info(self, shard: Shard) -> Json:
        count = _run(shard, lambda points: points.count(engine.CountRequest()))
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": count,
            "indexed_vectors_count": 0,
            "segments_count": 1,
            "config": shard.config,
            "payload_schema": {
                name: {"data_type": "keyword", "points": count} for name in shard.indexes
            },
        }

    def index(self, shard: Shard, body: Json) -> Json:
        name, keyword = body["field_name"], engine.PayloadSchemaType.Keyword
        operation = engine.UpdateOperation.create_field_index(name, keyword)
        _run(shard, lambda points: points.update(operation))
        shard.indexes.add(name)
        return {"operation_id": 0, "status": "completed"}

    def on_points(self, shard: Shard, request: Request, operation: list[str], query: str) -> object:
        body = request.body
        self.check_strict(shard, body, operation)
        if request.method == "PUT" or operation == ["delete"]:
            if "wait=true" not in query:
                raise Problem(400, "the tests want every write to be waited for")
            ids = [_id(id) for id in body["points"]] if operation else []
            delete = engine.UpdateOperation.delete_points
            change = delete(ids) if operation else _upsert(shard, body)
            _run(shard, lambda points: points.update(change))
            return {"operation_id": 0, "status": "completed"}
        match operation:
            case []:
                ids = [_id(id) for id in body["ids"]]
                vectors = bool(body.get("with_vector"))
                found = _run(shard, lambda points: points.retrieve(ids, True, vectors))
                return [_record(each, vectors) for each in found]
            case ["count"]:
                asked = engine.CountRequest(True, _filter(body.get("filter")))
                return {"count": _run(shard, lambda points: points.count(asked))}
            case ["query", "groups"]:
                return {"groups": self.groups(shard, body)}
            case ["scroll"]:
                return self.scroll(shard, body)
        raise Problem(404, "")

    def groups(self, shard: Shard, body: Json) -> list[Json]:
        """As a server does it: a few searches, each without the groups that are full already."""
        if body.get("group_size") != 1 or body.get("offset"):
            raise Problem(400, "the double gives one point of each group, from the first on")
        field, limit, filled = body["group_by"], body.get("limit") or 3, dict[str, Any]()
        conditions = body.get("filter") or {}
        for _ in range(GROUPING_SEARCHES):
            full = {"key": field, "match": {"any": list(filled)}}
            others = [*(conditions.get("must_not") or ()), full]
            hits = self.search(shard, body, limit, {**conditions, "must_not": others})
            for hit in hits:
                filled.setdefault(hit.payload[field], hit)
            if len(filled) >= limit or not hits:
                break
        best = sorted(filled.items(), key=lambda group: -group[1].score)[:limit]
        return [
            {"id": key, "hits": [{**_record(hit, False), "score": hit.score, "version": 0}]}
            for key, hit in best
        ]

    def search(self, shard: Shard, body: Json, limit: int, conditions: Json) -> Any:
        vector = body["query"]["nearest"] if isinstance(body["query"], dict) else body["query"]
        asked = engine.QueryRequest(
            limit=limit,
            query=engine.Query.Nearest(vector),
            filter=_filter(conditions),
            with_payload=[body["group_by"]],
            with_vector=False,
            params=engine.SearchParams(exact=True),
        )
        return _run(shard, lambda points: points.query(asked))

    def scroll(self, shard: Shard, body: Json) -> Json:
        offset = body.get("offset")
        asked = engine.ScrollRequest(
            limit=body.get("limit") or 10,
            offset=None if offset is None else _id(offset),
            filter=_filter(body.get("filter")),
            with_payload=True,
            with_vector=bool(body.get("with_vector")),
        )
        page, following = _run(shard, lambda points: points.scroll(asked))
        vectors = bool(body.get("with_vector"))
        return {
            "points": [_record(each, vectors) for each in page],
            "next_page_offset": None if following is None else str(following),
        }

    def check_strict(self, shard: Shard, body: Json, operation: list[str]) -> None:
        """What a server in strict mode refuses, as far as we know."""
        strict = shard.config["strict_mode_config"] or {}
        if not strict.get("enabled"):
            return
        limit = strict.get("max_query_limit")
        asked = body.get("limit", 10) * body.get("group_size", 1)
        if limit and operation in (["query", "groups"], ["scroll"]) and asked > limit:
            raise Problem(400, f"Bad request: Limit exceeded {asked} > {limit}")
        most = strict.get("upsert_max_batchsize")
        if most and len(body.get("points", ())) > most and not operation:
            raise Problem(400, f"Bad request: Upsert limit exceeded > {most}")
        for name in _fields(body):
            if strict.get("unindexed_filtering_retrieve") is False and name not in shard.indexes:
                raise Problem(400, f'Bad request: Index required but not found for "{name}"')


def _run(shard: Shard, call: Callable[[Any], Any]) -> Any:
    with shard.lock:
        try:
            return call(shard.points)
        except Exception as error:
            raise Problem(400, f"Wrong input: {error}") from error


def _id(id: str | int) -> uuid.UUID | int:
    return uuid.UUID(id) if isinstance(id, str) else id


def _record(record: Any, vectors: bool) -> Json:
    id = record.id if isinstance(record.id, int) else str(record.id)
    found = {"id": id, "payload": record.payload}
    return {**found, "vector": [float(x) for x in record.vector]} if vectors else found


def _upsert(shard: Shard, body: Json) -> Any:
    size = shard.config["params"]["vectors"]["size"]
    for point in body["points"]:
        if len(point["vector"]) != size:
            got = len(point["vector"])
            raise Problem(400, f"Vector dimension error: expected dim: {size}, got {got}")
    return engine.UpdateOperation.upsert_points(
        [engine.Point(_id(p["id"]), p["vector"], p.get("payload") or {}) for p in body["points"]]
    )


def _filter(conditions: Json | None) -> Any:
    try:
        return engine_filter({k: v for k, v in (conditions or {}).items() if v})
    except (KeyError, TypeError, ValueError) as error:
        raise Problem(400, f"a filter that clipindex never asks for: {conditions}") from error


def _fields(body: Json) -> list[str]:
    """Every payload field that a request filters or groups by."""
    conditions = (body.get("filter") or {}).values()
    filtered = [condition["key"] for clause in conditions for condition in clause or ()]
    return [*filtered, *filter(None, [body.get("group_by")])]


class Handler(BaseHTTPRequestHandler):
    """HTTP around the double, and everything that can go wrong on the way."""

    double: Double
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet: the double keeps its own log."""

    def serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        fault = self.double.next_fault(request)
        if fault is None or fault.kind in ("applied", "truncated", "halved"):
            status, answer = self.result(request)
        if fault is not None:
            self.fail(fault, b"{}" if fault.kind not in ("truncated", "halved") else answer)
        else:
            self.send(status, answer)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def result(self, request: Request) -> tuple[int, bytes]:
        if request.path == "/":
            about = {"title": "qdrant - vector search engine", "version": self.double.version}
            return 200, json.dumps(about).encode()
        try:
            answer = {"result": self.double.answer(request), "status": "ok", "time": 0.0}
            return 200, json.dumps(answer).encode()
        except Problem as problem:
            words = {"status": {"error": str(problem)}, "time": 0.0}
            return problem.status, json.dumps(words).encode()

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
            case status:
                words = json.dumps({"status": {"error": str(fault.value)}, "time": 0.0})
                self.send(int(status), words.encode())

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

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Reset the connection, as a server that died does."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()


@contextmanager
def refused_port() -> Iterator[str]:
    """The URL of a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
