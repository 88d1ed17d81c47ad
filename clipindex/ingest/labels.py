"""Pure: which status a file has. Rows and outcomes in, labels out; nothing is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.files.identity import is_below
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


def conclusive(rows: Iterable[Row], decoders: str) -> list[Row]:
    """The rows that decide what becomes of their content: indexed, or refused by these decoders."""
    return [
        row
        for row in rows
        if row.state == INDEXED
        or (row.state == QUARANTINED and not row.transient and row.decoders == decoders)
    ]


class Labels:
    """Gives each file of a run its label.

    It remembers what the run has changed so far: the digests it wrote over, so that counts do not
    depend on the order of the files, and the old paths of moves: an old path serves one move only.
    """

    def __init__(
        self,
        vanished: Set[bytes],
        whole_roots: Sequence[bytes],
        is_gone: Callable[[bytes], bool],
    ) -> None:
        """`vanished`: indexed paths that the walk did not meet; `whole_roots`: roots walked to
        their end without error; `is_gone` looks whether a path exists."""
        self._vanished = vanished
        self._whole_roots = whole_roots
        self._is_gone = is_gone
        self._replaced: set[bytes] = set()
        self._moved: set[bytes] = set()

    def label(
        self, sha256: bytes, *, before: Row | None, copies: Iterable[Row], known: bool
    ) -> Label:
        """The label of a picture with this content.

        `before` is the row of its path, `copies` are the rows of its content; `known`: the
        content was met before, so that its vector need not be computed.
        """
        if before is not None and before.state == INDEXED:
            if before.sha256 == sha256:
                return Label(Status.UNCHANGED)
            if before.sha256 is not None:
                self._replaced.add(before.sha256)
            return Label(Status.CHANGED)
        if not known and sha256 not in self._replaced:
            return Label(Status.NEW)
        moved_from = self._find_moved(copies)
        return Label(Status.DUPLICATE if moved_from is None else Status.MOVED, moved_from)

    def _find_moved(self, copies: Iterable[Row]) -> bytes | None:
        """An old path of the content that is surely gone: below a root walked to its end."""
        for row in copies:
            old = row.path
            if (
                row.state == INDEXED
                and old not in self._moved
                and old in self._vanished
                and any(is_below(old, root) for root in self._whole_roots)
                and self._is_gone(old)
            ):
                self._moved.add(old)
                return old
        return None

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
