"""A collection on its way elsewhere: to a folder of plain files and back, or store to store.

An export is JSON lines with the payloads, .npy files with the vectors, and `export.json`, which
is written last and holds the contract and each file's count and SHA-256. Doing any of it again
goes on where it stopped: what is there already, and equal, is not written.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clipindex.collection.contract import StoredContract
from clipindex.collection.opening import Collection, open_for_import, reconcile
from clipindex.collection.place import Place
from clipindex.collection.status import remembered_roots
from clipindex.errors import StoreError, UsageError, VerificationFailed
from clipindex.files.durable import write_durably
from clipindex.files.identity import path_from_payload, point_id
from clipindex.stores.payload import TAG
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.verified import write_verified

POINTS_PER_FILE = 10_000
FORMAT = 1
MANIFEST = "export.json"
Progress = Callable[[int, int], object]  # called with (points done, points in all)
EXPORT_FILE = re.compile(r"(points-\d{5}\.jsonl|vectors-\d{5}\.npy|export\.json)(\.partial)?")


@dataclass(frozen=True, slots=True)
class CollectionData:
    """What leaves a place: its contract, its own source, its remembered roots, its points."""

    stored: StoredContract
    source: str
    roots: dict[bytes, dict[str, Any]]
    count: int
    points: Iterable[Sequence[Point]]


def no_progress(done: int, total: int) -> None:
    """Default progress callback: does nothing."""


def export(place: Place, folder: Path, progress: Progress = no_progress) -> int:
    """Write a collection into a folder; returns how many points it holds.

    Raises UsageError where other things lie in the folder, or another collection's export.
    """
    located = place.locate()
    place, stored = located.place, located.require()
    origin = [place.name, place.collection]
    _prepare(folder, origin)
    files: list[dict[str, Any]] = []
    count = 0
    with place.open_for_reading(stored, "export") as store:
        total = store.count()
        for number, part in enumerate(_pages(store, POINTS_PER_FILE)):
            files.append(_write_part(folder, number, part, store))
            count += len(part)
            progress(count, total)
    known = {f"{kind}-{n:05d}.{e}" for n in range(len(files)) for kind, e in KINDS}
    for path in folder.iterdir():
        if path.name not in known:  # of an earlier, larger export
            path.unlink()
    roots = [
        {"path": base64.b64encode(path).decode(), "options": options}
        for path, options in remembered_roots(located).items()
    ]
    manifest = {
        "format": FORMAT,
        "of": origin,
        "contract": asdict(stored),
        "source": place.source,
        "roots": roots,
        "points": count,
        "files": files,
    }
    write_durably(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return count


def import_(folder: Path, place: Place, progress: Progress = no_progress) -> int:
    """Bring an export into a collection, verified; returns how many points were written.

    Raises StoreError where the export is unfinished or damaged, ContractMismatch where the
    collection was made with another model.
    """
    return _receive(_read_export(folder), place, progress)


def copy(origin: Place, target: Place, progress: Progress = no_progress) -> int:
    """Bring one collection into another directly; returns how many points were written.

    Raises UsageError where both are the same.
    """
    located, target = origin.locate(), target.locate().place
    origin, stored = located.place, located.require()
    if (origin.name, origin.collection) == (target.name, target.collection):
        raise UsageError("a collection cannot be copied onto itself", path=origin.name)
    roots = remembered_roots(located)
    with origin.open_for_reading(stored, "export") as store:
        points = (_whole(store, page) for page in _pages(store, POINTS_AT_ONCE))
        data = CollectionData(stored, origin.source, roots, store.count(), points)
        return _receive(data, target, progress)


def _receive(data: CollectionData, place: Place, progress: Progress) -> int:
    """Every point compared, written where it is missing or differs, read back; then the rows."""
    written = seen = 0
    with open_for_import(place, data.stored) as collection:
        store, indexed = collection.points, set[str]()
        with store.bulk_load(data.count):
            for points in data.points:
                mine = [_adopted(point, data.source, place.source) for point in points]
                for key in {key for point in mine for key in point.payload} - indexed:
                    indexed.add(key)
                    if key.startswith(TAG):
                        store.index_field(key)
                there = store.retrieve([point.id for point in mine])
                missing = [
                    point
                    for point in mine
                    if point.id not in there or not store.same(point, there[point.id])
                ]
                if missing:
                    write_verified(store, missing)
                written, seen = written + len(missing), seen + len(mine)
                progress(seen, data.count)
        _check_counts(store, data.count, seen)
        _remember(collection, data.roots)
    return written


def _check_counts(store: Points, promised: int, seen: int) -> None:
    if seen != promised or store.count() < seen:
        raise VerificationFailed(
            f"{promised} points were to come, {seen} did, {store.count()} are there",
            path=store.location,
            hint="run the same command again; let no other run write meanwhile",
        )


def _remember(collection: Collection, roots: dict[bytes, dict[str, Any]]) -> None:
    reconcile(collection)
    for path, options in roots.items():
        collection.catalogue.remember_root(path, options)


def _adopted(point: Point, source: str, mine: str) -> Point:
    """Points of the origin's own source become the target's own, so that the next ingest there
    knows them; those of other sources stay what they are."""
    if source == mine or point.payload.get("source") != source:
        return point
    id = point_id(mine, path_from_payload(point.payload))
    return Point(id, point.vector, {**point.payload, "source": mine})


Page = list[tuple[uuid.UUID, dict[str, object]]]


def _pages(store: Points, size: int) -> Iterator[Page]:
    """All points, without their vectors, so many at a time."""
    points = iter(store.scroll())
    while page := list(islice(points, size)):
        yield page


def _whole(store: Points, page: Page) -> list[Point]:
    """A page's points with vectors."""
    return [
        point
        for start in range(0, len(page), POINTS_AT_ONCE)
        for point in store.retrieve([id for id, _ in page[start : start + POINTS_AT_ONCE]]).values()
    ]


