"""What a verification is asked for, what it finds, and how it went."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from clipindex.errors import ExitCode

REPAIR = "run `clipindex verify --repair`, then `clipindex reindex`, which embeds its file again"


class Kind(StrEnum):
    """What is wrong, or only different."""

    POINT = "point"  # its vector, its payload or its id is not valid
    CATALOGUE = "catalogue"  # points and catalogue disagree
    VECTOR = "vector"  # the picture's embedding is another one
    BIT_ROT = "bit-rot"  # other bytes under the same size and modification time
    UNREADABLE = "unreadable"
    CHANGED = "changed"  # edited since it was indexed
    MISSING = "missing"


WRONG = (Kind.POINT, Kind.CATALOGUE, Kind.VECTOR)
HINTS = {
    Kind.POINT: REPAIR,
    Kind.CATALOGUE: REPAIR,
    Kind.VECTOR: REPAIR,
    Kind.BIT_ROT: "look at the picture, and restore it from a backup; then check the disk",
    Kind.UNREADABLE: "check its permissions, and the disk that it lies on",
    Kind.CHANGED: "run `clipindex reindex`, which reads it again",
    Kind.MISSING: "is its disk mounted? Otherwise it was deleted or moved: run `clipindex reindex`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One point, row or file that is not as it should be, and what to do about it."""

    kind: Kind
    path: str  # empty where nothing says whose point it is
    id: str
    reason: str
    hint: str


def finding(kind: Kind, path: str, point: uuid.UUID, reason: str) -> Finding:
    """A finding with the hint of its kind."""
    return Finding(kind=kind, path=path, id=str(point), reason=reason, hint=HINTS[kind])


@dataclass(frozen=True, slots=True)
class Sample:
    """Part `number` of `of`. The parts are equal ranges of the points' ids, which are hashes of
    source and path: `of` parts cover every point once, and a point stays in its part."""

    number: int = 1
    of: int = 1

    def takes(self, point: uuid.UUID) -> bool:
        """Whether a point belongs to this part."""
        return point.int * self.of >> 128 == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How much is verified. `embed` includes `files`: the bytes must be those that were indexed."""

    files: bool = False
    embed: bool = False
    sample: Sample = Sample()
    max_seconds: float | None = None
    repair: bool = False
    restart: bool = False  # forget where an unfinished verification stopped

    @property
    def mode(self) -> str:
        """What a verification that goes on must have in common with the one before."""
        depth = "embed" if self.embed else "files" if self.files else "points"
        return f"{depth} {self.sample}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyStarted:
    """What is about to be checked."""

    points: int  # of the sample
    checked_before: int  # of these, by an earlier call that did not finish
    since: str  # when that one began; empty where there is none
    rule: str  # how embeddings are compared; empty where they are not
    note: str  # why points and catalogue are not compared; empty where they are


@dataclass(frozen=True, slots=True)
class VerifyProgress:
    """How many points of the sample are done, those of earlier calls among them."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a verification went. Counts are those of this call."""

    collection: str
    sample: str
    points: int = 0  # of the sample
    checked: int = 0
    checked_before: int = 0  # by earlier calls, which stopped before the end
    left: int = 0  # for the next call
    wrong_points: int = 0
    wrong_rows: int = 0
    wrong_vectors: int = 0
    bit_rot: int = 0
    changed: int = 0
    missing: int = 0
    unreadable: int = 0
    files_read: int = 0
    bytes_read: int = 0
    embedded: int = 0
    bit_equal: int = 0  # of `embedded`
    rule: str = ""
    repaired: int = 0
    seconds: float = 0.0

    @property
    def wrong(self) -> int:
        """Everything that no edit or deletion explains."""
        return self.wrong_points + self.wrong_rows + self.wrong_vectors + self.bit_rot

    @property
    def exit_code(self) -> int:
        """7 when anything is wrong, 3 when a file could not be read, else 0."""
        if self.wrong:
            return ExitCode.VERIFICATION
        return ExitCode.ATTENTION if self.unreadable else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class VerifyFinished:
    """The end of a verification."""

    result: Verification


VerifyEvent = VerifyStarted | VerifyProgress | Finding | VerifyFinished


def with_counts(result: Verification, kinds: Counter[Kind]) -> Verification:
    """The result with the numbers of findings."""
    return replace(
        result,
        wrong_points=kinds[Kind.POINT],
        wrong_rows=kinds[Kind.CATALOGUE],
        wrong_vectors=kinds[Kind.VECTOR],
        bit_rot=kinds[Kind.BIT_ROT],
        changed=kinds[Kind.CHANGED],
        missing=kinds[Kind.MISSING],
        unreadable=kinds[Kind.UNREADABLE],
    )
