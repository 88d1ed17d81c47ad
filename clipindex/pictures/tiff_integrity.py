"""Pure: whether all of a TIFF's pixels are in the file, as far as can be seen without decoding."""

from __future__ import annotations

from dataclasses import replace

from clipindex.errors import FileFault
from clipindex.pictures.tiff_layout import CCITT, NO_COMPRESSION, OLD_JPEG, Layout

# Of an empty tail: rows that it takes up at least, and the share of bytes above it that are not 0.
_LEAST_MISSING, _BRIGHT, _WIDEST_PIXEL = 4, 0.98, 64
# No code of a fax has more than 11 zeros, but for the filling of a line. In an old JPEG, codes of
# brightness and colours alternate, and with the usual tables one of them has bits that are set.
_HOLE = bytes(64)


def intact(layout: Layout, data: bytes) -> Layout:
    """With the pieces that the picture needs. Raises FileFault if one is not in the file, or empty.

    An uncompressed piece has the length that its pixels take, whatever the file says.
    """
    size = len(data)
    pieces = layout.across * layout.down
    needed = pieces * (layout.samples_used if layout.planes else 1)
    if len(layout.places) < needed:
        what = "tiles" if layout.tiled else "strips"
        raise FileFault(f"damaged: {len(layout.places)} of {needed} {what} are listed")
    places = layout.places[:needed]
    if layout.compression == NO_COMPRESSION:
        rows = (layout.piece_rows(number % pieces // layout.across) for number in range(needed))
        places = tuple(
            (offset, layout.row_bytes * count)
            for (offset, _), count in zip(places, rows, strict=True)
        )
    else:
        places = tuple((offset, length or size - offset) for offset, length in places)
    if any(offset == 0 for offset, _ in places):
        raise FileFault("damaged: parts of the picture are left out")
    if any(length <= 0 or offset + length > size for offset, length in places):
        raise FileFault("damaged: cut short, parts of the picture lie beyond the file's end")
    layout = replace(layout, places=places)
    if layout.compression == NO_COMPRESSION and layout.bits >= 8 and not layout.tiled:
        _refuse_empty_tail(data, layout)
    if layout.compression in (*CCITT, OLD_JPEG):
        _refuse_holes(data, layout)
    return layout


def _refuse_empty_tail(data: bytes, layout: Layout) -> None:
    """Refuse uncompressed pixels that are zeros from the middle of a row to their end.

    Such is a download that was given its full size and broke off. A dark picture ends in zeros,
    too; but hardly with one step in a row all of whose other pixels, and those above, are bright.
    """
    for offset, length in sorted(layout.places, reverse=True):
        filled = _filled(data, offset, offset + length)
        if filled > offset:
            break
    else:
        return  # all black
    column = (filled - offset) % layout.row_bytes
    start = filled - column
    around = data[max(offset, filled - layout.row_bytes) : filled]
    missing = max(place + size for place, size in layout.places) - filled
    bright = len(around) - around.count(0)
    if (
        start > offset
        and 0 < column < layout.row_bytes - _WIDEST_PIXEL
        and missing > _LEAST_MISSING * layout.row_bytes
        and bright > _BRIGHT * layout.row_bytes
    ):
        raise FileFault("damaged: the end of its pixels is empty, as after a broken download")


def _filled(data: bytes, start: int, end: int) -> int:
    """Where the zeros begin with which a part of a file ends."""
    while end > start:
        block = data[max(start, end - (1 << 16)) : end]
        kept = len(block.rstrip(b"\0"))
        end -= len(block) - kept
        if kept:
            break
    return end


def _refuse_holes(data: bytes, layout: Layout) -> None:
    """libtiff passes over what it cannot read in these."""
    for offset, length in layout.places:
        if data.find(_HOLE, offset, offset + length) >= 0:
            name = "JPEG" if layout.compression == OLD_JPEG else "fax"
            raise FileFault(f"damaged: its {name} data has a hole")
