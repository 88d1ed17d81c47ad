"""Pictures of a query that the collection has: their stored vectors are taken, and nothing is
decoded or embedded. So a picture can be asked for that is no longer there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipindex.collection.place import Located, Place
from clipindex.errors import UsageError
from clipindex.files.access import exists, file_record
from clipindex.files.identity import point_id, resolve_root
from clipindex.search.terms import Query, Term, picture_path
from clipindex.stores.points import ReadablePoints, is_unit

if TYPE_CHECKING:
    from clipindex.collection.catalogue import Row


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """An indexed file that is as it was indexed, or gone."""

    path: bytes
    point: uuid.UUID
    sha256: bytes


def known_pictures(located: Located, terms: Sequence[Term]) -> dict[int, KnownPicture]:
    """Position of a term -> the picture that it names, for those that the catalogue knows."""
    paths = {number: path for number, term in enumerate(terms) if (path := picture_path(term))}
    return _looked_up(located, paths) if paths else {}


def is_known(place: Place, path: str) -> bool:
    """Whether the collection, if there is one, has this file, be it gone."""
    try:
        return bool(_looked_up(place.locate(), {0: resolve_root(path)}))
    except UsageError:  # no path at all
        return False


def stored_queries(
    points: ReadablePoints, known: Mapping[int, KnownPicture]
) -> dict[int, Query] | None:
    """The pictures as queries, by position. None where a point is another one by now."""
    stored = points.retrieve([picture.point for picture in known.values()]) if known else {}
    queries = {}
    for number, picture in known.items():
        point = stored.get(picture.point)
        if point is None or point.payload.get("sha256") != picture.sha256.hex():
            return None
        if not is_unit(point.vector):
            return None
        content = frozenset((picture.sha256,))
        queries[number] = Query(point.vector, picture.sha256, picture.path, content)
    return queries


def _looked_up(located: Located, paths: Mapping[int, bytes]) -> dict[int, KnownPicture]:
    from clipindex.collection.status import open_catalogue  # a text needs no SQLite

    with open_catalogue(located) as catalogue:
        rows = {} if catalogue is None else {n: catalogue.get(path) for n, path in paths.items()}
    return {
        number: KnownPicture(row.path, point_id(located.place.source, row.path), row.sha256)
        for number, row in rows.items()
        if row is not None and row.is_indexed and row.sha256 and _is_as_it_was(row)
    }


def _is_as_it_was(row: Row) -> bool:
    """Whether the file is the one that was indexed. One that cannot be looked at counts as gone,
    and then its stored vector is all there is."""
    record = file_record(row.path)
    return not exists(row.path) if record is None else row.agrees_with(record)
