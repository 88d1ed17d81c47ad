"""Single pictures of a collection, by the ids of their points."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from clipindex.collection.kept import Kept, read_live
from clipindex.collection.lock import QUERY
from clipindex.collection.place import Place
from clipindex.errors import FileFault
from clipindex.files.identity import path_from_payload
from clipindex.pictures.content import Content, read_content
from clipindex.search.scoped import Scope, scoped
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload
from clipindex.stores.points import ReadablePoints

CHANGED = "the file was changed since it was indexed"


@dataclass(frozen=True, slots=True)
class IndexedPicture:
    """A picture in a collection: its point's id and payload, and the paths of all its copies."""

    id: uuid.UUID
    payload: Payload
    paths: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of the file's bytes, in hexadecimal."""
        return str(self.payload.get("sha256", ""))


def picture_of(
    place: Place, name: uuid.UUID, scope: Scope, kept: Kept | None
) -> IndexedPicture | None:
    """The picture with this id; None where there is none, or not within the scope."""

    def read(points: ReadablePoints) -> IndexedPicture | None:
        visible = scoped(points, scope)
        point = visible.retrieve([name]).get(name)
        return None if point is None else _picture(name, point.payload, visible)

    return read_live(place, QUERY, kept, read)


def picture_with(
    place: Place, sha256: bytes, scope: Scope, kept: Kept | None
) -> IndexedPicture | None:
    """A picture whose bytes have this SHA-256; None where there is none within the scope."""

    def read(points: ReadablePoints) -> IndexedPicture | None:
        visible = scoped(points, scope)
        first = next(visible.scroll(Filter().also(("sha256", sha256.hex()))), None)
        return None if first is None else _picture(*first, visible)

    return read_live(place, QUERY, kept, read)


def _picture(name: uuid.UUID, payload: Payload, visible: ReadablePoints) -> IndexedPicture | None:
    if not isinstance(payload.get("path"), str):
        return None
    same = visible.scroll(Filter().also(("sha256", str(payload.get("sha256")))))
    paths = {str(other["path"]) for _, other in same if "path" in other}
    first = str(payload["path"])
    return IndexedPicture(name, payload, (first, *sorted(paths - {first})))


def content_of(picture: IndexedPicture) -> Content:
    """The bytes that were indexed, read from the file now. Raises FileFault where it is gone,
    cannot be read or has other bytes by now: nothing that was not indexed is ever returned."""
    content = read_content(path_from_payload(picture.payload))
    if content.sha256.hex() != picture.sha256:
        raise FileFault(CHANGED, transient=True)
    return content
