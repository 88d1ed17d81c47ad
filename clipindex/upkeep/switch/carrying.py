"""What a catalogue remembers, carried over to the collection that is about to be live.

Roots with their options, what is in quarantine and accepted, what is missing and since when, the
runs: all of it is in the catalogue, so the whole catalogue is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.contract import StoredContract
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.place import Beside, Place
from clipindex.collection.readable_catalogue import copy_catalogue
from clipindex.files.durable import disk_errors
from clipindex.upkeep.backup import CATALOGUES


def carry_catalogues(
    place: Place, stored: StoredContract, beside: Beside, left_out: Sequence[tuple[str, bytes]]
) -> None:
    """Make the catalogues of the collection beside those of the live one, of every source and
    part that this machine has; each in one transaction. The rows of files that were `left_out`,
    given as source and path, are deleted: they have no point there."""
    for origin, target in _pairs(place, stored, beside):
        with disk_errors(target, "the catalogue cannot be copied"):
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_catalogue(origin, target)
        with closing(Catalogue(target)) as catalogue:
            catalogue.write((), [path for _, path in left_out])


def remembered_roots(place: Place, stored: StoredContract) -> list[bytes]:
    """The roots in any of these catalogues."""
    roots: dict[bytes, None] = {}
    for path in _catalogues(place, stored):
        with closing(Catalogue(path)) as catalogue:
            roots |= dict.fromkeys(catalogue.roots())
    return sorted(roots)


def _catalogues(place: Place, stored: StoredContract) -> list[Path]:
    if isinstance(place, FolderPlace):
        return sorted(place.files.glob(CATALOGUES))
    whole = place.catalogue_for(stored)
    parts = sorted(whole.parent.glob(f"{whole.stem}-*-of-*.sqlite"))
    return [path for path in (whole, *parts) if path.exists()]


def _pairs(place: Place, stored: StoredContract, beside: Beside) -> Iterator[tuple[Path, Path]]:
    stem = place.catalogue_for(stored).stem
    target = beside.place.catalogue_for(beside.stored)
    for path in _catalogues(place, stored):
        if isinstance(place, FolderPlace):
            yield path, target.with_name(path.name)
        else:
            yield path, target.with_name(target.stem + path.name.removeprefix(stem))
