"""A folder as it is, and as it is remembered: every file gets exactly one treatment."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Row
from clipindex.files.file_list import FileList
from clipindex.files.file_system import UNKNOWN_CHANGE, FileRecord
from clipindex.ingest.plan import Plan, defer, plan_folder, quarantined

NOW = "clipindex 1, Pillow 1"
BEFORE = "clipindex 0, Pillow 1"

# Few values, so that files and rows agree often.
paths = st.sampled_from([b"/p/%d.jpg" % number for number in range(6)])
few = st.integers(0, 1)
records = st.builds(FileRecord, path=paths, size=few, mtime_ns=few, ctime_ns=few)
rows = st.builds(
    Row,
    path=paths,
    size=few,
    mtime_ns=few,
    ctime_ns=st.none() | few,
    sha256=st.just(bytes(32)),
    state=st.sampled_from([INDEXED, QUARANTINED, SKIPPED]),
    reason=st.just("why"),
    decoders=st.sampled_from([NOW, BEFORE, None]),
    transient=st.booleans(),
)
folders = st.tuples(
    st.lists(records, unique_by=lambda record: record.path),
    st.lists(rows, unique_by=lambda row: row.path).map(lambda them: {r.path: r for r in them}),
)


def planned(files: list[FileRecord], remembered: dict[bytes, Row], decoders: str = NOW) -> Plan:
    plan = Plan()
    plan_folder(plan, files, remembered, decoders)
    return plan


def agree(row: Row, record: FileRecord) -> bool:
    """Written down once more: size, mtime, and ctime where both have one."""
    unknown = row.ctime_ns is None or record.ctime_ns == UNKNOWN_CHANGE
    same = (row.size, row.mtime_ns) == (record.size, record.mtime_ns)
    return same and (unknown or row.ctime_ns == record.ctime_ns)


RECORD = FileRecord(b"/p/1.jpg", 100, 200, 300)
KNOWN = Row(path=RECORD.path, size=100, mtime_ns=200, ctime_ns=300, sha256=bytes(32), state=INDEXED)
NOTED = KNOWN._replace(state=QUARANTINED, reason="damaged", decoders=NOW)


@given(folders)
@settings(max_examples=200, deadline=None)
def test_every_file_falls_in_exactly_one_list(
    folder: tuple[list[FileRecord], dict[bytes, Row]],
) -> None:
    files, remembered = folder
    plan = planned(files, remembered)
    treated = [record.path for record in (*plan.to_read, *plan.unchanged)]
    treated += [row.path for row in plan.known_faults]
    assert sorted(treated) == sorted(record.path for record in files)


@given(folders)
@settings(max_examples=200, deadline=None)
def test_each_treatment_has_its_reason(
    folder: tuple[list[FileRecord], dict[bytes, Row]],
) -> None:
    files, remembered = folder
    plan = planned(files, remembered)
    standing = {row.path for row in plan.known_faults}
    for record in files:
        row = remembered.get(record.path)
        untouched = row is not None and agree(row, record)
        indexed = row is not None and row.state == INDEXED
        stands = row is not None and not row.transient and row.decoders == NOW
        assert (record in plan.unchanged) == (untouched and indexed)
        assert (record.path in standing) == (untouched and not indexed and stands)


@given(folders)
@settings(max_examples=200, deadline=None)
def test_vanished_is_what_was_indexed_and_is_not_found(
    folder: tuple[list[FileRecord], dict[bytes, Row]],
) -> None:
    files, remembered = folder
    found = {record.path for record in files}
    expected = {path for path, row in remembered.items() if row.state == INDEXED} - found
    assert set(planned(files, remembered).vanished) == expected


def test_a_file_is_unchanged_when_size_and_both_times_agree() -> None:
    plan = planned([RECORD], {KNOWN.path: KNOWN})
    assert ([*plan.unchanged], [*plan.to_read], plan.refreshed) == ([RECORD], [], [])


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns"])
@pytest.mark.parametrize("row", [KNOWN, NOTED], ids=["indexed", "quarantined"])
def test_a_file_that_differs_in_anything_is_read(row: Row, field: str) -> None:
    for step in (-1, 1):
        record = RECORD._replace(**{field: getattr(RECORD, field) + step})
        assert [*planned([record], {row.path: row}).to_read] == [record]


def test_a_change_time_that_is_not_known_is_learned_not_held_against_the_file() -> None:
    row = KNOWN._replace(ctime_ns=None)
    plan = planned([RECORD], {row.path: row})
    assert [*plan.unchanged] == [RECORD]
    assert plan.refreshed == [KNOWN]
    again = planned([RECORD], {row.path: plan.refreshed[0]})
    assert ([*again.unchanged], again.refreshed) == ([RECORD], [])


@pytest.mark.parametrize("state", [QUARANTINED, SKIPPED])
def test_a_known_fault_stands_until_the_file_or_the_decoders_change(state: str) -> None:
    row = NOTED._replace(state=state)
    assert planned([RECORD], {row.path: row}).known_faults == [row]
    assert [*planned([RECORD], {row.path: row}, "clipindex 2, Pillow 2").to_read] == [RECORD]
    touched = RECORD._replace(mtime_ns=201)
    assert [*planned([touched], {row.path: row}).to_read] == [touched]


@pytest.mark.parametrize("state", [QUARANTINED, SKIPPED])
def test_what_failed_for_a_passing_reason_is_read_in_every_run(state: str) -> None:
    row = NOTED._replace(state=state, transient=True)
    assert [*planned([RECORD], {row.path: row}).to_read] == [RECORD]


def test_new_decoders_do_not_read_indexed_files_again() -> None:
    row = KNOWN._replace(decoders=BEFORE)
    assert [*planned([RECORD], {row.path: row}).unchanged] == [RECORD]


def test_a_note_of_a_file_that_is_gone_is_no_vanished_picture() -> None:
    assert planned([], {NOTED.path: NOTED}).vanished == {}
    assert planned([], {KNOWN.path: KNOWN}).vanished == {KNOWN.path: KNOWN}


def test_folders_add_up() -> None:
    plan = Plan()
    other = RECORD._replace(path=b"/q/1.jpg")
    plan_folder(plan, [RECORD], {KNOWN.path: KNOWN}, NOW)
    plan_folder(plan, [other], {}, NOW)
    gone = KNOWN._replace(path=b"/r/1.jpg")
    plan_folder(plan, [], {gone.path: gone}, NOW)
    assert ([*plan.unchanged], [*plan.to_read]) == ([RECORD], [other])
    assert plan.vanished == {gone.path: gone}


@given(count=st.integers(0, 30), limit=st.none() | st.integers(0, 40))
def test_a_limit_cuts_what_is_read_and_loses_nothing(count: int, limit: int | None) -> None:
    files = [RECORD._replace(path=b"/p/%d" % number) for number in range(count)]
    plan = planned(files, {})
    deferred = defer(plan, limit)
    assert [*plan.to_read, *deferred] == files
    assert len(plan.to_read) == (count if limit is None else min(count, limit))


def test_a_limit_counts_only_files_that_are_read() -> None:
    other = RECORD._replace(path=b"/p/2.jpg")
    plan = planned([RECORD, other], {KNOWN.path: KNOWN})
    assert len(defer(plan, 1)) == 0
    assert ([*plan.unchanged], [*plan.to_read]) == ([RECORD], [other])


def test_quarantined_and_skipped_notes_are_told_apart() -> None:
    skipped = NOTED._replace(path=b"/p/2.txt", state=SKIPPED)
    files = [RECORD, RECORD._replace(path=skipped.path)]
    plan = planned(files, {NOTED.path: NOTED, skipped.path: skipped})
    assert (len(plan.known_faults), quarantined(plan)) == (2, 1)


# --- many files ------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=5).filter(lambda name: not {*name} & {*b"\0/"})
numbers = st.integers(-(2**63), 2**63 - 1)
sizes = st.integers(0, 2**62)
in_folders = st.lists(
    st.tuples(
        st.sampled_from([b"/", b"/p", b"/p/caf\xe9"]),
        st.lists(st.tuples(names, sizes, numbers, numbers), max_size=5),
    ),
    max_size=5,
)


@given(in_folders, st.integers(0, 30))
@settings(deadline=None)
def test_a_list_of_files_has_the_records_that_were_added_in_their_order(
    folders: list[tuple[bytes, list[tuple[bytes, int, int, int]]]], limit: int
) -> None:
    files, everything = FileList(), list[FileRecord]()
    for folder, entries in folders:
        beginning = folder.rstrip(b"/") + b"/"
        records = [FileRecord(beginning + name, *rest) for name, *rest in entries]
        files.add(records)
        everything += records
    assert [*files] == everything
    assert (len(files), files.size) == (len(everything), sum(file.size for file in everything))
    first, others = files.split(limit)
    assert ([*first], [*others]) == (everything[:limit], everything[limit:])
    assert (len(first), len(others)) == (len([*first]), len([*others]))


def test_a_plan_of_many_files_takes_little_memory_for_each() -> None:
    def folder(number: int) -> list[FileRecord]:
        names = (b"/photographs/2013/%04d/IMG_%04d.jpg" % (number, n) for n in range(1000))
        return [FileRecord(name, 4_000_000 + number, 2**60, 2**60 + 1) for name in names]

    def known(files: list[FileRecord]) -> dict[bytes, Row]:
        return {file.path: KNOWN._replace(**file._asdict()) for file in files}

    tracemalloc.start()
    plan = Plan()
    for number in range(10):
        plan_folder(plan, folder(number), {}, NOW)
        plan_folder(plan, folder(number + 10), known(folder(number + 10)), NOW)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(plan.to_read), len(plan.unchanged)) == (10_000, 10_000)
    assert held / 20_000 < 64  # bytes: three numbers, and the name; as objects 300
