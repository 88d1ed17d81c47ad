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
        if point is None or not isinstance(point.payload.get("path"), str):
            return None
        same = visible.scroll(Filter().also(("sha256", str(point.payload.get("sha256")))))
        paths = {str(payload["path"]) for _, payload in same if "path" in payload}
        first = str(point.payload["path"])
        return IndexedPicture(name, point.payload, (first, *sorted(paths - {first})))

    return read_live(place, QUERY, kept, read)


def content_of(picture: IndexedPicture) -> Content:
    """The bytes that were indexed, read from the file now. Raises FileFault where it is gone,
    cannot be read or has other bytes by now: nothing that was not indexed is ever returned."""
    content = read_content(path_from_payload(picture.payload))
    if content.sha256.hex() != picture.sha256:
        raise FileFault(CHANGED, transient=True)
    return content
