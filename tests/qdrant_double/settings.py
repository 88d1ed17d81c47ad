"""The configuration of a collection: the server's defaults, what a PUT sets, a PATCH changes.

Defaults: config/config.yaml and lib/segment/src/types.rs of Qdrant v1.18.3.
"""

from __future__ import annotations

import copy

from qdrant_double.protocol import Json, Problem

HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,  # kilobytes of vectors: 5,000 of 512 numbers
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
PARAMS = {
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": True,
}


def created(body: Json, strict: Json | None) -> Json:
    """The configuration of a collection that a PUT makes; `strict`: the server's own default."""
    given = {key: body[key] for key in PARAMS if body.get(key) is not None}
    return {
        "params": {"vectors": copy.deepcopy(body["vectors"]), **PARAMS, **given},
        "hnsw_config": {**HNSW, **_given(body, "hnsw_config")},
        "optimizer_config": {**OPTIMIZER, **_given(body, "optimizers_config")},
        "wal_config": {**WAL, **_given(body, "wal_config")},
        "quantization_config": copy.deepcopy(body.get("quantization_config")),
        "strict_mode_config": _strict(strict, body.get("strict_mode_config")),
        "metadata": copy.deepcopy(body.get("metadata")),
    }


ENGINE = ("hnsw_config", "optimizers_config", "vectors", "quantization_config")


def patch(config: Json, body: Json) -> bool:
    """Merge a PATCH: one level deep; in the metadata, null takes a key away. True where it
    touches the engine's settings."""
    for key, part in (("hnsw_config", "hnsw_config"), ("optimizers_config", "optimizer_config")):
        config[part].update(_given(body, key))
    config["params"].update(_given(body, "params"))
    for name, change in (body.get("vectors") or {}).items():
        if name != "":
            raise Problem(400, f"Wrong input: Not existing vector name error: {name}")
        _patch_vectors(config["params"]["vectors"], change)
    if body.get("quantization_config") is not None:
        change = body["quantization_config"]
        config["quantization_config"] = None if change == "Disabled" else copy.deepcopy(change)
    if body.get("strict_mode_config") is not None:
        config["strict_mode_config"] = _strict(
            config["strict_mode_config"], body["strict_mode_config"]
        )
    if body.get("metadata") is not None:
        config["metadata"] = _merged(config["metadata"], copy.deepcopy(body["metadata"]))
    return any(body.get(key) for key in ENGINE)


def shown(config: Json) -> Json:
    """The configuration as GET shows it: what is unset is left out, or null, as on the server."""
    optional = ("metadata", "strict_mode_config")
    config = {key: config[key] for key in config if key not in optional or config[key] is not None}
    return copy.deepcopy(config)


def _patch_vectors(vectors: Json, change: Json) -> None:
    for key in ("hnsw_config", "quantization_config", "on_disk"):
        if change.get(key) is not None:
            merge = key == "hnsw_config"
            vectors[key] = {**(vectors.get(key) or {}), **change[key]} if merge else change[key]


def _merged(before: Json | None, change: Json) -> Json:
    """The first metadata is kept as it comes, with its nulls."""
    if before is None:
        return change
    return {key: value for key, value in {**before, **change}.items() if value is not None}


def _given(body: Json, key: str) -> Json:
    return {name: value for name, value in (body.get(key) or {}).items() if value is not None}


def _strict(default: Json | None, change: Json | None) -> Json | None:
    if default is None and change is None:
        return {"enabled": False}  # as the config file that comes with the server says
    merged = {**(default or {}), **(change or {})}
    return {key: value for key, value in merged.items() if value is not None}
