"""A list of files that may be longer than memory is a list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.files.file_system import FileRecord
from clipindex.ingest import records
from clipindex.ingest.records import Records


@pytest.fixture(autouse=True, scope="module")
def _small() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK", 4)
        patch.setattr(records, "IN_MEMORY", 10)
        yield


def files(count: int, first: int = 0) -> list[FileRecord]:
    return [FileRecord(b"/\xff%d" % n, n, -n, 2**62 + n) for n in range(first, first + count)]


@given(
    st.integers(0, 60),
    st.integers(0, 70),
    st.integers(-70, 70),
    st.integers(0, 20),
    st.integers(1, 5),
)
def test_it_is_a_list(count: int, start: int, stop: int, more: int, step: int) -> None:
    plain, long = files(count), Records(files(count))
    assert long == plain
    assert len(long) == count
    assert long[start:stop:step] == plain[start:stop:step]
    if -count <= stop < count:
        assert long[stop] == plain[stop]
    length = min(start, count)
    assert long.cut(length) == plain[length:]
    long.extend(files(more, first=100))
    assert long == plain[:length] + files(more, first=100)
    with pytest.raises(IndexError):
        long[len(long)]


def test_it_is_read_by_two_at_once_while_it_grows() -> None:
    long = Records(files(25))
    one, other = iter(long), iter(long)
    assert [next(one) for _ in range(6)] == files(6)
    assert [next(other) for _ in range(3)] == files(3)
    assert next(one) == files(7)[6]


def test_little_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Records(files(1000))
    assert len(long._tail) < records.IN_MEMORY
    assert isinstance(long, Sequence)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.tempfile, "TemporaryFile", no_room)
    assert Records(files(100)) == files(100)
