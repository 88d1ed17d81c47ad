"""The double: what a server keeps, and which request does what."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qdrant_double import reads, settings, strict, validation, writes
from qdrant_double.access import Access, authenticate
from qdrant_double.protocol import Fault, Json, Problem, Request, no_collection, wrong_input
from qdrant_double.shard import Shard
from qdrant_double.wire import Handler

READS: dict[str, Callable[..., Any]] = {
    "": reads.retrieve,
    "scroll": reads.scroll,
    "count": reads.count,
    "query": reads.query,
    "query/groups": reads.groups,
}


@dataclass
class State:
    """What the nodes of a cluster share."""

    folder: Path
    shards: dict[str, Shard] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    cluster: Any = None  # see cluster.py
    lock: Any = field(default_factory=threading.RLock)  # a fault's `when` may itself do something

    def shard(self, name: str) -> Shard:
        """A collection by its name or an alias."""
        name = self.aliases.get(name, name)
        if name not in self.shards:
            raise no_collection(name)
        return self.shards[name]


class Double:
    """A server, or a node of a cluster, on a free port of this machine; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        key: str = "",
        read_only_key: str = "",
        version: str = "1.19.0",
        state: State | None = None,
    ) -> None:
        self.key = key
        self.read_only_key = read_only_key
        self.version = version
        self.state = state or State(folder)
        self.strict: Json | None = None  # strict mode of collections made from now on
        self.body_limit = 32 << 20  # bytes; a larger body is answered 400 while it is sent
        self.proxy_limit: int | None = None  # bytes; a larger body is a proxy's 413
        self.keep_alive = 5.0  # seconds after which an idle connection is closed
        self.staleness = 0.0  # seconds; see cluster.py
        self.config_lag = 0.0  # seconds that GET of a collection shows its settings too late
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.lock = self.state.lock
        self.awake = threading.Event()  # cleared: every request hangs
        self.awake.set()
        self.handler = type("BoundHandler", (Handler,), {"double": self})
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.server.daemon_threads = True
        self.connections: set[Any] = set()
        self.port = self.server.server_port
        self.is_running = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and cut those that are open, as a node that was killed does."""
        self.is_running = False
        self.server.shutdown()
        self.server.server_close()
        for handler in list(self.connections):
            handler.cut()

    def __enter__(self) -> Double:
        return self

    def __exit__(self, *_: object) -> None:
        self.awake.set()
        if self.is_running:
            self.stop()
        for shard in self.shards.values():
            shard.close()

    @property
    def shards(self) -> dict[str, Shard]:
        return self.state.shards

    @property
    def aliases(self) -> dict[str, str]:
        return self.state.aliases

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

    def check_json(self, request: Request, raw: bytes) -> None:
        """Raises Problem for a body that is no JSON object, once the key is right."""
        authenticate(request, self.key, self.read_only_key)
        if request.method != "GET" and request.method != "DELETE":
            validation.check_json(raw)

    # --- what the protocol can do ------------------------------------------------------------

    def answer(self, request: Request) -> object:
        """The `result` of a request."""
        access = authenticate(request, self.key, self.read_only_key)
        validation.check(request)
        match [request.method, *request.route]:
            case ["GET", "collections"]:
                seen = [name for name in sorted(self.shards) if access.sees(name)]
                return {"collections": [{"name": name} for name in seen]}
            case ["GET", "aliases"]:
                return {"aliases": self.aliases_of(access)}
            case ["GET", "collections", name, "aliases"]:
                access.use(name)
                listed = self.aliases_of(access)
                return {"aliases": [each for each in listed if each["collection_name"] == name]}
            case ["GET", "collections", name, "exists"]:
                access.use(name)
                return {"exists": self.aliases.get(name, name) in self.shards}
            case ["GET", "collections", name]:
                access.use(name)
                return self.info(self.state.shard(name))
            case ["POST", "collections", "aliases"]:
                self.agree(access)
                return self.change_aliases(request.body)
            case ["PUT" | "PATCH" | "DELETE", "collections", name]:
                self.agree(access)
                return self.change(name, request)
            case ["PUT", "collections", name, "index"]:
                access.use(name, write=True, extras=True)
                return self.write(name, request, writes.create_index)
            case ["POST", "collections", name, "facet"]:
                access.use(name)
                return reads.facet(self.state.shard(name), request.body)
            case [_, "collections", name, "points", *operation]:
                return self.on_points(name, request, "/".join(operation), access)
        raise Problem(404, "", plain=True)

    def agree(self, access: Access) -> None:
        """Raises Problem for who may not change collections, and where no cluster agrees."""
        access.manage()
        if self.state.cluster is not None:
            self.state.cluster.check_consensus()

    def on_points(self, name: str, request: Request, operation: str, access: Access) -> object:
        if request.method == "PUT" and not operation:
            access.use(name, write=True)
            return self.write(name, request, writes.upsert)
        if request.method != "POST":
            raise Problem(404, "", plain=True)
        if operation == "delete":
            access.use(name, write=True)
            return self.write(name, request, writes.delete)
        if operation not in READS:
            raise Problem(404, "", plain=True)
        access.use(name)
        shard = self.state.shard(name)
        strict.check_timeout(shard, request.query)
        if self.state.cluster is None:
            return READS[operation](shard, request.body)
        consistency = request.query.get("consistency", "")
        read = partial(READS[operation], body=request.body)
        return self.state.cluster.read(self, shard, consistency, read)

    def write(self, name: str, request: Request, change: Callable[[Shard, Json], int]) -> Json:
        shard = self.state.shard(name)
        strict.check_timeout(shard, request.query)
        number = change(shard, request.body)
        waited = request.query.get("wait") == "true"
        return {"operation_id": number, "status": "completed" if waited else "acknowledged"}

    def change(self, name: str, request: Request) -> bool:
        if request.method == "PUT":
            return self.create(name, request.body)
        if request.method == "DELETE":
            return self.drop(name)
        shard = self.state.shard(name)
        with shard.lock:
            shard.remember()
            if settings.patch(shard.config, request.body):
                shard.reconfigure()
        return True

    def create(self, name: str, body: Json) -> bool:
        """Make a collection, as PUT does."""
        with self.lock:
            if name in self.shards:
                raise Problem(409, f"Wrong input: Collection `{name}` already exists!")
            if name in self.aliases:
                words = f"Can't create collection with name {name}."
                raise wrong_input(f"{words} Alias with the same name already exists")
            config = settings.created(body, self.strict)
            folder = self.state.folder / uuid.uuid4().hex
            self.shards[name] = Shard(folder, config, keeps_past=self.state.cluster is not None)
        return True

    def drop(self, name: str) -> bool:
        """Delete a collection and its aliases; an alias is no collection."""
        with self.lock:
            shard = self.shards.pop(name, None)
            if shard is None:
                return False
            for alias in [alias for alias, target in self.aliases.items() if target == name]:
                del self.aliases[alias]
            shard.close()
            shutil.rmtree(shard.folder)
        return True

    def aliases_of(self, access: Access) -> list[Json]:
        """Those of which a token may use both the name and the collection."""
        return [
            {"alias_name": alias, "collection_name": name}
            for alias, name in sorted(self.aliases.items(), key=lambda pair: (pair[1], pair[0]))
            if access.sees(alias) and access.sees(name)
        ]

    def change_aliases(self, body: Json) -> bool:
        """All actions before anybody else's request; one that fails leaves the earlier ones done,
        as the real server does. Making an alias that is there replaces it."""
        with self.lock:
            for action in body["actions"]:
                if made := action.get("create_alias"):
                    alias, name = made["alias_name"], made["collection_name"]
                    if name not in self.shards:
                        raise no_collection(name)
                    if alias in self.shards:
                        raise Problem(409, f"Wrong input: Collection `{alias}` already exists!")
                    self.aliases[alias] = name
                elif gone := action.get("delete_alias"):
                    self.aliases.pop(gone["alias_name"], None)
                else:
                    raise validation.unreadable(
                        "data did not match any variant of untagged enum AliasOperations"
                    )
        return True

    def info(self, shard: Shard) -> Json:
        """A collection as GET describes it."""
        with shard.lock:
            about = shard.points.info()
            config, indexes = shard.as_it_was(self.config_lag)
            optimizing = shard.stale and about.points_count and shard.wants_index()
            return {
                "status": shard.status or ("yellow" if optimizing else "green"),
                "optimizer_status": shard.optimizer_status,
                "indexed_vectors_count": about.indexed_vectors_count,
                "points_count": shard.approximate(about.points_count),
                "segments_count": about.segments_count,
                "config": settings.shown(config),
                "payload_schema": {
                    name: {**_described(schema), "points": shard.having(name)}
                    for name, schema in indexes.items()
                },
                "update_queue": {"length": 0},
            }


def _described(schema: Any) -> Json:
    if isinstance(schema, dict):
        return {"data_type": schema["type"], "params": schema}
    return {"data_type": schema}
