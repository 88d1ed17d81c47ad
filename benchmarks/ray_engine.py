"""The price of `--engine ray`: CPU time of a picture with threads, one actor, two actors.

    python -m benchmarks.ray_engine --url http://127.0.0.1:6333 --pictures FOLDER [--json FILE]

The JPEGs of a folder are copied, each copy with a few bytes of its own behind its end, so that
every one is embedded. Each engine ingests a small and a large set into a new collection of the
server; the difference of CPU times, divided by the difference of sizes, leaves out the start.
Counted is the CPU time of every process that the run starts, Ray's own among them; the server's
is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ENGINES: dict[str, list[str]] = {
    "threads": ["--workers", "2"],
    "one actor": ["--engine", "ray", "--workers", "1"],
    "two actors": ["--engine", "ray", "--workers", "2"],
}
EVERY = 0.1  # seconds between two looks at the processes
TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all engines in turn, print a Markdown table."""
    parser = argparse.ArgumentParser(description="The price of --engine ray.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--sizes", default="200,1000")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    small, large = (int(size) for size in options.sizes.split(","))
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as work:
        for size in (small, large):
            copies(options.pictures, Path(work) / str(size), size)
        for engine, more in ENGINES.items():
            one, other = (
                ingest(Path(work), Path(work) / str(size), options, more) for size in (small, large)
            )
            each = (other["cpu"] - one["cpu"]) / (large - small)
            results[engine] = {
                "cpu_ms": 1e3 * each,
                "pictures_a_cpu_second": 1 / each,
                "start_cpu_s": one["cpu"] - small * each,
                "seconds": other["seconds"],
            }
            print(engine, results[engine], file=sys.stderr)
    print("| engine | CPU ms a picture | pictures a CPU second | CPU s of the start | price |")
    print("| --- | --- | --- | --- | --- |")
    base = results["threads"]["cpu_ms"]
    for engine, result in results.items():
        print(
            f"| {engine} | {result['cpu_ms']:.1f} | {result['pictures_a_cpu_second']:.1f} | "
            f"{result['start_cpu_s']:.1f} | {result['cpu_ms'] / base - 1:+.1%} |"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


def copies(source: Path, target: Path, count: int) -> None:
    """`count` JPEGs of different content."""
    target.mkdir()
    originals = sorted(source.rglob("*.jpg"))
    for number, path in enumerate(islice(cycle(originals), count)):
        mark = str(number).encode() + b"\0" * 8
        (target / f"{number:06d}.jpg").write_bytes(path.read_bytes() + mark)


def ingest(work: Path, folder: Path, options: Any, more: Sequence[str]) -> dict[str, float]:
    """One run, in a process of its own: CPU seconds of all its processes, and seconds."""
    name = f"price-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "clipindex", "ingest", str(folder), "--url", options.url]
    command += ["--collection", name, "--source", "price", "--model", options.model, "--quiet"]
    began = time.monotonic()
    environment = {**os.environ, "XDG_STATE_HOME": str(work / "state")}
    process = subprocess.Popen([*command, *more], env=environment)
    used: dict[int, float] = {}
    while process.poll() is None:
        for pid in family(process.pid):
            used[pid] = max(used.get(pid, 0.0), cpu_of(pid))
        time.sleep(EVERY)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {"cpu": sum(used.values()), "seconds": time.monotonic() - began}


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        if fields := fields_of(int(entry.parent.name)):
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    members = [pid]
    for member in members:
        members += children.get(member, [])
    return members


def fields_of(pid: int) -> list[str]:
    """Of its line in /proc, from the state on; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = fields_of(pid)
    if not fields:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    raise SystemExit(main())
