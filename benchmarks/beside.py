"""How long a query takes while others read and write the same embedded collection.

    python -m benchmarks.beside [--points 60000] [--pictures 2000] [--at-once 16]

alone:   a text query as a process of its own, nothing else at work.
ingest:  the same, one after the other, beside a running ingest.
answer:  beside that ingest, a query of a process that has its model loaded: what the holder of
         the collection takes to answer.
at once: so many query processes started together.
threads: queries of eight threads, with and without `with Index(...)`.

The points are made up. Failures are queries that said "busy" (exit code 11).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import described
from benchmarks.measure import ROOT
from benchmarks.programs import OFFLINE
from benchmarks.report import rows_table
from benchmarks.scale import PER_FOLDER, fill
from clipindex.collection.folder_place import FolderPlace
from clipindex.errors import CollectionBusy
from clipindex.files.file_system import FileRecord
from clipindex.index import Index
from clipindex.model.bundle import DEFAULT_MODEL, find_bundle

THREADS, BY_EACH = 8, 10
ALONE = 20  # queries
Query = Callable[[], bool]  # whether it was answered


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=60_000)
    parser.add_argument("--pictures", type=int, default=2_000, help="that the ingest reads")
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args(arguments)
    machine = described()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    print(f"{machine['cpu']}, {machine['cores']} cores, load {load} before the start\n")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        names = (f"/made/{n // PER_FOLDER:04d}/{n:07d}.jpg" for n in range(options.points))
        records = (FileRecord(os.fsencode(name), 1, 1, 1) for name in names)
        bundle = find_bundle(DEFAULT_MODEL).folder
        fill(FolderPlace(work / "store"), bundle, records, np.random.default_rng(0))
        for figures in rows(work, options.pictures, options.at_once):
            print(rows_table([figures]) + "\n", flush=True)
    return 0


def rows(work: Path, pictures: int, at_once: int) -> Iterator[dict[str, object]]:
    """One row for each situation."""
    store = work / "store"
    index = Index(store)
    ask = in_this_process(index)
    ask()  # loads the model
    yield row("alone", *repeated(in_a_process(store), until=count_to(ALONE)))
    with ingest(work, pictures) as runs:
        yield row("ingest", *repeated(in_a_process(store), until=runs))
    with ingest(work, pictures) as runs:
        yield row("answer", *repeated(ask, until=runs, pause=0.05))
    together = [in_a_process(store)] * at_once
    yield row(f"{at_once} at once", *in_threads(together, at_once))
    many = [ask] * THREADS * BY_EACH
    yield row(f"{THREADS} threads", *in_threads(many, THREADS))
    if hasattr(index, "__enter__"):
        with index:
            ask()
            yield row(f"{THREADS} threads, open", *in_threads(many, THREADS))


def row(what: str, seconds: list[float], failures: int) -> dict[str, object]:
    p50, p95 = np.percentile(seconds, [50, 95])
    figures = {"p50, s": float(p50), "p95, s": float(p95), "longest, s": max(seconds)}
    return {"queries": what, "count": len(seconds), "busy": failures, **figures}


def repeated(
    query: Query, *, until: Callable[[], bool], pause: float = 0.0
) -> tuple[list[float], int]:
    """Seconds of each query, one after the other, and how many failed."""
    seconds: list[float] = []
    failures = 0
    while not until():
        started = time.perf_counter()
        failures += not query()
        seconds.append(time.perf_counter() - started)
        time.sleep(pause)
    return seconds, failures


def in_threads(queries: Sequence[Query], threads: int) -> tuple[list[float], int]:
    """The same with several at a time."""

    def timed(query: Query) -> tuple[float, bool]:
        started = time.perf_counter()
        answered = query()
        return time.perf_counter() - started, answered

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(timed, queries))
    return [seconds for seconds, _ in results], sum(not answered for _, answered in results)


def count_to(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is None


def in_a_process(store: Path) -> Query:
    line = [sys.executable, "-m", "clipindex", "query", "a dog on a beach", "--store", str(store)]

    def query() -> bool:
        done = subprocess.run(
            line, cwd=ROOT, env={**os.environ, **OFFLINE}, capture_output=True, check=False
        )
        if done.returncode not in (0, 11):
            raise SystemExit(done.stderr.decode())
        return done.returncode == 0

    return query


def in_this_process(index: Index) -> Query:
    def query() -> bool:
        try:
            return bool(index.query("a dog on a beach"))
        except CollectionBusy:
            return False

    return query


@contextmanager
def ingest(work: Path, pictures: int) -> Iterator[Callable[[], bool]]:
    """While it runs: an ingest of new pictures. Yields a function that says whether it is over."""
    folder = Path(tempfile.mkdtemp(dir=work))
    random = np.random.default_rng(time.time_ns())
    for number in range(pictures):
        small = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((960, 720), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:05d}.jpg")
    line = [sys.executable, "-m", "clipindex", "ingest", str(folder), "--json"]
    process = subprocess.Popen(
        [*line, "--store", str(work / "store")],
        cwd=ROOT,
        env={**os.environ, **OFFLINE},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first file is indexed
    reading = threading.Thread(target=process.stdout.read)
    reading.start()
    try:
        yield lambda: process.poll() is not None
    finally:
        if process.wait():
            raise SystemExit(f"the ingest ended with exit code {process.returncode}")
        reading.join()


if __name__ == "__main__":
    sys.exit(main())
