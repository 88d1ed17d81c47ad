"""How a run is carried out. Light: the command line imports it before any option is read."""

from __future__ import annotations

from dataclasses import dataclass

from clipindex.errors import UsageError

BATCH_SIZE = 25


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to go about a run; nothing here changes a vector."""

    batch_size: int = BATCH_SIZE  # points written, made durable and read back together
    limit: int | None = None  # files newly read; the rest is deferred
    workers: int | None = None  # None: one for each usable core
    max_seconds: float | None = None  # then it stops between batches; the rest is deferred

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.limit or 0) < 0 or (self.workers or 1) < 1:
            raise UsageError(f"no run can be made with {self}")
