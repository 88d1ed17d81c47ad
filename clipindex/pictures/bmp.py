"""Pure: whether the rows of a Windows bitmap are there. They are not compressed as a rule.

"BM" size 0 offset  header  [colour table]  rows, each filled up to four bytes
"""

from __future__ import annotations

from typing import Any

import numpy as np

_RUN_LENGTH = (1, 2)  # compressions
_PLAIN = (0, 3, 6)
# Pillow takes run-length coded rows apart in Python: about a second for either of these.
_MOST_RUN_LENGTH_BYTES = 4_000_000
_MOST_RUN_LENGTH_PIXELS = 16_000_000
_SMALLEST_HOLE = 2048
_FULL = 0.9  # the share of bytes that are not zero in a row that has no black in it


def check(data: bytes) -> None:
    """Refuse rows that break off in a hole, and what would decode for minutes. Raises ValueError.

    Black is zeros too, but it begins where an object does. Zeros that begin in the middle of a
    row, below a row that has none there, and go on for whole rows, are a copy that broke off.
    """
    offset = int.from_bytes(data[10:14], "little")
    if data[14] == 12:  # the oldest header: no compression
        width, height = (int.from_bytes(data[at : at + 2], "little") for at in (18, 20))
        bits, compression = int.from_bytes(data[24:26], "little"), 0
    else:
        width = int.from_bytes(data[18:22], "little", signed=True)
        height = int.from_bytes(data[22:26], "little", signed=True)
        bits = int.from_bytes(data[28:30], "little")
        compression = int.from_bytes(data[30:34], "little")
    height = abs(height)
    large = len(data) - offset > _MOST_RUN_LENGTH_BYTES or width * height > _MOST_RUN_LENGTH_PIXELS
    if compression in _RUN_LENGTH and large:
        raise ValueError("a run-length coded bitmap of this size would decode for minutes")
    row = (width * bits + 31) // 32 * 4
    if compression not in _PLAIN or row <= 0 or height < 3 or offset + row * height > len(data):
        return  # what is cut short, the decoder refuses
    rows = np.frombuffer(data, np.uint8, row * height, offset).reshape(height, row)
    if _breaks_off(rows, (width * bits + 7) // 8):
        raise ValueError("a part of the picture is filled with zeros")


def _breaks_off(rows: np.ndarray[Any, np.dtype[np.uint8]], used: int) -> bool:
    """`used`: the bytes of a row that pixels fill."""
    black = np.logical_not(np.any(rows, axis=1))
    begins = np.flatnonzero(black[2:] & ~black[1:-1]) + 2
    for first in begins[:1000]:
        after = np.flatnonzero(~black[first:])
        count = int(after[0]) if len(after) else len(rows) - int(first)
        broken = int(np.flatnonzero(rows[first - 1])[-1]) + 1
        tail = used - broken
        if tail < 4 or tail + count * rows.shape[1] < _SMALLEST_HOLE:
            continue
        if np.count_nonzero(rows[first - 2, broken:used]) >= _FULL * tail:
            return True
    return False
