"""`--dry-run`: what an ingest would do. By names and times; by content where that is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Catalogue
from clipindex.errors import FileFault
from clipindex.files.access import exists
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path
from clipindex.ingest.events import FolderFault, Scanning, Status
from clipindex.ingest.plan import defer, quarantined
from clipindex.ingest.survey import Scope, Survey, survey
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import decoders


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be done. `by_content` counts the files to read by their digest; None where
    only names and times were looked at, and no file was opened."""

    found: int
    unchanged: int
    to_read: int
    bytes_to_read: int
    deferred: int
    quarantined: int
    skipped: int
    vanished: int
    left_out: int
    faults: list[str] = field(default_factory=list)
    by_content: dict[str, int] | None = None


def dry_run(
    scope: Scope, catalogue: Catalogue | None, limit: int | None, *, checksum: bool
) -> DryRun:
    """Survey a scope against a catalogue (None: nothing is remembered); nothing is written."""
    walk = survey(
        scope,
        catalogue.in_folder if catalogue else lambda _: {},
        catalogue.indexed_by_folder() if catalogue else {},
        decoders(),
    )
    found = _outcome(walk)
    plan = found.plan
    deferred, known_quarantine = defer(plan, limit), quarantined(plan)
    return DryRun(
        found.found,
        len(plan.unchanged),
        len(plan.to_read),
        sum(record.size for record in plan.to_read),
        len(deferred),
        known_quarantine,
        len(plan.known_faults) - known_quarantine,
        len(plan.vanished),
        len(found.left_out),
        [f"{display_path(path)}: {reason}" for path, reason in found.faults],
        _by_content(plan.to_read, catalogue, plan.vanished) if checksum else None,
    )


def _by_content(
    records: Sequence[FileRecord], catalogue: Catalogue | None, vanished: set[bytes]
) -> dict[str, int]:
    """Read and hash each file, and tell what an ingest would call it; none is decoded."""
    tally: Counter[str] = Counter()
    seen: set[bytes] = set()
    gone = {path for path in vanished if not exists(path)}
    for record in records:
        try:
            sha256 = read_content(record.path).sha256
        except FileFault as fault:
            tally[Status.SKIPPED if fault.skipped else Status.QUARANTINED] += 1
            continue
        before = catalogue.get(record.path) if catalogue else None
        copies = catalogue.with_content(sha256) if catalogue else []
        known = [row.path for row in copies if row.state == INDEXED]
        if before is not None and before.state == INDEXED:
            tally[Status.UNCHANGED if before.sha256 == sha256 else Status.CHANGED] += 1
        elif old := next((path for path in known if path in gone), None):
            gone.discard(old)
            tally[Status.MOVED] += 1
        else:
            tally[Status.DUPLICATE if known or sha256 in seen else Status.NEW] += 1
        seen.add(sha256)
    return {str(status): count for status, count in sorted(tally.items())}


def _outcome(walk: Generator[Scanning | FolderFault, None, Survey]) -> Survey:
    """Run a survey to its end, without a listener for its progress."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            survey_done: Survey = end.value
            return survey_done
