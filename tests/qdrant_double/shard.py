"""One collection: a shard of the real engine, and what a server keeps beside it.

Vectors, quantisation, the search graph, filters and payload indexes are the engine's own. The
optimizer runs before the first read after enough writes, not in the background.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qdrant_edge

from copies import copied
from qdrant_double.protocol import Json, Problem, wrong_input
from qdrant_double.strict import RateLimiter

engine: Any = qdrant_edge
KILOBYTE = 1024
BYTES_OF_A_NUMBER = {"float32": 4, "float16": 2, "uint8": 1}


@dataclass
class Shard:
    """A collection; `config` and `indexes` are what a request asked for, `points` does it."""

    folder: Path
    config: Json
    indexes: dict[str, Any] = field(default_factory=dict)  # field -> type, or its parameters
    lock: threading.RLock = field(default_factory=threading.RLock)
    keeps_past: bool = False
    # what a test may set
    status: str = ""  # "yellow", "grey" or "red"; else as the optimizer stands
    optimizer_status: Any = "ok"  # or {"error": "words"}
    count_error: float = 0.0  # of points_count and of estimates, as a part of the count
    recall_loss: float = 0.0  # the part of each search's hits that only `exact` is sure to find

    def __post_init__(self) -> None:
        self.points = engine.EdgeShard.create(str(self.folder), engine_config(self.config))
        self.operations = itertools.count(1)
        self.versions: dict[object, int] = {}
        self.stale = False  # written to since the optimizer looked
        self.limiters: dict[str, RateLimiter] = {}
        self.history: list[tuple[float, Json, dict[str, Any]]] = []
        self.undo: list[tuple[float, object, Any]] = []

    @property
    def dimension(self) -> int:
        """Numbers of a vector. Raises Problem where vectors have names, which is all the double
        does with them."""
        if "size" not in self.config["params"]["vectors"]:
            raise wrong_input("Not existing vector name error: ")
        return int(self.config["params"]["vectors"]["size"])

    def run(self, call: Callable[[Any], Any]) -> Any:
        """Call the engine; what it refuses is a 400."""
        with self.lock:
            try:
                return call(self.points)
            except Problem:
                raise
            except Exception as error:
                raise wrong_input(str(error)) from error

    def write(self, change: Any) -> int:
        """Apply an update; its number."""
        with self.lock:
            self.run(lambda points: points.update(change))
            self.stale = True
            return next(self.operations)

    def optimize(self) -> None:
        """Build graph and quantised vectors, as the server does above the indexing threshold."""
        with self.lock:
            if self.stale and self.wants_index():
                self.points.optimize()
            self.stale = False

    def wants_index(self) -> bool:
        """More vectors than are searched without a graph."""
        threshold = self.config["optimizer_config"]["indexing_threshold"]
        vectors = self.config["params"]["vectors"]
        bytes_each = self.dimension * BYTES_OF_A_NUMBER.get(vectors.get("datatype"), 4)
        count = self.points.info().points_count
        return bool(threshold) and count * bytes_each > threshold * KILOBYTE

    def reconfigure(self) -> None:
        """Open the engine anew after a PATCH of its settings."""
        with self.lock:
            self.points.flush()
            self.points.close()
            self.points = engine.EdgeShard.load(str(self.folder), engine_config(self.config))
            self.stale = True

    def restore(self, before: Path) -> None:
        """Go back to a copy of the folder: what was written since is gone."""
        with self.lock:
            self.points.close()
            shutil.rmtree(self.folder)
            copied(before, self.folder)
            self.points = engine.EdgeShard.load(str(self.folder))

    def snapshot(self, folder: Path) -> Path:
        """A copy of the points as they are now, for `restore`."""
        with self.lock:
            self.points.flush()
            copied(self.folder, folder)
        return folder

    def limiter(self, kind: str, per_minute: int) -> RateLimiter:
        """The bucket of "read" or "write" tokens; full again when its size was changed."""
        with self.lock:
            limiter = self.limiters.get(kind)
            if limiter is None or limiter.capacity != per_minute:
                limiter = self.limiters[kind] = RateLimiter(per_minute)
            return limiter

    def having(self, name: str) -> int:
        """The number of points with a payload field."""
        with_field = engine.Filter(must_not=[engine.IsEmptyCondition(name)])
        return int(self.points.count(engine.CountRequest(True, with_field)))

    def note(self, ids: list[Any]) -> None:
        """Keep what points were before a write, for replicas that are behind."""
        if self.keeps_past:
            before = {each.id: each for each in self.run(lambda p: p.retrieve(ids, True, True))}
            now = time.monotonic()
            self.undo += [(now, each, before.get(each)) for each in ids]

    def past(self, seconds: float) -> dict[Any, Any]:
        """What the points written in the last seconds were before; None where there were none."""
        if not seconds:
            return {}
        then = time.monotonic() - seconds
        past: dict[Any, Any] = {}
        for written, name, before in self.undo:
            if written > then:
                past.setdefault(name, before)
        return past

    def approximate(self, count: int) -> int:
        """A number as an estimate gives it."""
        return max(0, round(count * (1 + self.count_error)))

    def forgetful(self, hits: list[Any], params: Json) -> list[Any]:
        """Without a seeded choice of the hits, as a search graph misses some; `exact` misses none
        and a larger `hnsw_ef` fewer. The engine's own graph is too good where points are few."""
        if params.get("exact") or not self.recall_loss:
            return hits
        loss = self.recall_loss * min(1.0, 100 / (params.get("hnsw_ef") or 100))
        return [hit for hit in hits if random.Random(str(hit.id)).random() >= loss]

    def close(self) -> None:
        with self.lock:
            self.points.close()

    def remember(self) -> None:
        """Note configuration and indexes as they are before a change, for nodes that lag."""
        with self.lock:
            state = (time.monotonic(), _copied(self.config), dict(self.indexes))
            self.history.append(state)

    def as_it_was(self, seconds: float) -> tuple[Json, dict[str, Any]]:
        """Configuration and indexes as a node shows them that is behind."""
        then = time.monotonic() - seconds
        for changed, config, indexes in self.history:
            if changed > then and seconds:
                return config, indexes
        return self.config, self.indexes


