"""What years of edits and narrow filters cost an embedded store.

    python -m benchmarks.upkeep [--points 10000] [--rounds 5]

edits:   every picture is edited in each round: its point is written again.
moves:   every picture is moved in each round: a new point is written, the old one deleted.
copy:    the store that was moved so often, copied point by point into a new folder.
filters: a search over all points, over one folder of a hundred points, and over one tag.

The points are made up (unit vectors of 512 random numbers); disk space is what is allocated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.machine import described
from benchmarks.report import rows_table
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import LOCAL, point_id
from clipindex.pictures.exif import PictureFacts
from clipindex.stores.edge import EdgePoints
from clipindex.stores.filter import Filter
from clipindex.stores.payload import make_payload
from clipindex.stores.points import Point, Vector
from clipindex.stores.verified import write_verified

DIMENSION, AT_ONCE, PER_FOLDER, SEARCHES = 512, 250, 100, 30
FACTS = PictureFacts(4000, 3000, "JPEG")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    machine = described()
    print(f"{machine['cpu']}, {machine['cores']} cores\n")
    with tempfile.TemporaryDirectory() as name:
        print(rows_table(upkeep(Path(name), options.points, options.rounds)), flush=True)
        print()
        print(rows_table(filters(Path(name) / "filters", options.points)))


def upkeep(folder: Path, count: int, rounds: int) -> list[dict[str, object]]:
    return [*edits(folder / "edits", count, rounds), *moves(folder, count, rounds)]


def edits(folder: Path, count: int, rounds: int) -> Iterator[dict[str, object]]:
    """The folder's size after every point was written once, and again in each round."""
    store = EdgePoints(folder, DIMENSION)
    for number in range(rounds + 1):
        fill(store, points(count, number, moved=0))
        yield measured("edits", number, store, folder)
    store.close()


def moves(folder: Path, count: int, rounds: int) -> Iterator[dict[str, object]]:
    """The same with every point at a new path in each round, then a copy of what is left."""
    store, old = EdgePoints(folder / "moves", DIMENSION), list[Point]()
    for number in range(rounds + 1):
        new = list(points(count, number, moved=number))
        fill(store, iter(new))
        for start in range(0, len(old), AT_ONCE):
            store.delete([point.id for point in old[start : start + AT_ONCE]])
        store.flush()
        old = new
        yield measured("moves", number, store, folder / "moves")
    copied = EdgePoints(folder / "copy", DIMENSION)
    fill(copied, iter(store.retrieve([point.id for point in old]).values()))
    yield measured("copy", rounds, copied, folder / "copy")
    store.close()
    copied.close()


def filters(folder: Path, count: int) -> list[dict[str, object]]:
    """Milliseconds of a search, with and without a filter, in one store."""
    store = EdgePoints(folder, DIMENSION)
    store.index_field("tag_owner")
    fill(store, points(count, 0, moved=0))
    narrow = {
        "none": Filter(),
        f"one folder of {PER_FOLDER}": Filter().also(("folders", "/made/0/00000")),
        "one tag of half": Filter().also(("tag_owner", "ann")),
    }
    rows: list[dict[str, object]] = [
        {"filter": name, "points": count, "search, ms": search_ms(store, only)}
        for name, only in narrow.items()
    ]
    store.close()
    return rows


def points(count: int, seed: int, *, moved: int) -> Iterator[Point]:
    """Made pictures; `seed` changes the content, `moved` the path."""
    random = np.random.default_rng(seed)
    for number in range(count):
        path = f"/made/{moved}/{number // PER_FOLDER:05d}/{number:07d}.jpg".encode()
        digest = f"{seed:016x}{number:016x}".encode()
        tags = {"owner": "ann" if number % 2 else "bob"}
        payload = make_payload(LOCAL, FileRecord(path, 1, 1, 1), digest, FACTS, tags)
        yield Point(point_id(LOCAL, path), unit(random.standard_normal(DIMENSION)), payload)


def fill(store: EdgePoints, made: Iterator[Point]) -> None:
    while batch := list(islice(made, AT_ONCE)):
        write_verified(store, batch)


def measured(what: str, number: int, store: EdgePoints, folder: Path) -> dict[str, object]:
    """One row: what the store takes on disk, and how long a search takes."""
    allocated = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    size: dict[str, object] = {"what": what, "round": number, "points": store.count()}
    return {**size, "disk, MB": allocated / 1e6, "search, ms": search_ms(store, Filter())}


def search_ms(store: EdgePoints, only: Filter) -> float:
    vector = unit(np.random.default_rng(7).standard_normal(DIMENSION))
    return median(timed(lambda: store.search(vector, limit=10, only=only)) for _ in range(SEARCHES))


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def unit(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Vector:
    return (numbers / np.linalg.norm(numbers)).astype(np.float32)


if __name__ == "__main__":
    main()
