"""Many points in a Qdrant server: writing them, an unchanged run, searches from its graph.

    python -m benchmarks.server URL [--points 1000000] [--pid PID] [--only write|unchanged|search]

write:     points written and verified in batches of 25 and of 250, then the time until the
           server has built its graph.
unchanged: an ingest of as many files, all of them unchanged.
search:    p50 and p95 of a search and its recall@10 against the exact answer: for text vectors
           (of `mini`, outside the cloud of picture vectors: the graph's hard case) and for
           disturbed points, with and without filters; then whole `clipindex query` processes.

The collection `bench` is filled through clipindex's own layers with made vectors and real
payloads, and kept. `--pid` names the server's process, for its memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from benchmarks import machine, measure, report, scale
from benchmarks.programs import OFFLINE, WORK
from clipindex.collection.opening import Settings, choose, open_for_import
from clipindex.collection.server_place import ServerPlace
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Model
from clipindex.stores.address import Server
from clipindex.stores.points import Vector

COLLECTION, SOURCE, LIMIT = "bench", "bench", 10
SAMPLE = 20_000  # points of each batch size
EFS = (None, 128, 256, 512, 1024)
TEXTS = (
    "a dog on a beach", "a red car", "two children playing football", "a bowl of soup",
    "mountains at sunset", "an old man reading", "a cat on a sofa", "a crowded market",
    "a white church", "a horse in a field", "a plate of pasta", "a train in a station",
    "a woman with an umbrella", "a snowy street", "a bird on a branch", "a wooden boat",
    "a birthday cake", "a bicycle against a wall", "a city at night", "a bunch of flowers",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    work = options.work.resolve() / "server"
    work.mkdir(parents=True, exist_ok=True)
    tree = work / f"tree-{options.points}"
    place = ServerPlace(address=Server(options.url), collection=COLLECTION, source=SOURCE)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.described(),
        "points": options.points,
    }
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "write": lambda: write(place, tree, options),
        "unchanged": lambda: unchanged(tree, options, work),
        "search": lambda: search(options, work),
    }
    for name, part in parts.items():
        if not options.only or name in options.only:
            results[name] = part()
            print(f"### {name}\n\n{report.rows_table(results[name])}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--pid", type=int, help="of the server")
    parser.add_argument("--work", type=Path, default=WORK, help="kept between runs")
    parser.add_argument("--only", action="append", choices=["write", "unchanged", "search"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser.parse_args(arguments)


# --- writing -------------------------------------------------------------------------------


def write(place: ServerPlace, tree: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Points a second by size of the verified batches, as one first load; then the graph."""
    records = scale.make_tree(tree, options.points)
    rng = np.random.default_rng(0)
    rows = []
    stored = choose(None, Settings()).stored
    with (
        open_for_import(place, stored) as collection,
        collection.points.bulk_load(options.points),
    ):
        for size, count in ((25, SAMPLE), (250, SAMPLE), (250, options.points - 2 * SAMPLE)):
            began, written = time.perf_counter(), 0
            spent = 0.0
            part = islice(records, count)
            while batch := list(islice(part, scale.AT_ONCE)):
                started = time.perf_counter()
                scale.write(collection, batch, rng, size)
                spent += time.perf_counter() - started
                written += len(batch)
            row = {"batch": size, "points": written, "points a second": written / spent}
            rows.append({**row, "seconds": time.perf_counter() - began, **memory(options.pid)})
    began = time.perf_counter()
    client = QdrantClient(options.url, check_compatibility=False, timeout=60)
    while client.get_collection(COLLECTION).status != models.CollectionStatus.GREEN:
        time.sleep(1)
    built = time.perf_counter() - began
    info = client.get_collection(COLLECTION)
    graph = {"points": info.indexed_vectors_count or 0, "seconds": built}
    return [*rows, {"batch": "graph", **graph, **memory(options.pid)}]


def memory(pid: int | None) -> dict[str, float]:
    """Resident and peak memory of the server, MB."""
    if pid is None:
        return {}
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    pairs = dict(line.split(":", 1) for line in lines)
    return {
        name: int(pairs[key].split()[0]) / 1e3
        for name, key in (("server MB", "VmRSS"), ("its peak MB", "VmHWM"))
    }


# --- the unchanged run ---------------------------------------------------------------------


