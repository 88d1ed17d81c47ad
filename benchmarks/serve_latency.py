"""How long a warm service takes to answer: texts and pictures, by number of points.

    python -m benchmarks.serve_latency [--points N]... [--requests N] [--work FOLDER]

The service is a process of its own, asked over one kept connection, and over eight at once. "new"
texts were never asked before, so that each is embedded; "again" is one text that is. Stores are
filled through clipindex's own layers with made vectors (see `benchmarks.scale`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks import machine
from benchmarks.measure import ROOT
from benchmarks.programs import WORK
from benchmarks.scale import PER_FOLDER, fill, fresh
from clipindex.collection.folder_place import FolderPlace
from clipindex.files.file_system import FileRecord
from clipindex.model.bundle import find_bundle

POINTS = (10_000, 100_000)
NOUNS = (ROOT / "benchmarks" / "queries" / "nouns.txt").read_text("utf-8").split()
PICTURES = sorted((ROOT / "examples" / "photos").rglob("*.jpg"))
AT_ONCE = 8

Ask = Callable[[httpx.Client, int], httpx.Response]


def text(client: httpx.Client, number: int) -> httpx.Response:
    """A text that nobody has asked for."""
    word, other = NOUNS[number % len(NOUNS)], NOUNS[number * 7 % len(NOUNS)]
    return client.get("/search", params={"q": f"{word} beside {other} {time.time_ns()}"})


def again(client: httpx.Client, _: int) -> httpx.Response:
    """The same text each time."""
    return client.get("/search", params={"q": "a dog on a beach"})


def filtered(client: httpx.Client, number: int) -> httpx.Response:
    """The same text in a hundredth of the pictures."""
    where = f"set={number % 100}"
    return client.get("/search", params={"q": "a dog on a beach", "where": where})


def picture(client: httpx.Client, number: int) -> httpx.Response:
    """A photograph of 640 pixels."""
    data = PICTURES[number % len(PICTURES)].read_bytes()
    return client.post("/search", files={"image": ("x.jpg", data)})


def facets(client: httpx.Client, _: int) -> httpx.Response:
    """What there is to filter by."""
    return client.get("/facets")


KINDS: dict[str, Ask] = {
    "text, new": text,
    "text, again": again,
    "text, filtered": filtered,
    "picture": picture,
    "facets": facets,
}


@contextmanager
def serving(store: Path) -> Iterator[str]:
    """A service of its own process; gives its URL."""
    command = [sys.executable, "-m", "clipindex", "serve", "--store", str(store)]
    with subprocess.Popen(
        [*command, "--port", "0", "--json", "--quiet"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def seconds(client: httpx.Client, ask: Ask, number: int) -> float:
    """How long one answer takes."""
    start = time.perf_counter()
    ask(client, number).raise_for_status()
    return time.perf_counter() - start


def measured(url: str, ask: Ask, requests: int, at_once: int) -> list[float]:
    """Seconds of each request, after a few that are not counted."""
    limits = httpx.Limits(max_keepalive_connections=at_once)
    with (
        httpx.Client(base_url=url, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(at_once) as pool,
    ):
        for number in range(3):
            ask(client, number)
        return list(pool.map(lambda number: seconds(client, ask, number), range(requests)))


def share(times: Sequence[float], part: float) -> float:
    """Milliseconds that such a part of the requests took at most."""
    return float(np.quantile(times, part, method="inverted_cdf") * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, action="append", help="default: 10,000 and 100,000")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--work", type=Path, default=WORK, help="kept between runs")
    options = parser.parse_args(arguments)
    work = options.work.resolve() / "serve"
    work.mkdir(parents=True, exist_ok=True)
    store, rng, made = fresh(work), np.random.default_rng(0), 0
    print(json.dumps(machine.described()))
    print("| points | request | at once | p50 ms | p95 ms | a second | load |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for count in options.points or POINTS:
        names = (f"/photographs/{n // PER_FOLDER:04d}/{n:07d}.jpg" for n in range(made, count))
        records = (FileRecord(os.fsencode(name), 1, 1, 1) for name in names)
        fill(FolderPlace(store), find_bundle("mini").folder, records, rng)
        made = count
        with serving(store) as url:
            for name, ask in KINDS.items():
                for at_once in (1, AT_ONCE):
                    start = time.perf_counter()
                    times = measured(url, ask, options.requests, at_once)
                    rate = options.requests / (time.perf_counter() - start)
                    print(
                        f"| {count:,} | {name} | {at_once} | {share(times, 0.5):.0f} | "
                        f"{share(times, 0.95):.0f} | {rate:.0f} | {os.getloadavg()[0]:.1f} |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
