"""An event of a run, as one line of text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from clipindex.cli.words import count_of
from clipindex.ingest.events import (
    EmbeddingOn,
    Event,
    FileDone,
    FileVanished,
    FolderFault,
    PointsMissing,
    RootRenamed,
    RunFinished,
    RunPlanned,
    RunStarted,
    SlowFile,
    Status,
    Summary,
)
from clipindex.stores.verified import BatchVerified


def log_line(event: Event) -> str | None:
    """An event as a line of the log; None for those that would only fill it."""
    match event:
        case RunStarted():
            return started_line(event)
        case PointsMissing():
            return missing_line(event)
        case RunPlanned():
            return planned_line(event)
        case FileDone():
            return file_line(event)
        case FileVanished():
            return f"not found: {event.path} (since {event.since}); its point stays"
        case RootRenamed():
            return renamed_line(event)
        case FolderFault():
            return f"could not be read: {event.path}: {event.reason}"
        case BatchVerified():
            return f"batch of {event.points} verified"
        case EmbeddingOn():
            return embedding_line(event)
        case SlowFile():
            return f"still reading {event.path} after {event.seconds:.0f} s"
        case RunFinished():
            return f"finished: {totals(event.summary)}"
        case _:
            return None


def started_line(event: RunStarted) -> str:
    return (
        f"model {event.model}, preprocessing {event.preprocessing}, "
        f"into {event.store} ({event.collection})"
    )


def missing_line(event: PointsMissing) -> str:
    verb = "is" if event.pictures == 1 else "are"
    return (
        f"{event.pictures:,} of {count_of(event.remembered, 'remembered picture')} {verb} gone "
        "from the collection; what this run finds of them is embedded again"
    )


def embedding_line(event: EmbeddingOn) -> str:
    return f"embedding on {event.provider}"


def planned_line(plan: RunPlanned) -> str:
    size = f" ({plan.bytes_to_read / 1e6:,.1f} MB)" if plan.to_read else ""
    return (
        f"{count_of(plan.found, 'file')} found, {plan.unchanged:,} unchanged, "
        f"{plan.to_read:,} to read{size}"
    )


def renamed_line(event: RootRenamed) -> str:
    return (
        f"{event.old} is gone, and {event.new} holds {count_of(event.files, 'picture')} of it: "
        f"if you renamed the folder, `clipindex relocate {shlex.quote(event.old)} "
        f"{shlex.quote(event.new)}` takes tags along and drops the old paths"
    )


def vanished_line(paths: Sequence[str], count: int, deferred: int) -> str:
    """What vanished since the last run; `paths` are the first few of `count`."""
    names = ", ".join(paths) + (f" and {count - len(paths):,} more" if count > len(paths) else "")
    among = " (unless they are among the deferred files)" if deferred else ""
    return f"{count_of(count, 'remembered picture')} not found any more{among}: {names}"


def file_line(file: FileDone) -> str:
    return f"{file.status.value}: {file.path}" + (f": {file.reason}" if file.reason else "")


def totals(summary: Summary) -> str:
    """Every count that is not zero."""
    counts = {status.value: getattr(summary, status.value) for status in Status}
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    absent = f"; {summary.vanished:,} remembered but not found" if summary.vanished else ""
    pruned = f"; {summary.pruned:,} pruned" if summary.pruned else ""
    return (
        f"{summary.found:,} found: {said or 'nothing'}{absent}{pruned}; "
        f"exit code {summary.exit_code}"
    )
