"""Pure: is the coded data of a HEIC or AVIF picture whole, without decoding it.

A hole of zeros (a copy that broke off in a preallocated file, a lost sector) decodes without an
error: arithmetic coding makes something of any bits.
"""

from __future__ import annotations

# HEVC (ITU-T H.265, 7.4.2) allows no three zero bytes in a row inside a unit; a few behind it
# are padding. 16 leave room for encoders that are careless.
_HEVC_HOLE = bytes(16)
_FIRST_PARAMETER_SET = 32  # unit types below are slices of the picture

# AV1 forbids no run of zeros, but each byte of one says eight bits long that the likeliest symbol
# follows, in a coder that adapts to it. The longest in 500 sound pictures had 34, in black
# ones with single white points 49. The smallest hole that a disk makes is a sector of 512.
_AV1_HOLE = bytes(256)
_FRAME_HEADER, _TILE_GROUP, _FRAME = 3, 4, 6


def check_hevc(data: bytes, start: int, end: int, length_size: int) -> None:
    """Refuse an item whose units do not fill it, or have a hole. Raises ValueError."""
    slices = 0
    while start < end:
        unit = start + length_size
        stop = unit + int.from_bytes(data[start:unit], "big")
        if stop > end or stop < unit + 2:
            raise ValueError("the coded data of the picture is broken")
        if data[unit] >> 1 & 0x3F < _FIRST_PARAMETER_SET:
            slices += 1
            if data.find(_HEVC_HOLE, unit, stop) >= 0:
                raise ValueError("a part of the picture is filled with zeros")
        start = stop
    if not slices:
        raise ValueError("a part of the picture has no data")


def check_av1(data: bytes, start: int, end: int) -> None:
    """Refuse an item whose units (OBUs) do not fill it, or have a hole. Raises ValueError."""
    frames = 0
    while start < end:
        head, at = data[start], start + 1 + (data[start] >> 2 & 1)
        size = end - at
        if head & 2:
            size, at = _leb128(data, at)
        stop = at + size
        if head & 0x80 or stop > end:
            raise ValueError("the coded data of the picture is broken")
        kind = head >> 3 & 15
        if kind in (_FRAME_HEADER, _TILE_GROUP, _FRAME):
            frames += 1
            if data.find(_AV1_HOLE, at, stop) >= 0:
                raise ValueError("a part of the picture is filled with zeros")
        start = stop
    if not frames:
        raise ValueError("a part of the picture has no data")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first (AV1, 4.10.5), and where it ends."""
    value = 0
    for n in range(8):
        byte = data[at + n] if at + n < len(data) else 0x80
        value |= (byte & 0x7F) << (7 * n)
        if not byte & 0x80:
            return value, at + n + 1
    raise ValueError("the coded data of the picture is broken")
