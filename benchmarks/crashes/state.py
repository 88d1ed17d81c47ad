"""What a collection holds, and how it differs from what it should hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clipindex
from benchmarks.crashes.processes import settle
from clipindex.collection.catalogue import Catalogue

Content = tuple[bytes, dict[str, Any]]  # vector, payload without `indexed_at`


@dataclass(frozen=True, kw_only=True)
class State:
    """Points, and the catalogue's rows without the times at which they were written."""

    points: Mapping[uuid.UUID, Content] = field(default_factory=dict)
    rows: Mapping[bytes, tuple[Any, ...]] = field(default_factory=dict)
    roots: Mapping[bytes, Any] = field(default_factory=dict)
    begun_moves: Mapping[bytes, bytes] = field(default_factory=dict)
    folders: Mapping[bytes, Any] = field(default_factory=dict)


def read_state(store: Path) -> State:
    """Everything in a store that no process uses; nothing where it has no collection yet."""
    settle(store)
    place = clipindex.Index(store).place.locate().place
    if not (store / place.collection / "contract.json").exists():
        return State()
    located = place.locate()
    with located.place.open_for_reading(located.require(), "check") as points:
        ids = [name for name, _ in points.scroll()]
        stored = points.retrieve(ids)
    catalogue = Catalogue(store / place.collection / "catalogue.sqlite")
    try:
        return State(
            points={name: _content(point) for name, point in stored.items()},
            rows={row.path: _row(row) for row in catalogue.rows()},
            roots=catalogue.roots(),
            begun_moves=catalogue.begun_moves(),
            folders=catalogue.folders(),
        )
    finally:
        catalogue.close()


def _content(point: Any) -> Content:
    payload = {name: value for name, value in point.payload.items() if name != "indexed_at"}
    return point.vector.tobytes(), payload


def _row(row: Any) -> tuple[Any, ...]:
    return (row.size, row.mtime_ns, row.sha256, row.state, row.reason, row.decoders, row.transient)


def differences(expected: State, state: State) -> list[str]:
    """Each point, row, root, folder and unfinished move that is not as it should be."""
    return [
        f"{part}: {key!r} {_verdict(ours.get(key), theirs.get(key))}"
        for part in ("points", "rows", "roots", "begun_moves", "folders")
        for ours, theirs in [(getattr(state, part), getattr(expected, part))]
        for key in sorted(ours.keys() | theirs.keys(), key=str)
        if ours.get(key) != theirs.get(key)
    ]


def _verdict(ours: object, theirs: object) -> str:
    if theirs is None:
        return "should not be there"
    return "is missing" if ours is None else f"differs: {ours!r:.300} for {theirs!r:.300}"


def lost(before: State, after: State, reported: Iterable[uuid.UUID], now: State) -> list[str]:
    """What a crash between `before` and `after` took, or left half done.

    A reported point must be as in `after`; every other one as before or as after; and a content
    that is indexed before and after must never be without a point.
    """
    faults = [
        f"reported, and not there as reported: {name}"
        for name in reported
        if name not in now.points or now.points[name] != after.points.get(name)
    ]
    faults += [
        f"neither as before nor as after: {name}"
        for name, content in now.points.items()
        if content not in (before.points.get(name), after.points.get(name))
    ]
    kept = _contents(before) & _contents(after)
    return faults + [f"without a point: {content}" for content in sorted(kept - _contents(now))]


def _contents(state: State) -> set[str]:
    return {payload["sha256"] for _, payload in state.points.values()}


def copy_store(origin: Path, target: Path) -> None:
    """The files as they are, holes as holes: the engine's files are large and mostly empty."""
    settle(origin)
    settle(target)
    shutil.rmtree(target, ignore_errors=True)
    if not origin.exists():
        return
    if sys.platform == "linux":
        copy = ["cp", "--archive", "--sparse=always", str(origin), str(target)]
        subprocess.run(copy, check=True)
    else:
        shutil.copytree(origin, target)
