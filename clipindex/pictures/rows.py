"""Pure: whether a run of zeros in uncompressed pixels is a hole, and no part of the picture.

A copy that breaks off in a preallocated file, or a lost sector, leaves zeros. Black is zeros too:
borders, masks, the sky at night. What tells them apart is where the zeros begin and end:

- a hole begins and ends somewhere in a row; black objects have edges that go on in the next row,
  black bands begin and end with a row;
- noise that fades to black has zeros around it, and so has the edge of a band after a JPEG.

So the row above the first zeros and the one below the last must have few zeros in these columns,
and the pixels before and behind a hole must be as bright as those above and below them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

_SHORTEST = bytes(512)  # a sector
_NOT_ZERO = re.compile(rb"[^\0]")
_MOST_ZEROS = 0.5  # the share of zeros around a hole; dark noise has some
_MOST_ZEROS_OF_A_LINE = 0.05  # the same, for what may be a thin line that was drawn
# Bytes between a hole's end and the row's end below which nothing is concluded: where a row and
# the next begin or end with a dark pixel, a black band may seem to begin in the row before.
_MARGIN, _FAR_MARGIN = 4, 24
_NEIGHBOURS = 96  # bytes that are compared with those above or below them
_BLACK = 4  # a greatest value below this is no evidence: pictures that fade to black have it


class _Side(Enum):
    """What the end of a run of zeros suggests."""

    NATURAL = "a part of the picture"
    UNKNOWN = "nothing"
    TORN = "a hole"


def have_hole(data: bytes, start: int, end: int, row: int, pixel: int = 1) -> bool:
    """Whether the rows of `row` bytes in `data[start:end]` have a hole.

    `pixel`: the bytes of a pixel. A hole within one row looks like a drawn line, unless it begins
    or ends within a pixel.
    """
    view = _Rows(data, start, end, row)
    return any(view.is_hole(first, last, pixel) for first, last in view.runs())


class _Rows:
    """Rows of bytes: a part of a file."""

    def __init__(self, data: bytes, start: int, end: int, row: int) -> None:
        self._data, self._start, self._end, self._row = data, start, end, row

    def runs(self) -> Iterator[tuple[int, int]]:
        """Where long runs of zeros begin and end."""
        at = self._start
        while (first := self._data.find(_SHORTEST, at, self._end)) >= 0:
            behind = _NOT_ZERO.search(self._data, first, self._end)
            at = behind.start() if behind else self._end
            yield first, at

    def is_hole(self, first: int, last: int, pixel: int) -> bool:
        """Whether the run of zeros `data[first:last]` is a hole."""
        row = self._row
        above = self._parts(first - row, min(last - row, first))
        below = self._parts(max(first, last - row) + row, last + row)
        sides = (self._head(first, above), self._foot(last, below))
        if _Side.NATURAL in sides or _Side.TORN not in sides:
            return False
        if (first - self._start) // row < (last - 1 - self._start) // row:
            return True
        cut = (first - self._start) % row % pixel or (last - self._start) % row % pixel
        around = b"".join((*above, *below))
        return bool(cut) and around.count(0) <= _MOST_ZEROS_OF_A_LINE * len(around)

    def _parts(self, first: int, last: int) -> list[bytes]:
        """A part of the data of up to a row, divided where a row ends."""
        first, last = max(first, self._start), min(last, self._end)
        cut = first + self._row - (first - self._start) % self._row
        return [self._data[first : min(cut, last)], self._data[min(cut, last) : last]]

    def _head(self, first: int, above: list[bytes]) -> _Side:
        """`above`: what lies a row above the first zeros."""
        column = (first - self._start) % self._row
        if first - self._start < self._row or column == 0:
            return _Side.UNKNOWN
        before = self._data[first - min(column, _NEIGHBOURS) : first]
        same_above = self._data[first - self._row - len(before) : first - self._row]
        margins = column >= _MARGIN and self._row - column >= _FAR_MARGIN
        return _side(above, before, same_above, margins=margins)

    def _foot(self, last: int, below: list[bytes]) -> _Side:
        """`below`: what lies a row below the last zeros."""
        column = (last - self._start) % self._row
        if last + self._row > self._end or column == 0:
            return _Side.UNKNOWN
        behind = self._data[last : last + min(self._row - column, _NEIGHBOURS)]
        same_below = self._data[last + self._row : last + self._row + len(behind)]
        margins = column >= _FAR_MARGIN and self._row - column >= _MARGIN
        return _side(below, behind, same_below, margins=margins)


def _side(parts: list[bytes], beside: bytes, next_to_that: bytes, *, margins: bool) -> _Side:
    if any(part.count(0) > _MOST_ZEROS * len(part) for part in parts):
        return _Side.NATURAL
    if 2 * sum(beside) < sum(next_to_that) or max(beside) < _BLACK:
        return _Side.NATURAL
    return _Side.TORN if margins else _Side.UNKNOWN