# --- the files of an export ------------------------------------------------------------------

KINDS = (("points", "jsonl"), ("vectors", "npy"))


def _paths(folder: Path, number: int) -> tuple[Path, Path]:
    lines, vectors = (folder / f"{kind}-{number:05d}.{suffix}" for kind, suffix in KINDS)
    return lines, vectors


def _prepare(folder: Path, origin: list[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if not EXPORT_FILE.fullmatch(path.name)]
        if (folder / MANIFEST).exists():
            name, collection = json.loads((folder / MANIFEST).read_text("utf-8"))["of"]
            if [name, collection] != origin:
                others.append(f"an export of another collection, '{collection}' in {name}")
        if not others:
            (folder / MANIFEST).unlink(missing_ok=True)  # until it is whole again
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", path=str(folder)) from error
    except (ValueError, KeyError, TypeError):
        others = [MANIFEST]  # not ours, or damaged
    if others:
        raise UsageError(
            f"the folder holds something else: {others[0]}",
            path=str(folder),
            hint="name one that is new, empty, or holds an earlier export of the same collection",
        )


def _write_part(folder: Path, number: int, page: Page, store: Points) -> dict[str, Any]:
    """One pair of files, whole or not at all; a pair that is right already is left alone."""
    lines, vectors = _paths(folder, number)
    text = "".join(json.dumps({"id": str(id), "payload": p}) + "\n" for id, p in page).encode()
    if not (vectors.exists() and lines.exists() and lines.read_bytes() == text):
        found = {point.id: point.vector for point in _whole(store, page)}
        if len(found) != len(page):
            raise StoreError(
                "points vanished while they were read",
                path=store.location,
                hint="run the same command again; let no other run write meanwhile",
            )
        stacked = io.BytesIO()
        np.save(stacked, np.stack([found[id] for id, _ in page]))
        write_durably(vectors, stacked.getvalue())
        write_durably(lines, text)  # last: with it the pair counts
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (lines, vectors)]
    return {"points": len(page), "sha256": sums}


def _read_export(folder: Path) -> CollectionData:
    """Raises StoreError where the export is unfinished or cannot be read."""
    try:
        raw = json.loads((folder / MANIFEST).read_text("utf-8"))
        stored = StoredContract.from_json(raw["contract"])
        roots = {base64.b64decode(root["path"]): root["options"] for root in raw["roots"]}
        source, count, files = str(raw["source"]), int(raw["points"]), list(raw["files"])
    except FileNotFoundError:
        raise StoreError(
            "there is no finished export", path=str(folder), hint="run clipindex export again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the export cannot be read: {error}", path=str(folder)) from error
    return CollectionData(stored, source, roots, count, _read_parts(folder, files))


def _read_parts(folder: Path, files: Sequence[dict[str, Any]]) -> Iterator[list[Point]]:
    """The points of every pair of files, whose sums must be those of the manifest."""
    for number, file in enumerate(files):
        paths = _paths(folder, number)
        try:
            sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        except OSError as error:
            raise StoreError(f"the export cannot be read: {error.strerror}") from error
        if sums != file["sha256"]:
            raise VerificationFailed(
                "a file of the export is not what was written",
                path=str(paths[0]),
                hint="export again, or restore the file",
            )
        vectors = np.load(paths[1], allow_pickle=False)
        records = [json.loads(line) for line in paths[0].read_bytes().splitlines()]
        points = [
            Point(uuid.UUID(record["id"]), vector, record["payload"])
            for record, vector in zip(records, vectors, strict=True)
        ]
        for start in range(0, len(points), POINTS_AT_ONCE):
            yield points[start : start + POINTS_AT_ONCE]
