"""What a worker made of one file: an embedding, content that is known already, or a fault."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.pictures.description.values import Description
from clipindex.pictures.exif import PictureFacts
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
