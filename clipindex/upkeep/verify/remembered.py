"""What the catalogues say of the points: a row for each point, a point for each row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.collection.place import Located
from clipindex.collection.readable_catalogue import readable
from clipindex.files.identity import point_id
from clipindex.stores.payload import Payload


class Remembered:
    """The rows of one source. Parts of a collection on a server (`--part`) have a catalogue each:
    any of them may know a point, and none of them knows all."""

    def __init__(self, source: str, whole: Catalogue | None, parts: Sequence[Catalogue]) -> None:
        self._source = source
        self._whole = whole
        self._all = [*([whole] if whole is not None else []), *parts]
        self._paths: dict[uuid.UUID, bytes] | None = None

    def why_not(self) -> str:
        """Why rows and points cannot be compared at this moment; empty where they can."""
        if not any(catalogue.counts().get(INDEXED) for catalogue in self._all):
            return "the catalogue remembers no pictures: the next ingest makes it from the points"
        for catalogue in self._all:
            run = catalogue.latest_begun()
            if run is not None and run.finished is None:
                return (
                    "the latest run is not finished (running, or interrupted): the next one makes "
                    "points and catalogue agree"
                )
        return ""

    def get(self, path: bytes) -> Row | None:
        """The row of a path; of several that of an indexed file."""
        rows = [row for row in (catalogue.get(path) for catalogue in self._all) if row is not None]
        return next((row for row in rows if row.state == INDEXED), rows[0] if rows else None)

    def indexed(self) -> Iterator[bytes]:
        """The paths that must have a point: none where parts share them, whose rows may be old."""
        if self._whole is not None and len(self._all) == 1:
            yield from (row.path for row in self._whole.rows() if row.state == INDEXED)

    def path_of(self, point: uuid.UUID) -> bytes | None:
        """Whose point it is, when its payload does not say."""
        if self._paths is None:
            rows = (row.path for catalogue in self._all for row in catalogue.rows())
            self._paths = {point_id(self._source, path): path for path in rows}
        return self._paths.get(point)

    def provider(self) -> str:
        """What computed the embeddings of the latest run; empty where that is not known."""
        run = self._whole.last_success() if self._whole is not None else None
        summary = run.summary if run is not None else None
        return str(summary.get("provider") or "") if summary else ""


@contextmanager
def remembered(located: Located) -> Iterator[Remembered]:
    """The catalogues of a collection, for reading, without any lock."""
    stored = located.require()
    path = located.place.catalogue_for(stored)
    with ExitStack() as stack:

        def opened(file: Path) -> Catalogue:
            return stack.enter_context(closing(Catalogue(stack.enter_context(readable(file)))))

        parts = sorted(path.parent.glob(f"{path.stem}-*-of-*.sqlite"))
        whole = opened(path) if path.exists() else None
        yield Remembered(located.place.source, whole, list(map(opened, parts)))


def row_fault(row: Row | None, payload: Payload) -> str | None:
    """Why a point's row is not as it should be. A row of quarantine is: the file was indexed, and
    went bad; its point stays."""
    if row is None:
        return "the catalogue does not know its point"
    digest = row.sha256.hex() if row.sha256 is not None else None
    if row.state == INDEXED and (digest, row.size) != (payload["sha256"], payload["bytes"]):
        return "the catalogue remembers other bytes than its point"
    return None
