"""Pure: whether the rows of a Windows bitmap are there. They are not compressed as a rule.

"BM" size 0 offset  header  [colour table]  rows, each filled up to four bytes
"""

from __future__ import annotations

from clipindex.pictures.rows import Rows

_RUN_LENGTH = (1, 2)  # compressions
_PLAIN = (0, 3, 6)
# Pillow takes run-length coded rows apart in Python: about a second for either of these.
_MOST_RUN_LENGTH_BYTES = 4_000_000
_MOST_RUN_LENGTH_PIXELS = 16_000_000


def check(data: bytes) -> None:
    """Refuse rows with a hole, and what would decode for minutes. Raises ValueError."""
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
    if compression not in _PLAIN or row <= 0 or height < 2 or offset + row * height > len(data):
        return  # what is cut short, the decoder refuses
    size, pixel = row * height, max(1, bits // 8)
    if Rows(data, offset, offset + size, row=row, pixel=pixel, total=size).have_hole:
        raise ValueError("a part of the picture is filled with zeros")
