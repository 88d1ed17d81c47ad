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

_SECTOR = 512  # bytes; most holes begin or end at a multiple of it
_SHORTEST = bytes(_SECTOR)
_NOT_ZERO = re.compile(rb"[^\0]")
_MOST_ZEROS = 0.5  # the share of zeros around a hole; dark noise has some
# Bytes between a hole's end and the row's end below which nothing is concluded: where a row and
# the next begin or end with a dark pixel, a black band may seem to begin in the row before.
_MARGIN = 24
_NEIGHBOURS = 96  # bytes that are compared with those above or below them
_MOST_ZEROS_OF_A_LINE = 0.01  # the same, for what may be a thin line that was drawn
_BRIGHT = 32  # at least; the least value of pixels in which a zero is no darkness
_MUCH = 8  # the part of all bytes, one in so many, that borders of turned pictures do not fill
_BLACK = 4  # a greatest value below this is no evidence: pictures that fade to black have it


class _Side(Enum):
    """What the end of a run of zeros suggests."""

    NATURAL = "a part of the picture"
    UNKNOWN = "nothing"
    TORN = "a hole"


class Rows:
    """Rows of `row` bytes in `data[start:end]`, a part of a file.

    `pixel`: bytes of a pixel. `total`: bytes of all pixels of the picture, of which these may be a
    strip or tile.
    """

    def __init__(
        self, data: bytes, start: int, end: int, *, row: int, pixel: int, total: int
    ) -> None:
        self._data, self._start, self._end = data, start, end
        self._row, self._pixel, self._much = row, pixel, total // _MUCH

    @property
    def have_hole(self) -> bool:
        """Whether a run of zeros in them is a hole."""
        return any(self._is_hole(first, last) for first, last in self._runs())

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Where long runs of zeros begin and end."""
        at = self._start
        while (first := self._data.find(_SHORTEST, at, self._end)) >= 0:
            behind = _NOT_ZERO.search(self._data, first, self._end)
            at = behind.start() if behind else self._end
            yield first, at

    def _is_hole(self, first: int, last: int) -> bool:
        """Whether the run of zeros `data[first:last]` is a hole.

        One end alone may be that of a border: pictures that were turned a little have some with a
        step in a row. A run within one row may be a line that was drawn. So these need more.
        """
        row = self._row
        above = self._parts(first - row, min(last - row, first))
        below = self._parts(max(first, last - row) + row, last + row)
        head, foot = self._head(first, above), self._foot(last, below)
        if _Side.NATURAL in (head, foot):
            return False
        at_a_sector = (head is _Side.TORN and first % _SECTOR == 0) or (
            foot is _Side.TORN and last % _SECTOR == 0
        )
        cuts = self._cuts(first, last)
        if (first - self._start) // row < (last - 1 - self._start) // row:
            torn = _Side.TORN in (head, foot)
            sure = torn and (head is foot or self._is_long(first, last))
            return sure or at_a_sector or any(cuts)
        around = b"".join((*above, *below))
        bright = around.count(0) <= _MOST_ZEROS_OF_A_LINE * len(around)
        return bright and (at_a_sector or all(cuts))

    def _is_long(self, first: int, last: int) -> bool:
        """Whether the zeros are more than a border has, with those of the tiles behind these."""
        if last < self._end:
            return last - first >= self._much
        return self._data.count(0, first, first + self._much) == self._much

    def _cuts(self, first: int, last: int) -> tuple[bool, bool]:
        """Whether the zeros begin, and end, within a pixel none of whose neighbours is dark."""
        begun = (first - self._start) % self._row % self._pixel
        ended = (last - self._start) % self._row % self._pixel
        return (
            begun > 0 and self._is_bright(first, first + self._pixel - begun, -1),
            ended > 0 and self._is_bright(last - ended, last, 1),
        )

    def _is_bright(self, first: int, last: int, way: int) -> bool:
        """Whether the pixels above and before (`way` 1: below and behind) are bright in these."""
        for step in (way * self._row, way * self._pixel):
            near = self._data[first + step : last + step]
            if not near or min(near) < _BRIGHT:
                return False
        return True

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
        return _side(above, before, same_above, min(column, self._row - column))

    def _foot(self, last: int, below: list[bytes]) -> _Side:
        """`below`: what lies a row below the last zeros."""
        column = (last - self._start) % self._row
        if last + self._row > self._end or column == 0:
            return _Side.UNKNOWN
        behind = self._data[last : last + min(self._row - column, _NEIGHBOURS)]
        same_below = self._data[last + self._row : last + self._row + len(behind)]
        return _side(below, behind, same_below, min(column, self._row - column))


def _side(parts: list[bytes], beside: bytes, next_to_that: bytes, margin: int) -> _Side:
    if any(part.count(0) > _MOST_ZEROS * len(part) for part in parts):
        return _Side.NATURAL
    if margin < _MARGIN:
        return _Side.UNKNOWN
    if 2 * sum(beside) < sum(next_to_that) or max(beside) < _BLACK:
        return _Side.NATURAL
    return _Side.TORN
