"""Options of a run. Light: the command line imports this module at every start."""

from __future__ import annotations

from dataclasses import dataclass

from clipindex.errors import UsageError

BATCH_SIZE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How a run proceeds; nothing here changes a vector.

    Raises UsageError for a value that is out of range.
    """

    batch_size: int = BATCH_SIZE  # points written, flushed and verified together
    limit: int | None = None  # files to read; the others are deferred
    workers: int | None = None  # None: one per usable core
    max_seconds: float | None = None  # then the run ends; files not read are deferred
    compact: bool = True  # afterwards, an embedded collection of which more than half is waste

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("limit", 0), ("workers", 1), ("max_seconds", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
