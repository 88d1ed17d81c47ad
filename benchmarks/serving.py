"""How many pictures a second `clipindex serve` embeds, beside an ingest of the same pictures.

    python -m benchmarks.serving [--model mini] [--set camera] [--pictures 60] [--rounds 3]

In each round, one after the other: an ingest into a new store, then requests to a service, 1, 8
and 32 at a time, each with one picture (`/v1/embeddings` with base64, `/embed-image` with a form)
or one text. A round's rates are divided by its own ingest's, so that whatever else the machine does
weighs on both. CPU is of the service alone: what the client here takes is not in it.

The ingest's rate is that of every picture after the first, its start taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from benchmarks import machine, measure, pictures
from benchmarks.programs import OFFLINE, WORK
from benchmarks.report import rows_table

PROGRAM = [sys.executable, "-m", "clipindex"]
CONCURRENCY = (1, 8, 32)
TEXTS = ("a dog on a beach", "a red car", "two children playing football", "mountains at sunset")
Send = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Rate:
    """Of an ingest: pictures a second, and milliseconds of CPU a picture."""

    per_second: float
    cpu_ms: float


@dataclass(frozen=True)
class Run:
    """Requests of one kind, so many at a time: their seconds each, of all, and of CPU."""

    door: str
    at_once: int
    latencies: list[float]
    wall: float
    cpu: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    work = options.work.resolve() / "serving"
    work.mkdir(parents=True, exist_ok=True)
    paths = pictures.make(options.set, work / options.set, options.pictures)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, service(Path(name), paths, options.model) as server:
        rounds = [
            one_round(Path(name), paths, options.model, server) for _ in range(options.rounds)
        ]
    found = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.described(),
        "versions": machine.our_versions(),
        "load": [load_before, os.getloadavg()[0]],
        "model": options.model,
        "set": f"{options.set}, {len(paths)} pictures",
        "ingest": ingest_row([ingest for ingest, _ in rounds]),
        "requests": rows_of(rounds),
    }
    print(f"{found['machine']}\nload {found['load']}\n")
    print(rows_table([found["ingest"]]), rows_table(found["requests"]), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini", help="name or folder of a bundle")
    parser.add_argument("--set", default="camera", choices=pictures.KINDS)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=WORK, help="keeps the pictures")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Server:
    """A service that runs, as a process of its own."""

    url: str
    process: int

    def cpu(self) -> float:
        """Seconds of CPU that it has taken so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(folder: Path, paths: Sequence[Path], model: str) -> Iterator[Server]:
    """A service of an index of one picture."""
    store = folder / "served"
    ingest(store, paths[:1], model, folder)
    command = [*PROGRAM, "serve", "--store", str(store), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--quiet", "--max-seconds", "600"],
        cwd=measure.ROOT,
        env={**os.environ, **OFFLINE},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Server(json.loads(process.stdout.readline())["url"], process.pid)
    finally:
        process.terminate()
        process.wait(30)


def ingest(store: Path, paths: Sequence[Path], model: str, folder: Path) -> measure.Measured:
    """An ingest of those files into a new store."""
    command = [*PROGRAM, "ingest", *map(str, paths), "--store", str(store), "--model", model]
    run = measure.run([*command, "--quiet"], folder / "log", OFFLINE)
    if run.exit_code:
        sys.exit((folder / "log").read_text())
    return run


def one_round(
    folder: Path, paths: Sequence[Path], model: str, server: Server
) -> tuple[Rate, list[Run]]:
    """An ingest's rate, and the runs of requests."""
    first, every = (
        ingest(Path(tempfile.mkdtemp(dir=folder)), some, model, folder)
        for some in (paths[:1], paths)
    )
    more = len(paths) - 1
    rate = Rate(more / (every.wall - first.wall), (every.cpu - first.cpu) / more * 1e3)
    runs = [
        asyncio.run(requests(server, door, send, at_once, len(paths)))
        for door, send in doors(paths).items()
        for at_once in CONCURRENCY
    ]
    return rate, runs


def doors(paths: Sequence[Path]) -> dict[str, Send]:
    """What is asked, by its name, for the number of a request."""
    files = [path.read_bytes() for path in paths]
    bodies = [
        json.dumps({"input": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"}).encode()
        for data in files
    ]
    return {
        "/v1/embeddings, picture": lambda ask, n: ask.post("/v1/embeddings", content=bodies[n]),
        "/embed-image": lambda ask, n: ask.post("/embed-image", files={"file": ("x", files[n])}),
        "/v1/embeddings, text": lambda ask, n: ask.post(
            "/v1/embeddings", json={"input": f"{TEXTS[n % len(TEXTS)]} {n}"}
        ),
    }


async def requests(server: Server, door: str, send: Send, at_once: int, count: int) -> Run:
    """One request for each picture, so many under way at any time."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def one_client(ask: httpx.AsyncClient) -> None:
        for number in numbers:
            start = time.perf_counter()
            (await send(ask, number)).raise_for_status()
            latencies.append(time.perf_counter() - start)

    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits) as ask:
        (await send(ask, 0)).raise_for_status()
        cpu, start = server.cpu(), time.perf_counter()
        await asyncio.gather(*(one_client(ask) for _ in range(at_once)))
        wall = time.perf_counter() - start
    return Run(door, at_once, latencies, wall, server.cpu() - cpu)


def ingest_row(rates: Sequence[Rate]) -> dict[str, Any]:
    """Medians of the ingests."""
    return {
        "ingest, pictures/s": median(rate.per_second for rate in rates),
        "CPU ms each": median(rate.cpu_ms for rate in rates),
    }


def rows_of(rounds: Sequence[tuple[Rate, list[Run]]]) -> list[dict[str, Any]]:
    """A row for each door and concurrency: medians of the rounds, latencies of all together."""
    rows = []
    for same in zip(*(runs for _, runs in rounds), strict=True):
        rates = [rate for rate, _ in rounds]
        latencies = sorted(one for run in same for one in run.latencies)
        per_second = [len(run.latencies) / run.wall for run in same]
        cpu = [run.cpu / len(run.latencies) * 1e3 for run in same]
        row = {
            "asked": same[0].door,
            "at once": same[0].at_once,
            "per second": median(per_second),
            "p50 ms": median(latencies) * 1e3,
            "p95 ms": quantiles(latencies, n=20)[-1] * 1e3,
            "CPU ms each": median(cpu),
        }
        if "text" not in row["asked"]:
            beside = list(zip(per_second, cpu, rates, strict=True))
            row["of ingest's rate"] = median(own / rate.per_second for own, _, rate in beside)
            row["of ingest's CPU"] = median(own / rate.cpu_ms for _, own, rate in beside)
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
