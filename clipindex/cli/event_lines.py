"""An event of a run, as one line of text."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from clipindex.cli.words import count_of, totals_of
from clipindex.ingest.events import (
    ActorLost,
    EmbeddingOn,
    Event,
    FileDone,
    FileVanished,
    FolderFault,
    OldCollectionFed,
    PointsMissing,
    RootOptionsUsed,
    RootRenamed,
    RunFinished,
    RunPlanned,
    RunStarted,
    SlowFile,
    Summary,
    Undescribed,
)
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.standing.asking import QuestionUnasked, StandingHit


def log_line(event: Event) -> str | None:
    """An event as a line of the log; None for those that would only fill it."""
    line = _LINES.get(type(event))
    return None if line is None else line(event)


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


def options_line(event: RootOptionsUsed) -> str:
    remembered, used = str(event.remembered) or "none", str(event.used) or "none"
    path = event.used.path
    if remembered == used:
        return f"options of {path}: {used}, as remembered"
    if event.stored:
        return f"options of {path}: remembered before: {remembered}; from now on: {used}"
    return f"options of {path}: remembered: {remembered}; this run: {used}; --remember stores them"


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


def undescribed_line(event: Undescribed) -> str:
    verb, owner = ("was", "its") if event.pictures == 1 else ("were", "their")
    return (
        f"{count_of(event.pictures, 'picture')} {verb} indexed by an earlier version, without "
        f"{owner} keywords, captions and ratings; `clipindex reindex --reread` reads them once"
    )


def fed_line(event: OldCollectionFed) -> str:
    lacking = f"; it lacks {event.lacking:,}" if event.lacking else ""
    return (
        f"{count_of(event.embedded, 'picture')} embedded for the old collection of {event.model}, "
        f"too{lacking}; `clipindex switch-model --drop-old` ends this"
    )


def standing_line(event: StandingHit) -> str:
    z = "" if event.z is None else f", z {event.z:.1f}"
    tagged = f"; tagged {event.tag}" if event.tag else ""
    return f"'{event.question}' found {event.path} (score {event.score:.4f}{z}){tagged}"


def lost_line(event: ActorLost) -> str:
    return (
        f"an actor on node {event.node} died; {count_of(event.files, 'file')} it had in hand: "
        "read again"
    )


def slow_line(event: SlowFile) -> str:
    where = f" on node {event.node}" if event.node else ""
    return f"still reading {event.path} after {event.seconds:.0f} s{where}"


def unasked_line(event: QuestionUnasked) -> str:
    return f"the standing question '{event.question}' waits for the next run: {event.reason}"


def note_line(event: Event) -> str | None:
    """What a person should know although nothing is wrong; None: this is no such event."""
    match event:
        case RootRenamed():
            return renamed_line(event)
        case RootOptionsUsed():
            return options_line(event)
        case Undescribed():
            return undescribed_line(event)
        case OldCollectionFed() if event.embedded or event.lacking:
            return fed_line(event)
        case QuestionUnasked():
            return unasked_line(event)
        case ActorLost():
            return lost_line(event)
    return None


def vanished_line(paths: Sequence[str], count: int, deferred: int) -> str:
    """What vanished since the last run; `paths` are the first few of `count`."""
    names = ", ".join(paths) + (f" and {count - len(paths):,} more" if count > len(paths) else "")
    among = " (unless they are among the deferred files)" if deferred else ""
    return f"{count_of(count, 'remembered picture')} not found any more{among}: {names}"


def file_line(file: FileDone) -> str:
    return f"{file.status.value}: {file.path}" + (f": {file.reason}" if file.reason else "")


def totals(summary: Summary) -> str:
    """Every count that is not zero, and the exit code."""
    return f"{totals_of(asdict(summary))}; exit code {summary.exit_code}"


_LINES: dict[type[Event], Callable[[Any], str]] = {
    RunStarted: started_line,
    RootOptionsUsed: options_line,
    PointsMissing: missing_line,
    RunPlanned: planned_line,
    FileDone: file_line,
    FileVanished: lambda event: f"not found: {event.path} (since {event.since}); its point stays",
    RootRenamed: renamed_line,
    FolderFault: lambda event: f"could not be read: {event.path}: {event.reason}",
    BatchVerified: lambda event: f"batch of {event.points} verified",
    EmbeddingOn: embedding_line,
    Undescribed: undescribed_line,
    OldCollectionFed: fed_line,
    StandingHit: standing_line,
    QuestionUnasked: unasked_line,
    ActorLost: lost_line,
    SlowFile: slow_line,
    RunFinished: lambda event: f"finished: {totals(event.summary)}",
}