def _copied(config: Json) -> Json:
    return {key: dict(part) if isinstance(part, dict) else part for key, part in config.items()}


def engine_config(config: Json) -> Any:
    """A collection's configuration as the engine's own. Raises Problem for what it cannot do."""
    vectors = config["params"]["vectors"]
    optimizer = config["optimizer_config"]
    named = {
        name: _vectors(each, config) for name, each in vectors.items() if "size" not in vectors
    }
    return engine.EdgeConfig(
        vectors=named or _vectors(vectors, config),
        hnsw_config=_hnsw(config["hnsw_config"]),
        quantization_config=_quantization(config["quantization_config"]),
        optimizers=engine.EdgeOptimizersConfig(
            indexing_threshold=optimizer["indexing_threshold"],
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
        ),
        wal_enabled=False,  # the promises are about the client; this makes the double quicker
    )


def _vectors(vectors: Json, config: Json) -> Any:
    return engine.EdgeVectorParams(
        size=vectors["size"],
        distance=getattr(engine.Distance, vectors["distance"]),
        datatype=_datatype(vectors.get("datatype")),
        quantization_config=_quantization(vectors.get("quantization_config")),
        hnsw_config=_hnsw({**config["hnsw_config"], **(vectors.get("hnsw_config") or {})}),
    )


def _hnsw(settings: Json) -> Any:
    names = ("m", "ef_construct", "full_scan_threshold", "payload_m")
    return engine.HnswIndexConfig(**{name: settings.get(name) for name in names})


def _datatype(name: str | None) -> Any:
    """The engine's name; where it has none, as of a later version, it keeps whole numbers."""
    names = {"float32": "Float32", "float16": "Float16", "uint8": "Uint8", "turbo4": "Turbo8"}
    return getattr(engine.VectorStorageDatatype, names[name]) if name in names else None


def _quantization(settings: Json | None) -> Any:
    if settings is None:
        return None
    ((kind, how),) = settings.items()
    if kind == "scalar":
        quantile = how.get("quantile")
        return engine.ScalarQuantizationConfig(engine.ScalarType.Int8, quantile=quantile)
    if kind == "product":
        ratio = getattr(engine.CompressionRatio, how["compression"].capitalize())
        return engine.ProductQuantizationConfig(ratio)
    if kind == "binary":
        return engine.BinaryQuantizationConfig()
    raise wrong_input(f"the double knows no quantization '{kind}'")
