"""What a worker made of one file: an embedding, content that is known already, a fault; or, where
the worker has written it by itself, a point."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.pictures.description.values import Description
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Way
from clipindex.stores.points import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a picture's file says, and its sidecars; `stamp` is theirs. `sidecar` is None where one
    could not be read: then its stamp is not remembered, and the next run tries again."""

    file: Description = field(default_factory=dict)
    sidecar: Description | None = field(default_factory=dict)
    stamp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """A picture and its embedding: float32 [dimension], of length 1."""

    record: FileRecord
    sha256: bytes
    facts: PictureFacts
    vector: Vector
    said: Said = field(default_factory=Said)


@dataclass(frozen=True, slots=True)
class Known:
    """A file whose content is embedded, refused or in another worker's hands already."""

    record: FileRecord
    sha256: bytes
    said: Said = field(default_factory=Said)


@dataclass(frozen=True, slots=True)
class Faulty:
    """A file that cannot be indexed; `sha256` is None when it was not read to its end."""

    record: FileRecord
    fault: FileFault
    sha256: bytes | None = None


Outcome = Embedded | Known | Faulty


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A picture whose point is verified. Not `is_written`: the point was there already as it
    should be. `stamp` is the sidecars'; `by_preview`: a preview stands for the picture."""

    record: FileRecord
    sha256: bytes
    stamp: str | None
    is_written: bool
    by_preview: bool = False

    @classmethod
    def of(cls, picture: Embedded, *, is_written: bool) -> Written:
        """What is left to note of a picture."""
        return cls(
            record=picture.record,
            sha256=picture.sha256,
            stamp=picture.said.stamp,
            is_written=is_written,
            by_preview=picture.facts.decoded is Way.PREVIEW,
        )


@dataclass(frozen=True, slots=True)
class WrittenElsewhere:
    """Pictures whose points another process wrote and verified, together."""

    pictures: tuple[Written, ...]
