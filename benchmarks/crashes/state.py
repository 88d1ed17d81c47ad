"""What a collection holds, and how it differs from what it should hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import clipindex
from clipindex.collection.catalogue import Catalogue

Content = tuple[bytes, dict[str, Any]]  # vector, payload without `indexed_at`


@dataclass(frozen=True, kw_only=True)
class State:
    """Points, and the catalogue's rows without the times at which they were written; and what lies
    around. Keys are a point's id, a path, a name."""

    points: Mapping[Any, Content] = field(default_factory=dict)
    rows: Mapping[Any, tuple[Any, ...]] = field(default_factory=dict)
    roots: Mapping[Any, Any] = field(default_factory=dict)
    begun_moves: Mapping[Any, bytes] = field(default_factory=dict)
    folders: Mapping[Any, Any] = field(default_factory=dict)
    names: Mapping[Any, bool] = field(default_factory=dict)

    def holds_the_same(self, other: State) -> bool:
        """Whether both are equal, whatever lies around."""
        return not differences(replace(self, names={}), replace(other, names={}))


PARTS = tuple(part.name for part in fields(State))


def side_by_side(**states: State) -> State:
    """The states of several stores as one; each key has its store's name before it."""
    return State(
        **{
            part: {
                (name, key): value
                for name, state in states.items()
                for key, value in getattr(state, part).items()
            }
            for part in PARTS
        }
    )


def names_in(*folders: Path) -> dict[str, bool]:
    """The names in some folders, but for those that come and go: SQLite's own files, the socket of
    a killed holder, which the next one deletes, and what a compaction notes."""
    paths = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    return {
        f"{path.parent.name}/{path.name}": True
        for path in paths
        if "-" not in path.suffix and path.name not in ("sock", "compacted.json")
    }


def read_state(store: Path) -> State:
    """Everything in a store that no process uses; nothing where it has no collection yet."""
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
        for part in PARTS
        for ours, theirs in [(getattr(state, part), getattr(expected, part))]
        for key in sorted(ours.keys() | theirs.keys(), key=str)
        if ours.get(key) != theirs.get(key)
    ]


def _verdict(ours: object, theirs: object) -> str:
    if theirs is None:
        return "should not be there"
    return "is missing" if ours is None else f"differs: {ours!r:.300} for {theirs!r:.300}"


def lost(before: State, after: State, reported: Iterable[Any], now: State) -> list[str]:
    """What a crash between `before` and `after` took, or left half done.

    A reported point must be as in `after`; every other one as before or as after; and a point, or a
    content, that is there before and after must be there.
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
    kept_points = before.points.keys() & after.points.keys()
    faults += [f"gone: {name}" for name in kept_points - now.points.keys()]
    kept = _contents(before) & _contents(after)
    return faults + [f"without a point: {content}" for content in sorted(kept - _contents(now))]


def _contents(state: State) -> set[str]:
    return {payload["sha256"] for _, payload in state.points.values()}


def copy_stage(origin: Path, target: Path) -> None:
    """The files as they are, holes as holes: the engine's files are large and mostly empty."""
    shutil.rmtree(target, ignore_errors=True)
    if not origin.exists():
        return
    if sys.platform == "linux":
        copy = ["cp", "--archive", "--sparse=always", str(origin), str(target)]
        subprocess.run(copy, check=True)
    else:
        shutil.copytree(origin, target)
