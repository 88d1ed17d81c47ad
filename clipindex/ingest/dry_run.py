"""`--dry-run`: what an ingest would do, judged by names and times, or by content on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Sized
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, Catalogue
from clipindex.errors import FileFault
from clipindex.files.access import is_gone
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path
from clipindex.ingest.events import Status
from clipindex.ingest.labels import Labels
from clipindex.ingest.moves import Decided, Moves
from clipindex.ingest.outcomes import Known
from clipindex.ingest.plan import defer, quarantined
from clipindex.ingest.remembered import with_memory
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey, surveyed
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
    unmatched_globs: list[str] = field(default_factory=list)  # they matched no name
    by_content: dict[str, int] | None = None


def dry_run(
    scope: Scope, catalogue: Catalogue | None, limit: int | None, *, checksum: bool
) -> DryRun:
    """Compare a scope with a catalogue (None: nothing is remembered); writes nothing.

    With `checksum` each file to read is read and hashed, none is decoded. Raises UsageError and
    DiskNotMounted as an ingest would.
    """
    if catalogue is not None:
        scope, _ = with_memory(scope, catalogue.roots())
    files = surveyed(scope, catalogue)
    plan = files.plan
    deferred = defer(plan, limit)
    known_quarantine = quarantined(plan)
    return DryRun(
        found=files.found,
        unchanged=len(plan.unchanged),
        to_read=len(plan.to_read),
        bytes_to_read=plan.to_read.size,
        deferred=len(deferred),
        quarantined=known_quarantine,
        skipped=len(plan.known_faults) - known_quarantine,
        vanished=len(plan.vanished),
        left_out=len(files.left_out),
        faults=[f"{display_path(path)}: {reason}" for path, reason in files.faults],
        unmatched_globs=sorted(files.unmatched_globs),
        by_content=_by_content(plan.to_read, catalogue, files) if checksum else None,
    )


def _by_content(
    records: Sized[FileRecord], catalogue: Catalogue | None, files: Survey
) -> dict[str, int]:
    """Read and hash each file and count the statuses that an ingest would give."""
    tally: Counter[Status] = Counter()
    labels, seen = Labels(), _Seen(catalogue)
    moves = Moves(files.absent, records, is_gone)
    for record in records:
        try:
            sha256 = read_content(record.path).sha256
        except FileFault as fault:
            tally[Status.SKIPPED if fault.skipped else Status.QUARANTINED] += 1
        else:
            before = catalogue.get(record.path) if catalogue else None
            is_indexed = before is not None and before.state == INDEXED
            if moves.concern(sha256) and not is_indexed:
                moves.hold(Known(record, sha256))
            elif seen.is_refused(sha256):
                tally[Status.QUARANTINED] += 1  # as its copies are
            else:
                known = seen.is_known(sha256)
                tally[labels.label(sha256, before=before, known=known).status] += 1
        for decided in moves.read(record.path):
            tally[_status_of(decided)] += 1
    for decided in moves.rest():
        tally[_status_of(decided)] += 1
    return {str(status): count for status, count in sorted(tally.items())}


def _status_of(decided: Decided) -> Status:
    return Status.DUPLICATE if decided.moved_from is None else Status.MOVED


class _Seen:
    """Contents that the catalogue knows, and those met so far."""

    def __init__(self, catalogue: Catalogue | None) -> None:
        self._catalogue = catalogue
        self._met: set[bytes] = set()

    def is_known(self, sha256: bytes) -> bool:
        """Whether a content is indexed, or was asked for before."""
        if sha256 in self._met:
            return True
        self._met.add(sha256)
        return self._is_indexed(sha256)

    def is_refused(self, sha256: bytes) -> bool:
        """Whether these decoders refused a content."""
        return (
            self._catalogue is not None
            and self._catalogue.refusal(sha256, decoders()) is not None
            and not self._is_indexed(sha256)
        )

    def _is_indexed(self, sha256: bytes) -> bool:
        return self._catalogue is not None and bool(self._catalogue.indexed_copies(sha256, 1))
