"""Which new path a picture moved to: by names and times, never by which worker was faster."""

from __future__ import annotations

import os
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from clipindex.collection.catalogue import INDEXED, Row
from clipindex.files.file_system import FileRecord
from clipindex.ingest.landmarks import ANYWHERE
from clipindex.ingest.moves import Absent, Moves, pair_paths
from clipindex.ingest.outcomes import Known

ONE, TWO = b"\x01" * 32, b"\x02" * 32


def absent(path: bytes, *, mtime: int = 1, size: int = 9, area: bytes = ANYWHERE) -> Absent:
    row = Row(path=path, size=size, mtime_ns=mtime, ctime_ns=1, sha256=ONE, state=INDEXED)
    return Absent(row, area)


def record(path: bytes, *, mtime: int = 1, size: int = 9) -> FileRecord:
    return FileRecord(path, size, mtime, 1)


def gone(_path: bytes) -> bool:
    return True


def test_the_file_that_kept_its_time_was_renamed_and_the_other_is_a_copy() -> None:
    files = [record(b"/p/a-copy.jpg", mtime=5), record(b"/p/renamed.jpg", mtime=1)]
    assert pair_paths([absent(b"/p/old.jpg")], files, gone) == {b"/p/renamed.jpg": b"/p/old.jpg"}


def test_among_equal_times_the_same_name_and_then_the_first_path_counts() -> None:
    files = [record(b"/q/1.jpg"), record(b"/q/2.jpg"), record(b"/q/3.jpg")]
    assert pair_paths([absent(b"/p/2.jpg")], files, gone) == {b"/q/2.jpg": b"/p/2.jpg"}
    assert pair_paths([absent(b"/p/x.jpg")], files, gone) == {b"/q/1.jpg": b"/p/x.jpg"}


def test_a_folder_of_copies_that_lost_one_keeps_each_others_names() -> None:
    old = [absent(b"/p/%d.jpg" % number) for number in range(4)]
    files = [record(b"/q/%d.jpg" % number) for number in (1, 2, 3)]
    assert pair_paths(old, files, gone) == {
        b"/q/%d.jpg" % number: b"/p/%d.jpg" % number for number in (1, 2, 3)
    }


def test_a_path_that_came_back_meanwhile_serves_no_move() -> None:
    assert pair_paths([absent(b"/p/1.jpg")], [record(b"/q/1.jpg")], lambda _path: False) == {}


def test_a_move_keeps_to_the_area_where_its_file_may_have_gone() -> None:
    old = [absent(b"/disk/d/1.jpg", area=b"/disk")]
    assert pair_paths(old, [record(b"/home/1.jpg")], gone) == {}
    files = [record(b"/home/1.jpg"), record(b"/disk/e/x.jpg", mtime=7)]
    assert pair_paths(old, files, gone) == {b"/disk/e/x.jpg": b"/disk/d/1.jpg"}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(1, 3))),
    st.lists(st.tuples(st.sampled_from("def"), st.sampled_from("xyz"), st.integers(1, 3))),
    st.randoms(),
)
@settings(max_examples=200, deadline=None)
def test_each_old_path_serves_once_in_whatever_order_they_come(
    old: list[tuple[str, str, int]], new: list[tuple[str, str, int]], chance: object
) -> None:
    olds = [absent(f"/{d}/{n}".encode(), mtime=m) for d, n, m in old]
    files = [record(f"/{d}/{n}".encode(), mtime=m) for d, n, m in new]
    olds = list({one.row.path: one for one in olds}.values())
    files = list({one.path: one for one in files}.values())
    pairs = pair_paths(olds, files, gone)
    assert len(set(pairs.values())) == len(pairs) == min(len(olds), len(files))
    chance.shuffle(olds)  # type: ignore[attr-defined]
    chance.shuffle(files)  # type: ignore[attr-defined]
    assert pair_paths(olds, files, gone) == pairs


def test_nothing_is_decided_before_the_last_file_of_that_size_was_read() -> None:
    """Whatever the order in which the workers read them: the same pairs, each file once."""
    files = [record(b"/p/copy.jpg", mtime=5), record(b"/p/new.jpg"), record(b"/p/other.jpg")]
    for order in permutations(files):
        moves = Moves([absent(b"/p/old.jpg")], [*files, record(b"/p/z", size=1)], gone)
        decided = {}
        for number, file in enumerate(order):
            if file.path == b"/p/other.jpg":
                assert not moves.concern(TWO)  # another picture of the same size
            else:
                moves.hold(Known(file, ONE))
            ready = moves.read(file.path)
            assert bool(ready) == (number == 2)
            decided.update({each.outcome.record.path: each.moved_from for each in ready})
        assert decided == {b"/p/copy.jpg": None, b"/p/new.jpg": b"/p/old.jpg"}
        assert not moves.concern(ONE)


def test_a_run_that_ends_early_decides_among_the_files_it_has_read() -> None:
    files = [record(b"/p/a.jpg"), record(b"/p/b.jpg")]
    moves = Moves([absent(b"/p/old.jpg")], files, gone)
    moves.hold(Known(files[1], ONE))
    assert moves.read(b"/p/b.jpg") == []
    (decided,) = moves.rest()
    assert (os.path.basename(decided.outcome.record.path), decided.moved_from) == (
        b"b.jpg",
        b"/p/old.jpg",
    )
    assert moves.rest() == []


def test_a_file_that_grew_since_the_walk_is_decided_at_once() -> None:
    """It is no longer in the group of its size, which may be complete."""
    moves = Moves([absent(b"/p/old.jpg")], [record(b"/p/a.jpg", size=4)], gone)
    moves.hold(Known(record(b"/p/a.jpg", size=9), ONE))
    (decided,) = moves.read(b"/p/a.jpg")
    assert decided.moved_from == b"/p/old.jpg"
