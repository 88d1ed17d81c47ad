"""Pure: check that all of a TIFF's pixels are in the file, without decoding them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from clipindex.errors import FileFault
from clipindex.pictures.rows import Rows
from clipindex.pictures.tiff.layout import CCITT, NO_COMPRESSION, OLD_JPEG, Layout

# A fax has at most 11 zero bits in a row, except to fill up a line. In an old JPEG, codes of
# brightness and of colours alternate, and in the usual tables one of them is not all zeros.
_HOLE = bytes(64)


def intact(layout: Layout, data: bytes) -> Layout:
    """The layout with only the pieces that the picture needs.

    An uncompressed piece gets the length of its pixels, whatever the file says. Raises FileFault
    if a piece lies outside the file or has a hole.
    """
    size = len(data)
    pieces = layout.across * layout.down
    needed = pieces * (layout.samples_used if layout.planes else 1)
    if len(layout.places) < needed:
        what = "tiles" if layout.tiled else "strips"
        raise FileFault(f"damaged: {len(layout.places)} of {needed} {what} are listed")
    places = layout.places[:needed]
    if layout.compression == NO_COMPRESSION:
        heights = (layout.piece_rows(number % pieces // layout.across) for number in range(needed))
        places = tuple(
            (offset, layout.row_bytes * count)
            for (offset, _), count in zip(places, heights, strict=True)
        )
    else:
        places = tuple((offset, length or size - offset) for offset, length in places)
    if any(offset == 0 for offset, _ in places):
        raise FileFault("damaged: parts of the picture are left out")
    if any(length <= 0 or offset + length > size for offset, length in places):
        raise FileFault("damaged: cut short, parts of the picture lie beyond the file's end")
    layout = replace(layout, places=places)
    if layout.compression == NO_COMPRESSION and layout.bits >= 8:
        _refuse_zeros(data, layout)
    if layout.compression in (*CCITT, OLD_JPEG):
        _refuse_holes(data, layout)
    return layout


def _refuse_zeros(data: bytes, layout: Layout) -> None:
    """Refuse uncompressed pixels with a hole."""
    samples = 1 if layout.planes else layout.samples
    pixel = max(1, layout.bits * samples // 8)
    total = sum(length for _, length in layout.places)
    for start, end in _areas(layout):
        part = Rows(data, start, end, row=layout.row_bytes, pixel=pixel, total=total)
        if part.have_hole:
            raise FileFault("damaged: a part of its pixels is filled with zeros")


def _areas(layout: Layout) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end; strips that follow each other in the file are one."""
    start = end = 0
    for offset, length in layout.places:
        if offset != end or layout.tiled:
            if end:
                yield start, end
            start = offset
        end = offset + length
    yield start, end


def _refuse_holes(data: bytes, layout: Layout) -> None:
    """Refuse faxes and old JPEGs with a hole: libtiff skips what it cannot read in them."""
    for offset, length in layout.places:
        if data.find(_HOLE, offset, offset + length) >= 0:
            name = "JPEG" if layout.compression == OLD_JPEG else "fax"
            raise FileFault(f"damaged: its {name} data has a hole")
