"""Options of a run. Light: the command line imports this module at every start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clipindex.errors import UsageError
from clipindex.model.providers import Provider

BATCH_SIZE = 25


class Redecode(StrEnum):
    """Which pictures a run decodes again, although they are unchanged."""

    PREVIEWS = "previews"  # those whose previews stand for them: now in full


NEVER_FEWER = 25  # files of a root that may leave the index at once, whatever the percentage


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """An ingest on a Ray cluster. Raises UsageError for a value that is out of range."""

    address: str | None = None  # None: RAY_ADDRESS, else a cluster of this machine's cores
    cpus_per_actor: int = 1  # cores that each reserves, and threads that it reads with
    gpus_per_actor: float = 0.0  # a fraction: actors share a GPU
    provider: Provider = Provider.AUTO  # of their towers

    def __post_init__(self) -> None:
        if self.cpus_per_actor < 1:
            raise UsageError(f"an actor needs a core, not {self.cpus_per_actor}")
        gpus = self.gpus_per_actor
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(
                f"gpus_per_actor must be 0, a part of a GPU or a whole number, not {gpus}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How a run proceeds; but for `redecode`, nothing here changes a vector.

    Raises UsageError for a value that is out of range.
    """

    batch_size: int = BATCH_SIZE  # points written, flushed and verified together
    limit: int | None = None  # files to read; the others are deferred
    workers: int | None = None  # None: one per usable core; on Ray: actors that have room
    max_seconds: float | None = None  # then the run ends; files not read are deferred
    compact: bool = True  # afterwards, an embedded collection of which more than half is waste
    reread: bool = False  # also pictures that were indexed without their keywords
    redecode: Redecode | None = None
    fail_on_vanished: bool = False  # exit code 3 while a remembered picture is not there
    ray: RayOptions | None = None  # actors of a cluster in place of threads

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("limit", 0), ("workers", 1), ("max_seconds", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """What a prune removes, and how many pictures of each root may leave the index at once.

    Raises UsageError for a value that is out of range.
    """

    excluded: bool = False  # also what the roots' policies exclude by now
    max_percent: float = 10.0  # of a root's remembered pictures, and never fewer than 25
    max_files: int | None = None  # exactly so many of each root; None: `max_percent`

    def __post_init__(self) -> None:
        if not 0 <= self.max_percent <= 100:
            raise UsageError(f"max_percent must be 0 to 100, not {self.max_percent}")
        if self.max_files is not None and self.max_files < 0:
            raise UsageError(f"max_files must be at least 0, not {self.max_files}")

    def most(self, remembered: int) -> int:
        """How many of a root's `remembered` pictures may go."""
        if self.max_files is not None:
            return self.max_files
        return max(NEVER_FEWER, int(remembered * self.max_percent / 100))
