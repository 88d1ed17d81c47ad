"""What many pictures, many unchanged files and many points cost.

    python -m benchmarks.scale [--only memory|plan|dry-run|query|start] [--json FILE]

memory:  peak memory of an ingest of 500 and of 5,000 pictures.
plan:    an ingest of 100,000 files that are all unchanged, beside `find -printf` over them.
dry-run: `ingest --dry-run` of 100,000 and of 1,000,000 files that were never indexed.
query:   a text query as a process of its own at 10,000, 100,000 and 500,000 points, and the
         engine's search alone: exact, and with the index that it can build.
start:   commands that do next to nothing.

Stores are filled through clipindex's own layers with made vectors, in clusters as CLIP's are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import machine, measure, pictures, report
from benchmarks.programs import OFFLINE, WORK, weights
from clipindex.collection.catalogue import INDEXED, Row
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.opening import Collection, Settings, choose, open_for_import
from clipindex.collection.place import Place
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import LOCAL, point_id
from clipindex.pictures.exif import PictureFacts
from clipindex.stores.payload import make_payload
from clipindex.stores.points import Point, Vector
from clipindex.stores.verified import write_verified

PARTS = ("memory", "plan", "dry-run", "start", "query")
AT_ONCE = 1000  # points written together
CLUSTERS = 500
TIGHTNESS = 1.0  # length of a cluster's centre beside noise of length 1
FACTS = PictureFacts(4000, 3000, "JPEG")
PER_FOLDER = 1000
MEMORY, PLAN, QUERY = (500, 5_000), 100_000, (10_000, 100_000, 500_000)
DRY_RUN = (100_000, 1_000_000)
INDEXED_UP_TO = 100_000  # points at which the engine's index is tried


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    work = options.work.resolve() / "scale"
    work.mkdir(parents=True, exist_ok=True)
    bundle = (options.fp32_bundle or weights(options.work.resolve()) / "bundle").resolve()
    parts: dict[str, Callable[[], Any]] = {
        "memory": lambda: memory(options.memory, bundle, work),
        "plan": lambda: plan(options.plan, bundle, work, options.rounds),
        "dry-run": lambda: dry_run(options.dry_run, work),
        "start": lambda: start(bundle, work, options.rounds),
        "query": lambda: query(options.query, bundle, work, options.rounds, options.index_up_to),
    }
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.described(),
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
    parser.add_argument("--work", type=Path, default=WORK, help="kept between runs")
    parser.add_argument("--fp32-bundle", type=Path, help="default: random ViT-B/32, made here")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--memory", type=int, nargs="+", default=MEMORY, metavar="PICTURES")
    parser.add_argument("--plan", type=int, default=PLAN, metavar="FILES")
    parser.add_argument("--dry-run", type=int, nargs="+", default=DRY_RUN, metavar="FILES")
    parser.add_argument("--query", type=int, nargs="+", default=QUERY, metavar="POINTS")
    parser.add_argument("--index-up-to", type=int, default=INDEXED_UP_TO, metavar="POINTS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser.parse_args(arguments)


# --- memory --------------------------------------------------------------------------------


def memory(counts: Sequence[int], bundle: Path, work: Path) -> list[dict[str, Any]]:
    """Peak memory by number of pictures: small made ones, each file's content its own."""
    base = [path.read_bytes() for path in pictures.make("web", work.parent / "pictures" / "web")]
    rows: list[dict[str, Any]] = []
    for count in counts:
        folder = work / f"pictures-{count}"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            # What follows a JPEG's end is no part of the picture, but of the file's content.
            path, data = folder / f"{number:06d}.jpg", base[number % len(base)]
            if not path.exists():
                path.write_bytes(data + number.to_bytes(4, "big"))
        run = clipindex(work, "ingest", str(folder), "--model", str(bundle), store=fresh(work))
        rows.append(
            {
                "pictures": count,
                "peak MB": run.peak_rss_mb,
                "to the first": run.peak_rss_mb / rows[0]["peak MB"] if rows else 1.0,
                "CPU ms a picture": run.cpu / count * 1e3,
                "seconds": run.wall,
            }
        )
    return rows


# --- planning ------------------------------------------------------------------------------


