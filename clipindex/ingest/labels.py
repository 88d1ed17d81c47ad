"""Pure: which status a file has. Rows and outcomes in, labels out; nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.collection.marks import QuarantineMark
from clipindex.files.file_system import FileRecord
from clipindex.ingest.events import Status
from clipindex.ingest.outcomes import Faulty


@dataclass(frozen=True, slots=True)
class Label:
    """The status of a picture; `moved_from` is the old path whose point is to be deleted."""

    status: Status
    moved_from: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The status of a file that cannot be indexed, and the note to write for it."""

    status: Status
    note: Row | None  # None: the row that is there stays, or none is made
    is_new: bool  # quarantined, and not noted so for this very file before
    is_unreadable: bool  # a permission or I/O error


def is_accepted(marks: Mapping[bytes, QuarantineMark], file: FileRecord | Row) -> bool:
    """Whether a person has accepted that this file is in quarantine, and it is what it was."""
    mark = marks.get(file.path)
    return (
        mark is not None
        and mark.accepted
        and (mark.size, mark.mtime_ns) == (file.size, file.mtime_ns)
    )


class Labels:
    """Gives each file of a run its label.

    It remembers the digests that the run has written over, so that counts do not depend on the
    order of the files.
    """

    def __init__(self) -> None:
        self._replaced: set[bytes] = set()

    def label(
        self, sha256: bytes, *, before: Row | None, known: bool, moved_from: bytes | None = None
    ) -> Label:
        """The label of a picture with this content.

        `before` is the row of its path; `known`: the content was met before, so that its vector
        need not be computed; `moved_from` is the old path whose place it takes.
        """
        if before is not None and before.state == INDEXED:
            if before.sha256 == sha256:
                return Label(Status.UNCHANGED)
            if before.sha256 is not None:
                self._replaced.add(before.sha256)
            return Label(Status.CHANGED)
        if moved_from is not None:
            return Label(Status.MOVED, moved_from)
        is_copy = known or sha256 in self._replaced
        return Label(Status.DUPLICATE if is_copy else Status.NEW)

    def refuse(self, outcome: Faulty, before: Row | None, decoders: str) -> Refusal:
        """The label of a file that cannot be indexed. Its old point, if it has one, stays.

        No note is made of a file that was deleted before it was read. After a permission or I/O
        error an indexed file keeps its row: most likely its content is what it was.
        """
        record, fault = outcome.record, outcome.fault
        state = SKIPPED if fault.skipped else QUARANTINED
        was_indexed = before is not None and before.state == INDEXED
        keeps_old_row = fault.transient and (fault.skipped or was_indexed)
        if was_indexed and not keeps_old_row and before is not None and before.sha256 is not None:
            self._replaced.add(before.sha256)
        note = Row(
            path=record.path,
            size=record.size,
            mtime_ns=record.mtime_ns,
            ctime_ns=record.ctime_ns,
            sha256=outcome.sha256,
            state=state,
            reason=fault.reason,
            decoders=decoders,
            transient=fault.transient,
        )
        known = before is not None and before.state == state and before.agrees_with(record)
        return Refusal(
            status=Status(state),
            note=None if keeps_old_row or note == before else note,
            is_new=state == QUARANTINED and not known,
            is_unreadable=state == QUARANTINED and fault.transient,
        )
