"""`--dry-run`: what an ingest would do, judged by names and times, or by content on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.errors import FileFault
from clipindex.files.access import is_gone
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path
from clipindex.ingest.events import Status
from clipindex.ingest.labels import Labels, conclusive
from clipindex.ingest.plan import defer, quarantined
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey, survey
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import decoders


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be done. `by_content`: status -> how many of the files to read; None when only
    names and times were compared and no file was opened."""

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
    """Compare a scope with a catalogue (None: nothing is remembered); writes nothing.

    With `checksum` each file to read is read and hashed, none is decoded. Raises UsageError and
    DiskNotMounted as an ingest would.
    """
    files = _surveyed(scope, catalogue)
    plan = files.plan
    deferred = defer(plan, limit)
    known_quarantine = quarantined(plan)
    return DryRun(
        found=files.found,
        unchanged=len(plan.unchanged),
        to_read=len(plan.to_read),
        bytes_to_read=sum(record.size for record in plan.to_read),
        deferred=len(deferred),
        quarantined=known_quarantine,
        skipped=len(plan.known_faults) - known_quarantine,
        vanished=len(plan.vanished),
        left_out=len(files.left_out),
        faults=[f"{display_path(path)}: {reason}" for path, reason in files.faults],
        by_content=_by_content(plan.to_read, catalogue, files) if checksum else None,
    )


def _surveyed(scope: Scope, catalogue: Catalogue | None) -> Survey:
    """Run a survey to its end; its events are not wanted."""
    steps = survey(
        scope,
        catalogue.in_folder if catalogue else lambda _: {},
        catalogue.indexed_by_folder() if catalogue else {},
        decoders(),
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Survey = end.value
            return result


def _by_content(
    records: Sequence[FileRecord], catalogue: Catalogue | None, files: Survey
) -> dict[str, int]:
    """Read and hash each file and count the statuses that an ingest would give."""
    tally: Counter[str] = Counter()
    labels = Labels(files.plan.vanished, files.whole_roots, is_gone)
    seen: set[bytes] = set()
    for record in records:
        try:
            sha256 = read_content(record.path).sha256
        except FileFault as fault:
            tally[Status.SKIPPED if fault.skipped else Status.QUARANTINED] += 1
            continue
        before = catalogue.get(record.path) if catalogue else None
        copies: list[Row] = catalogue.with_content(sha256) if catalogue else []
        rows = conclusive(copies, decoders())
        if rows and not any(row.state == INDEXED for row in rows):
            tally[Status.QUARANTINED] += 1  # as its copies are
            continue
        known = bool(rows) or sha256 in seen
        tally[labels.label(sha256, before=before, copies=copies, known=known).status] += 1
        seen.add(sha256)
    return {str(status): count for status, count in sorted(tally.items())}