def plan(count: int, bundle: Path, work: Path, rounds: int) -> list[dict[str, Any]]:
    """CPU of a whole run over unchanged files, against find's over the same."""
    tree, store = work / f"tree-{count}", work / f"store-of-tree-{count}"
    records = list(make_tree(tree, count))
    shutil.rmtree(store, ignore_errors=True)
    fill(FolderPlace(store), bundle, records, np.random.default_rng(0))
    runs: dict[str, list[measure.Measured]] = {"find -printf": [], "clipindex ingest": []}
    for _ in range(rounds):
        find = ["find", str(tree), "-type", "f", "-printf", "%s %T@ %p\\n"]
        runs["find -printf"].append(measure.run(find, work / "find.log", {}))
        runs["clipindex ingest"].append(clipindex(work, "ingest", str(tree), store=store))
    first = median(run.cpu for run in runs["find -printf"])
    return [
        {
            "": name,
            "files": count,
            "CPU s": median(run.cpu for run in measured),
            "to find": median(run.cpu for run in measured) / first,
            "seconds": median(run.wall for run in measured),
            "peak MB": median(run.peak_rss_mb for run in measured),
        }
        for name, measured in runs.items()
    ]


def dry_run(counts: Sequence[int], work: Path) -> list[dict[str, Any]]:
    """CPU and peak memory of planning an ingest of empty files, a thousand to a folder."""
    rows: list[dict[str, Any]] = []
    for count in counts:
        tree = work / f"empty-{count}"
        for number in range(count):
            path = tree / f"{number // PER_FOLDER:04d}" / f"IMG_{number:07d}.jpg"
            if number % PER_FOLDER == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        run = clipindex(work, "ingest", str(tree), "--dry-run", store=fresh(work))
        rows.append({"files": count, "CPU s": run.cpu, "peak MB": run.peak_rss_mb})
    return rows


def start(bundle: Path, work: Path, rounds: int) -> list[dict[str, Any]]:
    """CPU of commands whose work is next to nothing; of a query that was asked before, too."""
    store = work / "store-of-start"
    records = (FileRecord(b"/photographs/%d.jpg" % n, 1, 1, 1) for n in range(1000))
    shutil.rmtree(store, ignore_errors=True)
    fill(FolderPlace(store), bundle, records, np.random.default_rng(0))
    lines = (["--version"], ["--help"], ["status"], ["query", "a dog on a beach"])
    rows = []
    for line in lines:
        where = [] if line[0].startswith("-") else ["--store", str(store)]
        command = [sys.executable, "-m", "clipindex", *line, *where]
        runs = [measure.run(command, work / "start.log", OFFLINE) for _ in range(rounds + 1)][1:]
        rows.append(
            {
                "command": " ".join(line),
                "CPU s": median(run.cpu for run in runs),
                "seconds": median(run.wall for run in runs),
                "peak MB": median(run.peak_rss_mb for run in runs),
            }
        )
    return rows


