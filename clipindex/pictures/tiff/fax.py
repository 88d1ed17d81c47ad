"""Faxes (ITU-T T.4 and T.6) in a TIFF, decoded by libtiff and checked by coding them again.

libtiff decodes nearly any bits to something. It cuts or fills a line of the wrong length, with a
warning that Pillow turns off. But T.4 and T.6 leave an encoder almost no choice: coding the pixels
of a sound strip again gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures.colours import Bytes
from clipindex.pictures.tiff import libtiff
from clipindex.pictures.tiff.directory import first_directory
from clipindex.pictures.tiff.layout import Layout
from clipindex.pictures.tiff.libtiff import Piece

_GROUP_3 = 3
_NAMES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}  # Pillow's, by compression
# A difference is damage only behind so much that is the same: bytes, and lines if the encoder
# chooses which of them depend on the line above. Else the encoder has a way of its own.
_LEAST_SAME, _LEAST_LINES = 32, 9
_TWO_DIMENSIONAL = 1  # bit of the options
_END_OF_LINE = re.compile("00000000000+1")
_MARKS_OF_THE_END = 12  # bytes: six ends of line, or less


def decompressed(pieces: Sequence[Piece], heights: list[int], layout: Layout) -> Bytes:
    """Strips or tiles of so many rows each, one below the other: uint8 [rows, row_bytes].

    Raises FileFault where the codes are damaged.
    """
    options = layout.fax_options
    image = libtiff.grey(pieces, heights, layout.piece_width, layout.compression, options)
    raw = image.tobytes()
    rows = np.frombuffer(raw, np.uint8).reshape(-1, layout.row_bytes)
    top = 0
    for piece, height in zip(pieces, heights, strict=True):
        if not layout.has_bad_lines:
            _refuse_other_codes(bytes(piece), rows[top : top + height], layout)
        top += height
    return rows


def _refuse_other_codes(piece: bytes, rows: Bytes, layout: Layout) -> None:
    again = _coded(rows, layout)
    same = _same(piece, again)
    end = max(len(piece.rstrip(b"\0")), len(again))
    if end - same <= _MARKS_OF_THE_END or same < _LEAST_SAME:
        return
    if layout.compression == _GROUP_3 and layout.fax_options & _TWO_DIMENSIONAL:
        bits = f"{int.from_bytes(piece[:same]):b}"
        if len(_END_OF_LINE.findall(bits)) < _LEAST_LINES:
            return
    raise FileFault("damaged: the codes of a fax do not fit its lines")


def _same(one: bytes, other: bytes) -> int:
    """How many bytes they have in common, from the first."""
    length = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, length) != np.frombuffer(other, np.uint8, length)
    return int(differ.argmax()) if differ.any() else length


def _coded(rows: Bytes, layout: Layout) -> bytes:
    out = io.BytesIO()
    image = Image.frombytes("1", (layout.piece_width, len(rows)), rows.tobytes())
    options = {292: layout.fax_options} if layout.compression == _GROUP_3 else {}
    image.save(
        out,
        "TIFF",
        compression=_NAMES[layout.compression],
        tiffinfo=options,
        strip_size=rows.size + 1,
    )
    directory = first_directory(out.getvalue())
    start = directory.number(273)
    return out.getvalue()[start : start + directory.number(279)]
