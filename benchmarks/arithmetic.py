"""What a library of any size costs: arithmetic on measured figures, to be changed by the reader.

    python -m benchmarks.arithmetic
    python -m benchmarks.arithmetic --cpu-ms 48.4 --pictures 30e6 --hours 72 --cores 64

Nothing is run. Each figure is an option; the defaults were measured (docs/speed.md, docs/server.md)
or, where the help says so, are assumptions. Prints two tables in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import ceil

HOUR = 3600.0
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the arithmetic starts from. Units are in the help below."""

    cpu_ms: float = 103.9
    megabytes: float = 1.1
    points_a_second: float = 1380.0
    listing_us: float = 23.0
    rows_us: float = 75.0
    catalogue_bytes: float = 430.0
    memory_gb: float = 3.3
    lean_gb: float = 0.95
    disk_gb: float = 3.0
    cores: int = 16
    gigabits: float = 10.0
    server_gb: float = 64.0
    hours: float = 24.0


HELP = {
    "cpu_ms": "CPU time of a picture, in ms: fp32 ViT-B/32, JPEGs of 2 to 12 megapixels (measured; "
    "int8: 48.4)",
    "megabytes": "size of a picture in MB (of the measured set)",
    "points_a_second": "verified points a second and server node, in batches of 25 (measured on "
    "two cores that the writer shared)",
    "listing_us": "walking and planning a file, in microseconds (measured: 1,000,000 in 23 s)",
    "rows_us": "a driver's labels and rows of a picture, in microseconds (measured over 20,000)",
    "catalogue_bytes": "the catalogue of a driver, in bytes a picture (measured over 20,000)",
    "memory_gb": "server's memory for a million points, all in memory, in GB (measured)",
    "lean_gb": "the same with int8 in memory and vectors on disk, in GB (arithmetic)",
    "disk_gb": "server's disk for a million points, one replica, in GB (measured)",
    "cores": "cores of a machine that embeds (an assumption)",
    "gigabits": "network of a machine that embeds, in Gbit/s (an assumption)",
    "server_gb": "memory of a server node, in GB (an assumption)",
    "hours": "time that all may take, in hours: it decides the number of machines and drivers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of a first ingest of so many pictures. Times in hours, sizes in GB."""

    pictures: int
    core_hours: float
    machines: int  # that embed
    drivers: int  # parts, by their time
    nodes: int  # of the server, by memory, int8
    steps: dict[str, float]  # step -> hours; they overlap, but for the listing
    memory: float
    lean: float
    disk: float
    catalogue: float

    @property
    def bottleneck(self) -> str:
        """The step that takes longest."""
        return max(self.steps, key=self.steps.__getitem__)


def costs(pictures: int, given: Figures) -> Costs:
    """The arithmetic; every line is one multiplication."""
    million = pictures / 1e6
    core_hours = pictures * given.cpu_ms / 1e3 / HOUR
    machines = ceil(core_hours / given.cores / given.hours)
    driving = pictures * (given.listing_us + given.rows_us) / 1e6 / HOUR  # hours of one core
    drivers = ceil(driving / given.hours)
    lean = million * given.lean_gb
    nodes = ceil(lean / given.server_gb)
    read = pictures * given.megabytes * 8 / 1e3 / (given.gigabits * machines)  # seconds
    return Costs(
        pictures=pictures,
        core_hours=core_hours,
        machines=machines,
        drivers=drivers,
        nodes=nodes,
        steps={
            "listing": pictures * given.listing_us / 1e6 / drivers / HOUR,
            "catalogue": pictures * given.rows_us / 1e6 / drivers / HOUR,
            "reading": read / HOUR,
            "embedding": core_hours / given.cores / machines,
            "writing": pictures / (given.points_a_second * nodes) / HOUR,
        },
        memory=million * given.memory_gb,
        lean=lean,
        disk=million * given.disk_gb,
        catalogue=pictures * given.catalogue_bytes / GB,
    )


def tables(all_costs: Iterable[Costs]) -> str:
    """Two tables: what is needed, and how long each step takes."""
    rows = list(all_costs)
    needed = [
        "| pictures | core hours | machines | drivers | server nodes | memory, all | int8 | disk | "
        "catalogue |",
        "| --- " * 9 + "|",
    ]
    needed += [
        f"| {one.pictures:,} | {one.core_hours:,.0f} | {one.machines:,} | {one.drivers:,} | "
        f"{one.nodes:,} | {one.memory:,.1f} GB | {one.lean:,.1f} GB | {one.disk:,.0f} GB | "
        f"{one.catalogue:,.1f} GB |"
        for one in rows
    ]
    steps = list(rows[0].steps)
    times = [
        f"| pictures | {' | '.join(f'{step}, h' for step in steps)} | bottleneck |",
        "| --- " * (len(steps) + 2) + "|",
    ]
    times += [
        f"| {one.pictures:,} | {' | '.join(f'{hours:,.1f}' for hours in one.steps.values())} | "
        f"{one.bottleneck} |"
        for one in rows
    ]
    return "\n".join([*needed, "", *times])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables for the figures that are given."""
    parser = argparse.ArgumentParser(
        description="What a library of any size costs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--pictures", default="1e6,1e7,1e8,1e9", help="how many, with commas between"
    )
    for field in fields(Figures):
        kind = int if field.type == "int" else float
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=kind, default=field.default, help=HELP[field.name])
    given = vars(parser.parse_args(arguments))
    counts = [int(float(count)) for count in given.pop("pictures").split(",")]
    print(tables(costs(count, Figures(**given)) for count in counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
