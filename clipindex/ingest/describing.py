"""What people wrote into the files of pictures and into their sidecars, on its way to the points.

A picture's own bytes are read when it is indexed: they are in memory then. Its sidecars are read
then as well, and again when the walk sees that one is new, has changed or is gone; the picture
itself is not opened for that.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from clipindex.collection.opening import Collection
from clipindex.errors import ClipIndexWarning, FileFault
from clipindex.files.access import file_system_of
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path, path_from_payload, point_id
from clipindex.files.sidecars import Sidecars, stamp_of
from clipindex.ingest.outcomes import Said
from clipindex.pictures.description.reading import description_of
from clipindex.pictures.description.values import Description
from clipindex.pictures.description.xmp import MOST_BYTES, read_xmp
from clipindex.stores.described import described
from clipindex.stores.labels import label_index
from clipindex.stores.payload import META, Payload
from clipindex.stores.points import POINTS_AT_ONCE, Points
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.metadata import Joiner
from clipindex.upkeep.tagging import rewrite


@dataclass(frozen=True, slots=True)
class Describer:
    """Reads what pictures and their sidecars say. Any thread may call it."""

    sidecars: Mapping[bytes, Sidecars] = field(default_factory=dict)  # by the picture's path
    broken: list[bytes] = field(default_factory=list)  # sidecars that are no XMP

    def said(self, path: bytes, data: bytes) -> Said:
        """By a picture with these bytes, and beside it."""
        return replace(self.beside(path), file=description_of(data))

    def beside(self, path: bytes) -> Said:
        """By the sidecars alone."""
        files = self.sidecars.get(path, ())
        parts = [self._read(file, path) for file in files]
        if any(part is None for part in parts):
            return Said(sidecar=None)
        together: dict[str, str | float | list[str]] = {}
        for part in parts:
            together.update(part or {})
        return Said(sidecar=together, stamp=stamp_of(files) if files else None)

    def _read(self, sidecar: FileRecord, picture: bytes) -> Description | None:
        """What a sidecar says, nothing where it is no XMP; None where it cannot be read now. The
        run reports that, since the sidecar is a file that it finds."""
        try:
            with file_system_of(sidecar.path).open(sidecar.path) as file:
                packet = file.read()[1] if file.size <= MOST_BYTES else b""
        except FileFault:
            return None
        extension = os.path.splitext(picture)[1].lstrip(b".").decode("ascii", "replace")
        said = read_xmp(packet, extension)
        if said is None:
            self.broken.append(sidecar.path)
        return said or {}

    def warn(self) -> None:
        """Of the sidecars that are no XMP."""
        if self.broken:
            first, count = display_path(min(self.broken)), len(set(self.broken))
            names = first if count == 1 else f"{first} and {count - 1:,} more"
            message = f"sidecars without XMP that can be read are ignored: {names}"
            warnings.warn(message, ClipIndexWarning, stacklevel=2)


def describe_again(
    collection: Collection, records: Sequence[FileRecord], describer: Describer, joiner: Joiner
) -> Iterator[BatchVerified]:
    """Give indexed pictures, which this run does not read, what their sidecars say now; remember
    that once it is durable."""
    catalogue, points = collection.catalogue, collection.points
    for start in range(0, len(records), POINTS_AT_ONCE):
        batch = [record.path for record in records[start : start + POINTS_AT_ONCE]]
        beside = ((path, describer.beside(path)) for path in batch)
        said = {path: told for path, told in beside if told.sidecar is not None}

        def changed(payload: Payload, said: Mapping[bytes, Said] = said) -> Payload:
            told = said[path_from_payload(payload)]
            payload = joiner.payload(described(payload, sidecar=told.sidecar))
            index_described(points, payload)
            return payload

        yield from rewrite(points, [point_id(collection.source, path) for path in said], changed)
        rows = ((catalogue.get(path), told.stamp) for path, told in said.items())
        catalogue.write([row._replace(sidecars=stamp) for row, stamp in rows if row])


def index_described(points: Points, payload: Payload) -> None:
    """Make sure that a server has an index for each field that filters may name."""
    for name, value in payload.items():
        if name.startswith(META):
            points.index_field(name, label_index(name, value))
