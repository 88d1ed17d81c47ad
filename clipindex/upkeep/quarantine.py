"""Pictures that were refused: which, why, since when, and what a person decides about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clipindex.collection.catalogue import QUARANTINED, Catalogue, Row
from clipindex.collection.marks import QuarantineMark
from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.collection.status import open_catalogue
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, is_below, resolve_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A picture in quarantine. `path` is shown as text, `exact_path` are its bytes."""

    path: str
    exact_path: bytes
    reason: str
    bytes: int  # its size
    first_seen: str | None  # ISO 8601, UTC; None: an earlier version of clipindex refused it
    accepted: bool
    retried: bool  # it is read again in every run: a permission or I/O error


def listed(place: Place, paths: Sequence[AnyPath] = ()) -> list[Quarantined]:
    """The quarantine in path order, or what of it is at or below `paths`; nothing is locked.

    Raises StoreError when there is no collection.
    """
    located = place.locate()
    located.require()
    with open_catalogue(located) as catalogue:
        if catalogue is None:
            return []
        marks = catalogue.refusals()
        rows = sorted(_rows(catalogue, paths), key=lambda row: row.path)
        return [_quarantined(row, marks.get(row.path)) for row in rows]


def retry(place: Place, paths: Sequence[AnyPath]) -> int:
    """Have the next run read pictures at or below `paths` once more, although neither they nor
    the decoders changed; returns how many. No path: all of the quarantine."""

    def untried(collection: Collection, rows: list[Row]) -> None:
        collection.catalogue.write([row._replace(decoders=None) for row in rows])

    return _change(place, paths, "quarantine retry", untried)


def clear(place: Place, paths: Sequence[AnyPath]) -> int:
    """Forget that pictures were refused; returns how many. What still exists is read by the next
    run as a new file, and reported if it is refused again."""

    def forgotten(collection: Collection, rows: list[Row]) -> None:
        collection.catalogue.write((), [row.path for row in rows])

    return _change(place, paths, "quarantine clear", forgotten)


def accept(place: Place, paths: Sequence[AnyPath]) -> int:
    """Accept that pictures are refused: they are counted and no longer reported, until the file
    changes; returns how many."""

    def accepted(collection: Collection, rows: list[Row]) -> None:
        collection.catalogue.accept([(row.path, row.size, row.mtime_ns) for row in rows])

    return _change(place, paths, "quarantine accept", accepted)


def _change(
    place: Place,
    paths: Sequence[AnyPath],
    purpose: str,
    change: Callable[[Collection, list[Row]], None],
) -> int:
    with open_for_change(place, purpose) as collection:
        rows = _rows(collection.catalogue, paths)
        change(collection, rows)
        return len(rows)


def _rows(catalogue: Catalogue, paths: Sequence[AnyPath]) -> list[Row]:
    """Refused files at or below any of the paths; no path: all. Raises UsageError for a path at
    or below which none is."""
    refused = [row for row in catalogue.rows() if row.state == QUARANTINED]
    if not paths:
        return refused
    chosen: dict[bytes, Row] = {}
    for path in paths:
        name = resolve_root(path)
        below = {row.path: row for row in refused if is_below(row.path, name)}
        if not below:
            raise UsageError(
                "nothing at or below this path is in quarantine",
                path=display_path(name),
                hint="`clipindex quarantine` lists what is",
            )
        chosen |= below
    return list(chosen.values())


def _quarantined(row: Row, mark: QuarantineMark | None) -> Quarantined:
    return Quarantined(
        path=display_path(row.path),
        exact_path=row.path,
        reason=row.reason or "damaged",
        bytes=row.size,
        first_seen=None if mark is None else mark.first_seen,
        accepted=mark is not None and mark.accepted,
        retried=row.transient,
    )
