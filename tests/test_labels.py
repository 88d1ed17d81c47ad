"""Which status a file has: rows in, labels out, nothing read or written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.ingest.events import Status
from clipindex.ingest.labels import Label, Labels, conclusive
from clipindex.ingest.outcomes import Faulty

NOW = "clipindex 1, Pillow 1"
ONE, TWO = b"\x01" * 32, b"\x02" * 32
RECORD = FileRecord(b"/p/1.jpg", 100, 200, 300)
OLD = Row(path=b"/p/old.jpg", size=1, mtime_ns=2, ctime_ns=3, sha256=ONE, state=INDEXED)
ROW = replace(OLD, path=RECORD.path, size=100, mtime_ns=200, ctime_ns=300)
DAMAGED = FileFault("damaged")
UNREADABLE = FileFault("Input/output error", transient=True)
VANISHED = FileFault("it is gone", skipped=True, transient=True)
NO_PICTURE = FileFault("not a picture", skipped=True)


def labels(vanished: frozenset[bytes] = frozenset(), *, gone: bool = True) -> Labels:
    return Labels(vanished, [b"/p"], lambda _path: gone)


def test_a_path_that_was_never_indexed_is_new() -> None:
    for before in (None, replace(ROW, state=QUARANTINED), replace(ROW, state=SKIPPED)):
        label = labels().label(ONE, before=before, copies=[], known=False)
        assert label == Label(Status.NEW)


def test_an_indexed_path_is_changed_or_unchanged_by_its_digest() -> None:
    for known in (True, False):
        same = labels().label(ONE, before=ROW, copies=[ROW], known=known)
        other = labels().label(TWO, before=ROW, copies=[], known=known)
        assert (same.status, other.status) == (Status.UNCHANGED, Status.CHANGED)


def test_a_vanished_copy_below_a_whole_root_makes_a_move_and_serves_once() -> None:
    run = labels(frozenset({OLD.path}))
    first = run.label(ONE, before=None, copies=[OLD], known=True)
    second = run.label(ONE, before=None, copies=[OLD], known=True)
    assert first == Label(Status.MOVED, OLD.path)
    assert second == Label(Status.DUPLICATE)


@pytest.mark.parametrize(
    ("old", "vanished", "gone"),
    [
        (OLD, False, True),  # the walk met it
        (OLD, True, False),  # it came back since
        (replace(OLD, path=b"/q/old.jpg"), True, True),  # below no root of this run
        (replace(OLD, state=QUARANTINED), True, True),  # it has no point
    ],
)
def test_any_doubt_about_the_old_path_makes_a_duplicate(
    old: Row, vanished: bool, gone: bool
) -> None:
    run = labels(frozenset({old.path} if vanished else ()), gone=gone)
    assert run.label(ONE, before=None, copies=[old], known=True) == Label(Status.DUPLICATE)


def test_the_only_copy_being_replaced_first_or_last_gives_the_same_counts() -> None:
    """A copy embedded again because this run wrote over its content counts as a duplicate."""
    run = labels()
    run.label(TWO, before=ROW, copies=[], known=False)
    assert run.label(ONE, before=None, copies=[], known=False) == Label(Status.DUPLICATE)
    run = labels()
    run.refuse(Faulty(RECORD, DAMAGED, TWO), ROW, NOW)
    assert run.label(ONE, before=None, copies=[], known=False) == Label(Status.DUPLICATE)


def test_a_damaged_file_is_noted_and_new_in_quarantine_once() -> None:
    first = labels().refuse(Faulty(RECORD, DAMAGED, ONE), None, NOW)
    assert (first.status, first.is_new, first.is_unreadable) == (Status.QUARANTINED, True, False)
    assert first.note is not None
    again = labels().refuse(Faulty(RECORD, DAMAGED, ONE), first.note, NOW)
    assert (again.note, again.is_new) == (None, False)
    updated = labels().refuse(Faulty(RECORD, DAMAGED, ONE), first.note, "Pillow 2")
    assert updated.note is not None
    assert not updated.is_new


def test_an_indexed_file_keeps_its_row_after_a_read_error_but_not_after_damage() -> None:
    unreadable = labels().refuse(Faulty(RECORD, UNREADABLE), ROW, NOW)
    assert (unreadable.note, unreadable.is_unreadable) == (None, True)
    damaged = labels().refuse(Faulty(RECORD, DAMAGED, TWO), ROW, NOW)
    assert damaged.note is not None
    assert damaged.note.state == QUARANTINED


def test_no_note_is_made_of_a_file_that_was_deleted_before_it_was_read() -> None:
    assert labels().refuse(Faulty(RECORD, VANISHED), None, NOW).note is None
    skipped = labels().refuse(Faulty(RECORD, NO_PICTURE), None, NOW)
    assert (skipped.status, skipped.is_new) == (Status.SKIPPED, False)
    assert skipped.note is not None


@given(
    st.lists(
        st.builds(
            Row,
            path=st.just(b"/p/x.jpg"),
            size=st.just(1),
            mtime_ns=st.just(1),
            ctime_ns=st.none(),
            sha256=st.just(ONE),
            state=st.sampled_from([INDEXED, QUARANTINED, SKIPPED]),
            decoders=st.sampled_from([NOW, "older", None]),
            transient=st.booleans(),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_only_indexed_rows_and_lasting_refusals_of_these_decoders_are_conclusive(
    rows: list[Row],
) -> None:
    kept = conclusive(rows, NOW)
    assert all(row in rows for row in kept)
    for row in rows:
        lasting = row.state == QUARANTINED and row.decoders == NOW and not row.transient
        assert (row in kept) == (row.state == INDEXED or lasting)
