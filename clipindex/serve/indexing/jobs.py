"""Jobs: files that are to be indexed, as they are kept on the disk and told to their senders."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from clipindex.files.identity import display_path

# An id that a sender may give: the name of a file on every system, and in no hidden folder.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,118}[A-Za-z0-9_-])?")


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    QUARANTINED = "quarantined"  # the file is kept, but is no picture that can be read
    FAILED = "failed"  # there is no such file, or it is not a picture


ENDED = frozenset({State.DONE, State.QUARANTINED, State.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A file that is to be indexed with its tags. Times are ISO 8601, UTC."""

    id: str
    created: str
    number: int = 0  # in their order, since clocks may be put back
    path: str  # as os.fsdecode has it
    part: str = ""  # whose job it is: the name of a part of the index; empty for all of it
    name: str | None = None  # the id that its sender gave the picture
    tags: dict[str, str] = field(default_factory=dict)
    sha256: str | None = None  # of the bytes that were sent; None: the file was there before
    state: State = State.QUEUED
    point: str | None = None  # the id under which it is indexed
    status: str | None = None  # what the ingest did with it: new, duplicate, unchanged, ...
    reason: str | None = None  # why it failed, or why it waits
    ended: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether there is no more to do."""
        return self.state in ENDED

    def record(self) -> dict[str, Any]:
        """As it is kept. A job that runs is kept as one that waits: after a crash it is."""
        return {**asdict(self), "state": str(self.state if self.has_ended else State.QUEUED)}

    def shown(self) -> dict[str, Any]:
        """As its sender is told of it."""
        return {
            "job": self.id,
            "state": str(self.state),
            "id": self.name,
            "path": display_path(os.fsencode(self.path)),
            "tags": self.tags,
            "point": self.point,
            "status": self.status,
            "reason": self.reason,
            "created": self.created,
            "ended": self.ended,
        }


def job_from(record: dict[str, Any]) -> Job:
    """The inverse of `Job.record`. Raises TypeError, ValueError or KeyError for what is none."""
    return Job(**{**record, "state": State(record["state"])})
