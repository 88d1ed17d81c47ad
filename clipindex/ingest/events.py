"""The events of a run: what the command line turns into a bar, log lines or JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from clipindex.collection.catalogue import Row
from clipindex.collection.root_options import RootOptions
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path, point_id
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.standing.asking import QuestionUnasked, StandingHit


class Status(StrEnum):
    """What a run did with one file; every file found has exactly one status."""

    NEW = "new"
    CHANGED = "changed"
    DUPLICATE = "duplicate"
    MOVED = "moved"
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event: which model, preprocessing and collection the run uses."""

    model: str
    preprocessing: str
    store: str
    collection: str


@dataclass(frozen=True, slots=True)
class PointsMissing:
    """The collection has lost the points of `pictures` files that still exist, of those that are
    `remembered`. Those that the run finds are embedded again; tags that were changed by hand are
    gone with the points."""

    pictures: int
    remembered: int


@dataclass(frozen=True, slots=True)
class RootOptionsUsed:
    """A remembered root is walked with other options than those that were given, or than those
    that it is `remembered` with. `stored`: what is `used` is remembered from now on."""

    remembered: RootOptions
    used: RootOptions
    stored: bool


@dataclass(frozen=True, slots=True)
class Scanning:
    """The walk is under way; `found`: files so far."""

    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlanned:
    """The walk is done: how many files (and bytes) will be read, and how many are known."""

    found: int
    to_read: int
    bytes_to_read: int
    unchanged: int
    vanished: int
    unmatched_globs: tuple[str, ...] = ()  # of `exclude` and `include`: they matched no name


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDone:
    """One file, its size in bytes and its status; the `id` of its point, or the `reason` why it
    has none. `accepted`: it is in quarantine, and a person has accepted that."""

    path: str
    status: Status
    bytes: int
    id: str | None = None
    reason: str | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVanished:
    """A remembered picture that is not there, and did not move: known at the end of a run. Its
    point stays."""

    path: str
    id: str
    since: str  # when a run first missed it: ISO 8601, UTC
    is_new: bool  # in this very run


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRenamed:
    """A remembered root is gone, and a folder that is ingested for the first time holds `files`
    of its pictures, at the same places below: most likely it was renamed."""

    old: str
    new: str
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """Files that this run does not read, in one event: there may be millions of them."""

    source: str
    unchanged: Collection[FileRecord] = ()
    deferred: Collection[FileRecord] = ()
    known_faults: Sequence[Row] = ()
    left_out: Sequence[bytes] = ()  # names that the walk policy excludes, a folder once

    def files(self) -> Iterator[FileDone]:
        """One FileDone for each file, for a caller that reports every file."""
        for record in self.unchanged:
            yield FileDone(
                path=display_path(record.path),
                status=Status.UNCHANGED,
                bytes=record.size,
                id=str(point_id(self.source, record.path)),
            )
        for record in self.deferred:
            yield FileDone(
                path=display_path(record.path), status=Status.DEFERRED, bytes=record.size
            )
        for row in self.known_faults:
            yield FileDone(
                path=display_path(row.path),
                status=Status(row.state),
                bytes=row.size,
                reason=row.reason,
            )


@dataclass(frozen=True, slots=True)
class Undescribed:
    """How many unchanged pictures were indexed by a version that did not read their keywords."""

    pictures: int


@dataclass(frozen=True, slots=True)
class FolderFault:
    """A folder that could not be listed, or a name in it that could not be examined."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class EmbeddingOn:
    """The provider that runs the vision tower, as the library reports it."""

    provider: str


@dataclass(frozen=True, slots=True)
class SlowFile:
    """A file that a worker has had in hand for 5 seconds or more; on which `node` of a cluster."""

    path: str
    seconds: float
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorLost:
    """An actor of a cluster died with so many files in hand: another one reads them again."""

    node: str
    files: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """What one node of a cluster has done in this run, and has in hand now."""

    pictures: int = 0  # written
    deaths: int = 0  # of actors
    slices: int = 0  # in hand
    actors: int = 0  # ready to work


@dataclass(frozen=True, slots=True)
class NodesSeen:
    """How the nodes of a cluster are doing, by name; now and then, and at the end."""

    nodes: dict[str, NodeState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did. `found` is the sum of the eight statuses, `new` to `deferred`."""

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
    vanished: int = 0  # remembered pictures that are not there; their points stay
    newly_vanished: int = 0  # of these, those that the run before did not miss
    vanished_notes: int = 0  # remembered files without a point (quarantined, skipped), not there
    pruned: int = 0  # files whose points and rows were deleted with --prune
    accepted: int = 0  # of the quarantined: known, and no longer reported
    unreadable: int = 0  # files and folders that could not be read at all
    points: int = 0
    embedded: int = 0
    by_preview: int | None = None  # of these; None: the preprocessing looks at no previews
    written: int = 0
    seconds: float = 0.0
    pictures_per_second: float = 0.0
    model: str = ""
    provider: str = ""  # what ran the vision tower; empty where no picture was embedded
    store: str = ""
    collection: str = ""
    exit_code: int = 0
    quarantine_reasons: dict[str, int] = field(default_factory=dict)  # group -> files
    skip_reasons: dict[str, int] = field(default_factory=dict)
    standing: dict[str, int] = field(default_factory=dict)  # question -> new hits
    nodes: dict[str, int] = field(default_factory=dict)  # of a Ray cluster -> pictures written
    deaths: dict[str, int] = field(default_factory=dict)  # of actors, by node

    def needs_attention(self, *, fail_on_vanished: bool) -> bool:
        """Whether the run ends with exit code 3."""
        vanished = fail_on_vanished and self.vanished
        return bool(self.newly_quarantined or self.unreadable or vanished)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCollectionFed:
    """The collection of the `model` before the last switch got the same pictures, so that going
    back to it loses nothing; `lacking` of them could not be embedded with it, or not yet."""

    model: str
    embedded: int
    lacking: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run that was not interrupted."""

    summary: Summary


Event = (
    RunStarted
    | PointsMissing
    | RootOptionsUsed
    | Scanning
    | RunPlanned
    | Untouched
    | FileDone
    | FileVanished
    | RootRenamed
    | Undescribed
    | FolderFault
    | EmbeddingOn
    | SlowFile
    | ActorLost
    | NodesSeen
    | BatchVerified
    | StandingHit
    | QuestionUnasked
    | OldCollectionFed
    | RunFinished
)
