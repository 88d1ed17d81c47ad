"""Kills actors and nodes during an ingest on a Ray cluster; compares with one machine's result.

    python -m benchmarks.ray_kills --pictures s3://photos/ --url http://127.0.0.1:6333

The cluster has three nodes of one core on this machine. At random moments of the run an actor's
process is killed (--kills), or a node with all that it runs (--nodes), for which a new one comes.
A second collection of the server is filled by the threads of one process. Compared are the counts
of both summaries, and every point: id, payload (the time of indexing aside) and vector. The exit
code is 1 when anything differs. --copies makes the pictures first: see `make_copies`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

import clipindex
from benchmarks.ray_engine import family

BATCH = 25
LEAST_COSINE = 0.99999  # a server normalises vectors once more
Points = dict[str, tuple[dict[str, Any], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]
# Of a summary; the others depend on time, or on which actor met a content first.
COMPARED = (
    *("found", "new", "changed", "duplicate", "moved", "unchanged", "quarantined", "skipped"),
    *("vanished", "points", "written", "exit_code"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both ingests, print what was killed and what differs."""
    parser = argparse.ArgumentParser(description="Kills during an ingest on a Ray cluster.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--pictures", required=True, help="a folder or an address")
    parser.add_argument("--copies", nargs=3, metavar=("FROM", "TO", "COUNT"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args(arguments)
    if options.copies:
        source, target, count = options.copies
        make_copies(Path(source), Path(target), int(count))
    name = uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_STATE_HOME"] = f"{work}/state"
        one = run(options, f"threads-{name}", ["--workers", "2"])
        print(json.dumps({name: one[name] for name in (*COMPARED, "embedded", "seconds")}))
        other = run_with_kills(options, f"actors-{name}", random.Random(options.seed), one["found"])
        print(json.dumps({name: other[name] for name in (*COMPARED, "embedded", "seconds")}))
        faults = [
            f"{field}: {one[field]} with threads, {other[field]} with actors"
            for field in COMPARED
            if one[field] != other[field]
        ]
        faults += differences(
            *(exported(options, f"{e}-{name}", work) for e in ("threads", "actors"))
        )
    print(*faults[:20], sep="\n")
    print(f"{len(faults)} differences")
    return int(bool(faults))


def make_copies(source: Path, target: Path, count: int) -> None:
    """`count` JPEGs of a folder's: each second one with bytes of its own behind its end, so that
    half of them are contents of their own, half are copies of a content."""
    originals = sorted(source.rglob("*.jpg"))
    for number, path in enumerate(islice(cycle(originals), count)):
        folder = target / f"{number // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        mark = str(number).encode() + b"\0" * 8 if (number // len(originals)) % 2 else b""
        (folder / f"{number:06d}.jpg").write_bytes(path.read_bytes() + mark)


def clipindex_command(options: argparse.Namespace, *words: str, collection: str) -> list[str]:
    """A command of clipindex, on a collection of the server."""
    where = ["--url", options.url, "--collection", collection, "--source", "kills"]
    return [sys.executable, "-m", "clipindex", *words, *where]


def started(options: argparse.Namespace, collection: str, more: Sequence[str]) -> Any:
    """An ingest that tells its steps as JSON lines."""
    command = clipindex_command(options, "ingest", options.pictures, collection=collection)
    command += ["--model", options.model, "--json", "--batch-size", str(BATCH), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run(options: argparse.Namespace, collection: str, more: Sequence[str]) -> dict[str, Any]:
    """An ingest that nobody disturbs: its summary."""
    process = started(options, collection, more)
    last = deque(process.stdout, maxlen=1)
    process.wait()
    return dict(json.loads(last[0]))


def run_with_kills(
    options: argparse.Namespace, collection: str, chance: random.Random, count: int
) -> dict[str, Any]:
    """An ingest by a cluster, with deaths when it has done random numbers of files; its summary."""
    moments = sorted(chance.sample(range(1, count), options.kills + options.nodes))
    nodes = set(chance.sample(moments, options.nodes))
    cluster = Cluster()
    process = started(options, collection, ["--engine", "ray", "--ray-address", cluster.address])
    done, paths, line = 0, set(), {}
    for line in map(json.loads, process.stdout):
        if line["type"] == "file":
            done += 1
            assert line["path"] not in paths, f"{line['path']} was counted twice"
            paths.add(line["path"])
        if moments and done >= moments[0]:
            moment = moments.pop(0)
            victim = cluster.kill_node(chance) if moment in nodes else cluster.kill_actor(chance)
            print(f"at {done} files: {victim}", file=sys.stderr)
    process.wait()
    cluster.close()
    return dict(line)


class Cluster:
    """Three nodes of one core; the first one stays."""

    def __init__(self) -> None:
        root = str(Path(clipindex.__file__).parents[1])
        os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
        from ray.cluster_utils import Cluster as Nodes

        self._cluster = Nodes()
        self._nodes = [self._add() for _ in range(3)]
        self.address = str(self._cluster.address)

    def _add(self) -> Any:
        return self._cluster.add_node(
            num_cpus=1, object_store_memory=80 << 20, include_dashboard=False
        )

    def kill_actor(self, chance: random.Random) -> str:
        """SIGKILL to the process of one."""
        actors = sorted(set(self._actors()))
        if not actors:
            return "no actor lives"
        victim = chance.choice(actors)
        os.kill(victim, signal.SIGKILL)
        return f"actor {victim} of {len(actors)} killed"

    def _actors(self) -> Iterator[int]:
        for node in self._nodes:
            for pid in family(node.all_processes["raylet"][0].process.pid):
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
                except OSError:  # it ended meanwhile
                    continue
                if "ray::Actor" in command:
                    yield pid

    def kill_node(self, chance: random.Random) -> str:
        """One with all its processes; another one joins."""
        node = self._nodes.pop(chance.randrange(1, len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._add())
        return "a node killed, a new one added"

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


def exported(options: argparse.Namespace, collection: str, work: str) -> Points:
    """Every point by id, as `clipindex export` writes them."""
    folder = Path(work) / collection
    command = clipindex_command(options, "export", str(folder), collection=collection)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    points: Points = {}
    for path in sorted(folder.glob("points-*.jsonl")):
        vectors = np.load(folder / path.name.replace("points", "vectors").replace("jsonl", "npy"))
        for line, vector in zip(path.read_text().splitlines(), vectors, strict=True):
            record = json.loads(line)
            record["payload"].pop("indexed_at")
            points[record["id"]] = record["payload"], vector
    return points


def differences(one: Points, other: Points) -> list[str]:
    """Points that are missing on one side, or differ."""
    faults = [f"{point}: only with one engine" for point in one.keys() ^ other.keys()]
    for point in one.keys() & other.keys():
        (payload, vector), (payload2, vector2) = one[point], other[point]
        if payload != payload2:
            faults.append(f"{point}: {payload} and {payload2}")
        if not np.array_equal(vector, vector2) and float(vector @ vector2) < LEAST_COSINE:
            faults.append(f"{point}: cosine {float(vector @ vector2):.6f}")
    return faults


if __name__ == "__main__":
    raise SystemExit(main())
