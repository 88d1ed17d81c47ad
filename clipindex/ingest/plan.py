"""Pure: what to do with each file of a folder, by what the walk saw and what is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from clipindex.collection.catalogue import INDEXED, QUARANTINED, Row
from clipindex.files.file_list import FileList
from clipindex.files.file_system import FileRecord
from clipindex.stores.described import VERSION


@dataclass(slots=True)
class Plan:
    """Every file in exactly one of `to_read`, `unchanged`, `known_faults`."""

    to_read: FileList = field(default_factory=FileList)
    unchanged: FileList = field(default_factory=FileList)
    known_faults: list[Row] = field(default_factory=list)  # quarantined or skipped, untouched
    redescribed: list[FileRecord] = field(default_factory=list)  # unchanged, their sidecars are not
    undescribed: int = 0  # unchanged, and indexed by a version that read no keywords
    refreshed: list[Row] = field(default_factory=list)  # unchanged rows with the ctime they lacked
    vanished: dict[bytes, Row] = field(default_factory=dict)  # indexed before, not found now
    vanished_notes: dict[bytes, Row] = field(default_factory=dict)  # refused before, not found now


def plan_folder(
    plan: Plan,
    files: Sequence[FileRecord],
    remembered: Mapping[bytes, Row],
    decoders: str,
    *,
    stamps: Mapping[bytes, str] | None = None,
    reread: bool = False,
    again: Set[bytes] = frozenset(),
) -> list[FileRecord]:
    """Sort one folder's files into `plan`. Returns those whose descriptions are to be read.

    A note of quarantine or skip stands while the file and the `decoders` are the same; after a
    permission or I/O error the file is read again in every run. `stamps` are those of
    pictures' sidecars (None: they are not known, and count as unchanged). With `reread` pictures
    are read again that an earlier version indexed without their keywords; those in `again` are
    read whatever is remembered.
    """
    met, to_read, unchanged, redescribed = 0, list[FileRecord](), list[FileRecord](), []
    for record in files:
        row = remembered.get(record.path)
        met += row is not None
        is_read = row is not None and not (reread and row.described < VERSION)
        is_read = is_read and record.path not in again
        if row is None or not row.agrees_with(record):
            to_read.append(record)
        elif row.state == INDEXED and is_read:
            unchanged.append(record)
            plan.undescribed += row.described < VERSION
            if row.ctime_ns is None:
                plan.refreshed.append(row._replace(ctime_ns=record.ctime_ns))
            if stamps is not None and row.sidecars != stamps.get(record.path):
                redescribed.append(record)
        elif row.state == INDEXED or row.transient or row.decoders != decoders:
            to_read.append(record)
        else:
            plan.known_faults.append(row)
    plan.to_read.add(to_read)
    plan.unchanged.add(unchanged)
    plan.redescribed += redescribed
    if met < len(remembered):
        paths = {record.path for record in files}
        add_vanished(plan, (row for path, row in remembered.items() if path not in paths))
    return to_read + redescribed


def add_vanished(plan: Plan, rows: Iterable[Row]) -> None:
    """Add the rows of files that are not there."""
    for row in rows:
        vanished = plan.vanished if row.state == INDEXED else plan.vanished_notes
        vanished[row.path] = row


def defer(plan: Plan, limit: int | None) -> FileList:
    """Cut the files to read down to `limit`; returns the others: the deferred files."""
    if limit is None:
        return FileList()
    plan.to_read, deferred = plan.to_read.split(limit)
    return deferred


def quarantined(plan: Plan) -> int:
    """How many of the untouched faults are quarantined (the others were skipped)."""
    return sum(row.state == QUARANTINED for row in plan.known_faults)
