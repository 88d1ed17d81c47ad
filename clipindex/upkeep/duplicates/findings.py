"""What a search for duplicates is asked for, what it finds, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clipindex.errors import ExitCode

# Both are measured: `python -m benchmarks.duplicates`, figures in docs/duplicates.md.
LEAST_COSINE = 0.75  # between embeddings; below it two pictures are not looked at
MOST_DIFFERENT = 0.20  # share of a perceptual hash's bits, in the best alignment


class Step(StrEnum):
    """What a search is doing."""

    POINTS = "points"  # read from the collection
    COMPARISONS = "comparisons"  # of every embedding with every other
    PICTURES = "pictures"  # read, to be hashed


class Role(StrEnum):
    """What a file is in its group."""

    BEST = "best"  # the one to keep
    COPY = "copy"  # the same bytes as the best
    NEAR = "near"  # the same picture
    MIRRORED = "mirrored"  # the same picture, mirrored
    PAIR = "pair"  # the same shot as the best, beside it: a camera raw file's JPEG


class Unread(StrEnum):
    """Why a picture could not be compared."""

    AWAY = "away"  # deleted, or its disk is not mounted
    ELSEWHERE = "elsewhere"  # on another machine
    CHANGED = "changed"  # edited since it was indexed
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesOptions:
    """How duplicates are searched. `exact`: only files with the same bytes; no picture is opened.
    `min_score`: pictures whose embeddings have a lower cosine are not compared. `pairs`: a camera
    raw file and the JPEG beside it are one shot; neither is a duplicate of the other."""

    exact: bool = False
    mirrored: bool = False
    pairs: bool = False
    min_score: float = LEAST_COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateFile:
    """One file of a group. `score` is the cosine to the best one's embedding. `difference` is the
    share of bits in which the perceptual hashes differ, 0 to 1; None: one of them is not known."""

    path: str
    exact_path: bytes
    source: str
    id: str
    sha256: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    taken: str | None
    role: Role
    keep: bool  # its content was marked to be kept
    spare: bool  # it is on this machine, and neither the best nor to be kept
    score: float
    difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Files that show the same picture, the best first."""

    files: tuple[DuplicateFile, ...]

    @property
    def exact(self) -> bool:
        """Whether all of them have the same bytes."""
        return len({file.sha256 for file in self.files}) == 1


@dataclass(frozen=True, slots=True)
class DuplicatesProgress:
    """How far one step is."""

    step: Step
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCompared:
    """A picture that resembles another and could not be read."""

    path: str
    why: Unread
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesSummary:
    """How a search went. `candidates`: pairs of pictures that resemble each other; `min_score`:
    the cosine from which on they were compared, raised where there were too many."""

    collection: str
    files: int
    pictures: int  # different contents
    groups: int
    duplicates: int  # files of all groups, without the best of each
    spare: int  # of these, the files on this machine that are not to be kept
    spare_bytes: int
    candidates: int
    hashed: int  # pictures that were read by this call
    away: int
    elsewhere: int
    changed: int
    unreadable: int
    damaged_points: int
    verdicts: int  # that two pictures are different, which kept them apart here
    min_score: float
    mirrored: bool
    seconds: float

    @property
    def not_compared(self) -> int:
        """Pictures that resemble another and could not be read."""
        return self.away + self.elsewhere + self.changed + self.unreadable

    @property
    def exit_code(self) -> int:
        """3 when a file could not be read, else 0."""
        return ExitCode.ATTENTION if self.unreadable else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class DuplicatesFinished:
    """The end of a search."""

    summary: DuplicatesSummary


DuplicatesEvent = DuplicatesProgress | NotCompared | DuplicateGroup | DuplicatesFinished
