"""Pure: copy one page of a TIFF, or its facts alone, into a small TIFF.

Its readers meet no other page, no BigTIFF, and no tag that they do not need.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from clipindex.pictures.tiff.directory import Directory, directory_at

_EXIF, _GPS = 34665, 34853
# Camera, orientation, date; of the EXIF directory when it was taken, of the GPS one where.
_ABOUT = (271, 272, 274, 306)
_BELOW = {_EXIF: (36867,), _GPS: (1, 2, 3, 4)}
# Size, depth, compression, photometric interpretation, bit order and options of fax pictures.
_PIXELS = (256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 322, 323, 530)
_STRIP_OFFSETS, _STRIP_LENGTHS, _TILE_OFFSETS, _TILE_LENGTHS = 273, 279, 324, 325
_LONGEST_VALUE = 1 << 16  # bytes

_LONG = 4
_AS_LONG = {13, 16, 18}  # types that are written as LONG: offsets, and numbers of 64 bits


def standalone(page: Directory, places: Sequence[tuple[int, int]] = ()) -> bytes:
    """A TIFF with copies of the page's tags on camera, date and place.

    `places` are the offsets and lengths of its strips or tiles. If given, the copy has these too,
    and the tags on the pixels.
    """
    out = bytearray((b"II*\0" if page.order == "<" else b"MM\0*") + bytes(4))
    entries = [_copied(out, page, tag) for tag in (*_ABOUT, *(_PIXELS if places else ()))]
    for tag, wanted in _BELOW.items():
        if tag in page.entries:
            below = directory_at(page.data, page.number(tag), page.order, page.big)
            at = _written(out, page.order, [_copied(out, below, each) for each in wanted])
            entries.append(_entry(out, page.order, tag, _LONG, 1, _longs(page.order, [at])))
    if places:
        tiled = _TILE_OFFSETS in page.entries
        offsets = []
        for offset, length in places:
            offsets.append(len(out))
            out += page.data[offset : offset + length]
        lists = {
            _TILE_OFFSETS if tiled else _STRIP_OFFSETS: offsets,
            _TILE_LENGTHS if tiled else _STRIP_LENGTHS: [length for _, length in places],
        }
        for tag, numbers in lists.items():
            data = _longs(page.order, numbers)
            entries.append(_entry(out, page.order, tag, _LONG, len(numbers), data))
    struct.pack_into(page.order + "L", out, 4, _written(out, page.order, entries))
    return bytes(out)


def _written(out: bytearray, order: str, entries: list[bytes]) -> int:
    """Append a directory and return its offset."""
    kept = sorted(filter(None, entries), key=lambda entry: struct.unpack_from(order + "H", entry))
    at = len(out)
    out += struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    return at


def _copied(out: bytearray, page: Directory, tag: int) -> bytes:
    """A tag's entry; b"" if it is absent or damaged. Values too long for it are appended."""
    entry = page.entries.get(tag)
    if entry is None:
        return b""
    if entry.kind in _AS_LONG:
        numbers = [number for number in page.numbers(tag) if number < 1 << 32]
        return _entry(out, page.order, tag, _LONG, len(numbers), _longs(page.order, numbers))
    data = page.data[entry.place : entry.place + entry.size]
    if len(data) < entry.size or not 0 < entry.size <= _LONGEST_VALUE:
        return b""
    return _entry(out, page.order, tag, entry.kind, entry.count, data)


def _longs(order: str, numbers: Sequence[int]) -> bytes:
    return struct.pack(f"{order}{len(numbers)}L", *numbers)


def _entry(out: bytearray, order: str, tag: int, kind: int, count: int, data: bytes) -> bytes:
    if len(data) > 4:
        at = _longs(order, [len(out)])
        out += data
        data = at
    return struct.pack(order + "HHL", tag, kind, count) + data.ljust(4, b"\0")
