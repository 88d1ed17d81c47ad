"""What a run says while it goes on: frozen facts that leave the core, for a renderer to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from clipindex.collection.catalogue import Row
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path, point_id
from clipindex.stores.verified import BatchVerified


class Status(StrEnum):
    """What became of one file; every file found has exactly one."""

    NEW = "new"
    CHANGED = "changed"
    DUPLICATE = "duplicate"
    MOVED = "moved"
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """What the run goes by."""

    model: str
    preprocessing: str
    store: str
    collection: str


@dataclass(frozen=True, slots=True)
class Scanning:
    """The walk goes on: how many files it has found."""

    found: int


@dataclass(frozen=True, slots=True)
class RunPlanned:
    """The walk is done: what is to be read (files and bytes) and what is already known."""

    found: int
    to_read: int
    bytes_to_read: int
    unchanged: int
    vanished: int


@dataclass(frozen=True, slots=True)
class FileDone:
    """One file and its status; `id` where it has a point, `reason` where it has none."""

    path: str
    status: Status
    bytes: int
    id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Untouched:
    """Files that this run does not read, all at once: there may be millions of them."""

    unchanged: Sequence[FileRecord]
    deferred: Sequence[FileRecord]
    known_faults: Sequence[Row]
    source: str
    left_out: Sequence[bytes] = ()  # names that the walk policy leaves out, a folder once

    def files(self) -> Iterator[FileDone]:
        """Each as an event of its own, for those who want to see them all."""
        for status, records in (
            (Status.UNCHANGED, self.unchanged),
            (Status.DEFERRED, self.deferred),
        ):
            for record in records:
                known = str(point_id(self.source, record.path))
                id = known if status is Status.UNCHANGED else None
                yield FileDone(display_path(record.path), status, record.size, id)
        for row in self.known_faults:
            yield FileDone(display_path(row.path), Status(row.state), row.size, reason=row.reason)


@dataclass(frozen=True, slots=True)
class FolderFault:
    """A folder that could not be listed, or a name in it whose kind could not be read."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class EmbeddingOn:
    """What runs the vision tower, read back: nothing falls back in silence."""

    provider: str


@dataclass(frozen=True, slots=True)
class SlowFile:
    """A file that a worker has had in hand for many seconds."""

    path: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The last word of a run; `found` is the sum of the eight statuses."""

    found: int = 0
    new: int = 0
    changed: int = 0
    duplicate: int = 0
    moved: int = 0
    unchanged: int = 0
    quarantined: int = 0
    newly_quarantined: int = 0
    skipped: int = 0
    deferred: int = 0
    left_out: int = 0
    tagged: int = 0  # unchanged files whose tags were written
    vanished: int = 0
    unreadable: int = 0  # files and folders that could not be read at all
    points: int = 0
    embedded: int = 0
    written: int = 0
    seconds: float = 0.0
    pictures_per_second: float = 0.0
    model: str = ""
    provider: str = ""  # what ran the vision tower; empty where no picture was embedded
    store: str = ""
    collection: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run came to its end (it was not interrupted)."""

    summary: Summary


Event = (
    RunStarted
    | Scanning
    | RunPlanned
    | Untouched
    | FileDone
    | FolderFault
    | EmbeddingOn
    | SlowFile
    | BatchVerified
    | RunFinished
)