def make_tree(tree: Path, count: int) -> Iterator[FileRecord]:
    """Files of one byte, a thousand to a folder, as a walk would report them."""
    for number in range(count):
        path = tree / f"{number // PER_FOLDER:04d}" / f"IMG_{number:06d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        stat = path.stat()
        yield FileRecord(os.fsencode(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


# --- queries -------------------------------------------------------------------------------


def query(
    counts: Sequence[int], bundle: Path, work: Path, rounds: int, index_up_to: int
) -> list[dict[str, Any]]:
    """One-shot text queries by number of points, and the engine's search within a process."""
    store, rng, there = fresh(work), np.random.default_rng(0), 0
    rows = []
    for count in counts:
        names = (f"/photographs/{n // PER_FOLDER:04d}/{n:07d}.jpg" for n in range(there, count))
        records = (FileRecord(os.fsencode(name), 1, 1, 1) for name in names)
        fill(FolderPlace(store), bundle, records, rng)
        there = count
        texts = (f"a dog on beach {number} of {count}" for number in range(rounds))
        runs = [clipindex(work, "query", text, store=store) for text in texts]  # each a new one
        engine = measured_here(["search", str(FolderPlace(store).shard)], work)
        row = {
            "points": count,
            "query, CPU s": median(run.cpu for run in runs),
            "seconds": median(run.wall for run in runs),
            "peak MB": median(run.peak_rss_mb for run in runs),
            "exact, ms": engine["exact_ms"],
        }
        if count <= index_up_to:
            row |= indexed_row(store, work)
        rows.append(row)
    return rows


def indexed_row(store: Path, work: Path) -> dict[str, float]:
    """The engine's index, built in a process of its own on a copy of the shard."""
    copy = work / "indexed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(FolderPlace(store).shard, copy)
    log = work / "optimise.log"
    built = measure.run(_engine(["optimise", str(copy)]), log, {})
    found = measured_here(["search", str(copy)], work)
    shutil.rmtree(copy)
    return {
        "index, s": built.wall,
        "its CPU s": built.cpu,
        "its peak MB": built.peak_rss_mb,
        "with it, ms": found["indexed_ms"],
        "recall@10": found["recall"],
    }


def measured_here(what: Sequence[str], work: Path) -> dict[str, float]:
    """What `benchmarks.engine` prints."""
    log = work / "engine.log"
    if measure.run(_engine(what), log, {}).exit_code:
        raise SystemExit(log.read_text("utf-8"))
    found: dict[str, float] = json.loads(log.read_text("utf-8"))
    return found


def _engine(what: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.engine", *what]


# --- what they share -----------------------------------------------------------------------


def fresh(work: Path) -> Path:
    """A store that is not there yet."""
    shutil.rmtree(work / "store", ignore_errors=True)
    return work / "store"


def clipindex(work: Path, command: str, *what: str, store: Path) -> measure.Measured:
    """One run of the program; anything but success ends the benchmark with its last words."""
    log = work / "clipindex.log"
    line = [sys.executable, "-m", "clipindex", command, *what, "--store", str(store)]
    run = measure.run(line, log, OFFLINE)
    if run.exit_code:
        raise SystemExit(f"clipindex {command}: {log.read_text('utf-8')}")
    return run


def fill(
    place: Place, bundle: Path, records: Iterable[FileRecord], rng: np.random.Generator
) -> None:
    """Points and rows of files as an ingest leaves them, with made vectors."""
    with open_for_import(place, choose(None, Settings(str(bundle))).stored) as collection:
        rest = iter(records)
        while batch := list(islice(rest, AT_ONCE)):
            write(collection, batch, rng)


def write(
    collection: Collection, batch: Sequence[FileRecord], rng: np.random.Generator, size: int = 0
) -> None:
    """Made points of some files, verified in batches of `size` (0: all at once), and their rows."""
    vectors = made_vectors(len(batch), rng)
    pairs = zip(batch, vectors, strict=True)
    points = iter([_point(record, vector, collection.source) for record, vector in pairs])
    while part := list(islice(points, size or len(batch))):
        write_verified(collection.points, part)
    collection.catalogue.write(
        Row(
            path=record.path,
            size=record.size,
            mtime_ns=record.mtime_ns,
            ctime_ns=record.ctime_ns,
            sha256=_digest(record),
            state=INDEXED,
        )
        for record in batch
    )


def made_vectors(count: int, rng: np.random.Generator) -> Vector:
    """Unit vectors in clusters as CLIP's are, float32 [count, 512]."""
    centres = unit(np.random.default_rng(1).standard_normal((CLUSTERS, 512)))
    noise = unit(rng.standard_normal((count, 512)))
    return unit(TIGHTNESS * centres[rng.integers(CLUSTERS, size=count)] + noise)


def unit(rows: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> Vector:
    """Rows scaled to length 1, float32."""
    scaled: Vector = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def _point(record: FileRecord, vector: Vector, source: str) -> Point:
    tags = {"half": str(zlib.crc32(record.path) % 2), "set": str(zlib.crc32(record.path) % 100)}
    payload = make_payload(source, record, _digest(record), FACTS, tags)
    return Point(point_id(source, record.path), vector, payload)


def _digest(record: FileRecord) -> bytes:
    return point_id(LOCAL, record.path).bytes * 2


if __name__ == "__main__":
    sys.exit(main())
