"""Which status a file has: rows in, labels out, nothing read or written."""

from __future__ import annotations

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.ingest.events import Status
from clipindex.ingest.labels import Label, Labels
from clipindex.ingest.outcomes import Faulty

NOW = "clipindex 1, Pillow 1"
ONE, TWO = b"\x01" * 32, b"\x02" * 32
RECORD = FileRecord(b"/p/1.jpg", 100, 200, 300)
OLD = Row(path=b"/p/old.jpg", size=1, mtime_ns=2, ctime_ns=3, sha256=ONE, state=INDEXED)
ROW = OLD._replace(path=RECORD.path, size=100, mtime_ns=200, ctime_ns=300)
DAMAGED = FileFault("damaged")
UNREADABLE = FileFault("Input/output error", transient=True)
VANISHED = FileFault("it is gone", skipped=True, transient=True)
NO_PICTURE = FileFault("not a picture", skipped=True)


def test_a_path_that_was_never_indexed_is_new() -> None:
    for before in (None, ROW._replace(state=QUARANTINED), ROW._replace(state=SKIPPED)):
        assert Labels().label(ONE, before=before, known=False) == Label(Status.NEW)


def test_an_indexed_path_is_changed_or_unchanged_by_its_digest() -> None:
    for known in (True, False):
        same = Labels().label(ONE, before=ROW, known=known)
        other = Labels().label(TWO, before=ROW, known=known)
        assert (same.status, other.status) == (Status.UNCHANGED, Status.CHANGED)


def test_known_content_is_a_duplicate_unless_it_moved_there() -> None:
    assert Labels().label(ONE, before=None, known=True) == Label(Status.DUPLICATE)
    moved = Labels().label(ONE, before=None, known=True, moved_from=OLD.path)
    assert moved == Label(Status.MOVED, OLD.path)


def test_the_only_copy_being_replaced_first_or_last_gives_the_same_counts() -> None:
    """A copy embedded again because this run wrote over its content counts as a duplicate."""
    run = Labels()
    run.label(TWO, before=ROW, known=False)
    assert run.label(ONE, before=None, known=False) == Label(Status.DUPLICATE)
    run = Labels()
    run.refuse(Faulty(RECORD, DAMAGED, TWO), ROW, NOW)
    assert run.label(ONE, before=None, known=False) == Label(Status.DUPLICATE)


def test_a_damaged_file_is_noted_and_new_in_quarantine_once() -> None:
    first = Labels().refuse(Faulty(RECORD, DAMAGED, ONE), None, NOW)
    assert (first.status, first.is_new, first.is_unreadable) == (Status.QUARANTINED, True, False)
    assert first.note is not None
    again = Labels().refuse(Faulty(RECORD, DAMAGED, ONE), first.note, NOW)
    assert (again.note, again.is_new) == (None, False)
    updated = Labels().refuse(Faulty(RECORD, DAMAGED, ONE), first.note, "Pillow 2")
    assert updated.note is not None
    assert not updated.is_new


def test_an_indexed_file_keeps_its_row_after_a_read_error_but_not_after_damage() -> None:
    unreadable = Labels().refuse(Faulty(RECORD, UNREADABLE), ROW, NOW)
    assert (unreadable.note, unreadable.is_unreadable) == (None, True)
    damaged = Labels().refuse(Faulty(RECORD, DAMAGED, TWO), ROW, NOW)
    assert damaged.note is not None
    assert damaged.note.state == QUARANTINED


def test_no_note_is_made_of_a_file_that_was_deleted_before_it_was_read() -> None:
    assert Labels().refuse(Faulty(RECORD, VANISHED), None, NOW).note is None
    skipped = Labels().refuse(Faulty(RECORD, NO_PICTURE), None, NOW)
    assert (skipped.status, skipped.is_new) == (Status.SKIPPED, False)
    assert skipped.note is not None
