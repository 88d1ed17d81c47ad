"""Remembered roots: what `reindex` walks."""

from __future__ import annotations

from dataclasses import dataclass

from clipindex.collection.catalogue import INDEXED, Catalogue
from clipindex.collection.names import require_named_source
from clipindex.collection.opening import open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.collection.status import open_catalogue
from clipindex.errors import UsageError
from clipindex.files.identity import as_written, is_below, resolve_root
from clipindex.upkeep.prune import remove_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """What a catalogue remembers at or below a path."""

    path: bytes
    pictures: int = 0  # that have a point
    others: int = 0  # refused or skipped
    roots: int = 0

    def __bool__(self) -> bool:
        return bool(self.pictures or self.others or self.roots)


def remembered_below(place: Place, path: AnyPath) -> Below:
    """What is remembered at or below a path; nothing is locked. Raises UsageError for nothing."""
    located = place.locate()
    located.require()
    with open_catalogue(located) as catalogue:
        return _required(catalogue, path)


def forget(place: Place, path: AnyPath) -> None:
    """Forget a root: `reindex` no longer looks there; its points stay.

    Raises UsageError when it is not remembered.
    """
    with open_for_change(place, "forget") as collection:
        for name in _names(path):
            if collection.catalogue.forget_root(name):
                return
    raise _unknown(path)


def forget_and_prune(place: Place, path: AnyPath) -> int:
    """Remove every file at or below a path from the index, whether it exists or not, and forget
    the roots there; returns how many files were removed. After a kill, the same call goes on.

    Raises UsageError when nothing is remembered there.
    """
    require_named_source(place)
    with open_for_change(place, "forget") as collection:
        below = _required(collection.catalogue, path)
        removed = remove_below(collection, below.path)
        for root in collection.catalogue.roots():
            if is_below(root, below.path):
                collection.catalogue.forget_root(root)
        return removed


def _names(path: AnyPath) -> tuple[bytes, bytes]:
    """A path with its links resolved, and as it is written: the folder may be gone."""
    return resolve_root(path), as_written(path)


def _required(catalogue: Catalogue | None, path: AnyPath) -> Below:
    if catalogue is not None:
        for name in _names(path):
            if below := _below(catalogue, name):
                return below
    raise UsageError(
        "nothing is remembered at or below this path",
        path=str(path),
        hint="correct the path; `clipindex status` lists the folders",
    )


def _below(catalogue: Catalogue, path: bytes) -> Below:
    states = [row.state for row in catalogue.rows() if is_below(row.path, path)]
    pictures = states.count(INDEXED)
    roots = sum(is_below(root, path) for root in catalogue.roots())
    return Below(path=path, pictures=pictures, others=len(states) - pictures, roots=roots)


def _unknown(path: AnyPath) -> UsageError:
    return UsageError(
        "not a remembered folder", path=str(path), hint="`clipindex status` lists them"
    )
