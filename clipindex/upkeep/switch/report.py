"""What a switch to another model did, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clipindex.errors import UsageError
from clipindex.pictures.preprocessing import Preprocessing

FILLING, SWITCHED, BACK = "filling", "switched", "back"

Progress = Callable[[int, int], object]  # called with the points done, and with their total


def no_progress(_done: int, _total: int) -> None:
    """Default progress callback: does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchOptions:
    """How a switch proceeds. Raises UsageError for a value that is out of range."""

    preprocessing: Preprocessing | None = None  # None: that of the live collection
    max_seconds: float | None = None  # then the filling ends; the same call goes on
    leave_out: bool = False  # switch although some pictures cannot be embedded any more
    cores: int = 1  # threads that read and embed

    def __post_init__(self) -> None:
        if self.max_seconds is not None and self.max_seconds < 0:
            raise UsageError(f"max_seconds must be at least 0, not {self.max_seconds}")
        if self.cores < 1:
            raise UsageError(f"cores must be at least 1, not {self.cores}")


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A picture of the live collection that the other one lacks, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RootCount:
    """Pictures below a remembered root, in both collections; an empty `root`: elsewhere."""

    root: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """What a call did. `state`: `filling` (not switched yet), `switched`, or `back`."""

    state: str
    collection: str
    model: str  # of the collection that was filled, or is live now
    preprocessing: str
    before: str  # the model of the other one
    preprocessing_before: str
    pictures: int  # that the collection has which was filled
    of: int  # that the other one has
    embedded: int  # contents, in this call
    seconds: float
    roots: list[RootCount] = field(default_factory=list)
    missing: list[Unembedded] = field(default_factory=list)