def unchanged(tree: Path, options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Whole runs over unchanged files."""
    where = ("--url", options.url, "--collection", COLLECTION, "--source", SOURCE)
    line = [sys.executable, "-m", "clipindex", "ingest", str(tree), *where]
    rows = []
    for number in range(options.rounds):
        log = work / "ingest.log"
        run = measure.run(line, log, OFFLINE)
        if run.exit_code:
            raise SystemExit(log.read_text("utf-8"))
        figures = {"seconds": run.wall, "CPU s": run.cpu, "peak MB": run.peak_rss_mb}
        rows.append({"run": number + 1, "files": options.points, **figures})
    return rows


# --- searching -----------------------------------------------------------------------------


def search(options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One row for each kind of query, filter and way of asking."""
    client = QdrantClient(options.url, check_compatibility=False, timeout=60)
    folder = str(work / f"tree-{options.points}" / "0000")
    filters = {
        "none": None,
        "tag of half": _only("tag_half", "0"),
        "tag of 1 %": _only("tag_set", "7"),
        "folder of 1,000": _only("folders", folder),
    }
    for field in ("tag_half", "tag_set"):
        client.create_payload_index(COLLECTION, field, models.PayloadSchemaType.KEYWORD, wait=True)
    rows = []
    for kind, vectors in (("text", _texts()), ("picture", _disturbed(client))):
        for name, only in filters.items():
            exact_ms, exact = answers(client, vectors, only, models.SearchParams(exact=True))
            row = {"queries": kind, "filter": name}
            rows.append({**row, "ef": "exact", **_times(exact_ms), "recall@10": 1.0, "first": 1.0})
            for ef in EFS:
                spent, hits = answers(client, vectors, only, models.SearchParams(hnsw_ef=ef))
                pairs = [pair for pair in zip(exact, hits, strict=True) if pair[0]]
                recall = np.mean([len(set(a) & set(b)) / len(a) for a, b in pairs])
                first = np.mean([bool(b) and a[0] == b[0] for a, b in pairs])
                quality = {"recall@10": float(recall), "first": float(first)}
                rows.append({**row, "ef": ef or "default", **_times(spent), **quality})
    return [*rows, *whole_queries(options, work), {"queries": "memory", **memory(options.pid)}]


def answers(
    client: QdrantClient,
    vectors: Sequence[Vector],
    only: models.Filter | None,
    params: models.SearchParams,
) -> tuple[list[float], list[list[str]]]:
    """Milliseconds and contents of each search, asked as clipindex asks; the first is not timed."""
    spent, found = [], []
    for vector in (vectors[0], *vectors):
        began = time.perf_counter()
        groups = client.query_points_groups(
            COLLECTION,
            group_by="sha256",
            query=vector.tolist(),
            limit=LIMIT,
            group_size=1,
            query_filter=only,
            search_params=params,
            with_payload=False,
        ).groups
        spent.append((time.perf_counter() - began) * 1e3)
        found.append([str(group.id) for group in groups])
    return spent[1:], found[1:]


def whole_queries(options: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """`clipindex query`, a process each."""
    where = ("--url", options.url, "--collection", COLLECTION)
    runs = [
        measure.run(
            [sys.executable, "-m", "clipindex", "query", text, *where], work / "q.log", OFFLINE
        )
        for text in TEXTS
    ]
    yield {
        "queries": "clipindex query",
        "filter": "none",
        **_times([run.wall * 1e3 for run in runs]),
        "CPU ms": median(run.cpu for run in runs) * 1e3,
    }


def _only(field: str, value: str) -> models.Filter:
    match = models.MatchValue(value=value)
    return models.Filter(must=[models.FieldCondition(key=field, match=match)])


def _texts() -> list[Vector]:
    return list(Model(find_bundle("mini")).encode_texts(list(TEXTS)))


def _disturbed(client: QdrantClient) -> list[Vector]:
    """Points of the collection, with some noise."""
    points, _ = client.scroll(COLLECTION, limit=len(TEXTS), with_vectors=True)
    rng = np.random.default_rng(2)
    vectors = [np.asarray(point.vector, np.float32) for point in points]
    return [scale.unit(vector + rng.normal(0, 0.02, vector.shape)) for vector in vectors]


def _times(spent: Sequence[float]) -> dict[str, float]:
    return {"p50 ms": median(spent), "p95 ms": quantiles(spent, n=20)[-1]}


if __name__ == "__main__":
    sys.exit(main())
