"""Pure: whether a run of zeros in uncompressed pixels is a hole, and no part of the picture.

A copy that breaks off in a preallocated file, or a lost sector, leaves zeros. Black is zeros too:
borders, masks, the sky at night. Where the zeros begin and end tells them apart:

- A hole begins and ends anywhere in a row. A black band begins and ends with a row, and the edge
  of a black object continues in the next row.
- Noise that fades to black has more and more zeros, and so has the edge of a band in a JPEG.

So a hole has few zeros in the same columns of the row above it and of the row below it, and the
pixels beside it are as bright as those above or below them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

_SECTOR = 512  # bytes; most holes begin or end at a multiple of it
_SHORTEST = bytes(_SECTOR)
_NOT_ZERO = re.compile(rb"[^\0]")
_MOST_ZEROS = 0.5  # the share of zeros around a hole; dark noise has some
# An end of the zeros this near to an edge of its row, in bytes, proves nothing: a dark pixel at the
# edge extends a black band into the next row.
_MARGIN = 24
_NEIGHBOURS = 96  # bytes that are compared with those above or below them
_MOST_ZEROS_OF_A_LINE = 0.01  # the same, around zeros within one row
_BRIGHT = 32  # bytes at least as large are not dark
_MUCH = 8  # a border fills less than one in so many of all bytes
_BLACK = 4  # bytes that are all smaller prove nothing: the picture fades to black there


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

        One torn end is not enough: pictures turned by a fraction of a degree have a black border
        with a step in one row. A run within one row may be a line that somebody drew. So these
        must begin or end at a sector, or within a pixel.
        """
        row = self._row
        above = self._parts(first - row, min(last - row, first))
        below = self._parts(max(first, last - row) + row, last + row)
        head, foot = self._head(first, above), self._foot(last, below)
        if _Side.NATURAL in (head, foot):
            return False
        ends = (
            (head is _Side.TORN and first % _SECTOR == 0) or self._cuts_at_head(first),
            (foot is _Side.TORN and last % _SECTOR == 0) or self._cuts_at_foot(last),
        )
        if (first - self._start) // row < (last - 1 - self._start) // row:
            torn = _Side.TORN in (head, foot)
            return any(ends) or (torn and (head is foot or self._is_long(first, last)))
        around = b"".join((*above, *below))
        return all(ends) and around.count(0) <= _MOST_ZEROS_OF_A_LINE * len(around)

    def _is_long(self, first: int, last: int) -> bool:
        """Whether the zeros are more than a border has, with those of the tiles behind these."""
        if last < self._end:
            return last - first >= self._much
        return self._data.count(0, first, first + self._much) == self._much

    def _cuts_at_head(self, first: int) -> bool:
        """Whether the zeros begin within a pixel none of whose neighbours is dark."""
        begun = (first - self._start) % self._row % self._pixel
        return begun > 0 and self._is_bright(first, first + self._pixel - begun, -1)

    def _cuts_at_foot(self, last: int) -> bool:
        ended = (last - self._start) % self._row % self._pixel
        return ended > 0 and self._is_bright(last - ended, last, 1)

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
