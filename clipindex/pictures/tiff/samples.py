"""From a TIFF's strips or tiles to arrays of samples, a few rows at a time.

`decompress` gives rows of bytes. This module undoes bit depths, byte orders, predictors, tiles
and planes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clipindex.pictures.colours import Bytes, Values
from clipindex.pictures.tiff.decompress import BAND_BYTES, decompressed
from clipindex.pictures.tiff.layout import (
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    OLD_DEFLATE,
    ZSTD,
    Layout,
)
from clipindex.pictures.tiff.libtiff import Piece

Samples = Values  # [rows, width, samples]

_PREDICTED = {LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def bands(data: bytes, layout: Layout, tables: bytes = b"") -> Iterator[Samples]:
    """The picture's rows from the top, in arrays of the samples' own type: [rows, width, samples].

    Only planes of colour and alpha are read. `tables` are those that JPEG strips share. Raises
    FileFault if the data is damaged.
    """
    used = layout.samples_used
    planes = range(used) if layout.planes else range(1)
    step = max(1, BAND_BYTES // (layout.row_bytes * layout.piece_rows(0) * layout.across))
    left = layout.height
    for first in range(0, layout.down, step):
        rows_of_pieces = range(first, min(first + step, layout.down))
        parts = [_rows(data, layout, plane, rows_of_pieces, tables) for plane in planes]
        chunk = max(1, BAND_BYTES // parts[0].shape[1])
        for at in range(0, len(parts[0]), chunk):
            values = [_samples(part[at : at + chunk], layout) for part in parts]
            whole = values[0] if len(values) == 1 else np.concatenate(values, axis=2)
            if left > 0:  # the lowest tiles go on below the picture
                yield whole[:left, : layout.width, :used]
            left -= len(whole)


def _rows(data: bytes, layout: Layout, plane: int, rows_of_pieces: range, tables: bytes) -> Bytes:
    """The bytes of some rows of pieces: [rows, bytes]. Tiles are put side by side."""
    start = plane * layout.across * layout.down
    numbers = [
        start + row * layout.across + column
        for row in rows_of_pieces
        for column in range(layout.across)
    ]
    heights = [layout.piece_rows(row) for row in rows_of_pieces for _ in range(layout.across)]
    pieces = [_piece(data, layout, number) for number in numbers]
    raw = decompressed(pieces, heights, layout, tables)
    if layout.across == 1:
        return raw
    tiles = raw.reshape(len(rows_of_pieces), layout.across, heights[0], layout.row_bytes)
    return tiles.swapaxes(1, 2).reshape(-1, layout.across * layout.row_bytes)


def _piece(data: bytes, layout: Layout, number: int) -> Piece:
    offset, length = layout.places[number]
    piece = memoryview(data)[offset : offset + length]
    if layout.bits_reversed and layout.compression != JPEG:
        return bytes(piece).translate(_REVERSED)
    return piece


def _samples(rows: Bytes, layout: Layout) -> Samples:
    """Rows of bytes to [rows, width, samples] in this machine's byte order."""
    if layout.subsampling != (1, 1):
        return _upsampled(rows, layout)
    each = 1 if layout.planes else layout.samples
    height = len(rows)
    rows = np.ascontiguousarray(rows).reshape(-1, layout.row_bytes)
    if layout.compression in _PREDICTED and layout.predictor == 3:
        values = _float_predicted(rows, layout, each)
    elif layout.bits in (8, 16, 32, 64):
        values = _typed(rows, layout, each)
    else:
        values = _unpacked_bits(rows, layout.bits, layout.piece_width * each)
    return values.reshape(height, -1, each)


def _typed(rows: Bytes, layout: Layout, each: int) -> Samples:
    """Samples of whole bytes; horizontal differences are added up."""
    size = layout.bits // 8
    values = rows.view(f"{layout.order}u{size}").reshape(len(rows), -1, each)
    if layout.compression in _PREDICTED and layout.predictor == 2:
        values = np.add.accumulate(values, axis=1, dtype=f"=u{size}")
    code = {"unsigned": "u", "signed": "i", "float": "f"}[layout.kind]
    return values.astype(f"=u{size}", copy=False).view(f"={code}{size}")


def _float_predicted(rows: Bytes, layout: Layout, each: int) -> Samples:
    """Adobe's predictor 3: differences of a row's bytes, sorted by weight, heaviest first."""
    size = layout.bits // 8
    summed = np.add.accumulate(rows.reshape(len(rows), -1, each), axis=1, dtype=np.uint8)
    planes = summed.reshape(len(rows), size, -1)
    return np.ascontiguousarray(planes.swapaxes(1, 2)).view(f">f{size}").astype(f"=f{size}")


def _unpacked_bits(rows: Bytes, bits: int, count: int) -> Samples:
    """Samples of any number of bits, most significant first; each row begins at a byte."""
    ones = np.unpackbits(rows, axis=1, count=count * bits).reshape(len(rows), count, bits)
    values = np.zeros((len(rows), count), np.uint8 if bits <= 8 else np.uint32)
    for bit in range(bits):
        values = (values << 1) | ones[:, :, bit]
    return values


def _upsampled(rows: Bytes, layout: Layout) -> Samples:
    """YCbCr with one colour a block of pixels: [block rows, bytes] -> [rows, width, 3]."""
    across, down = layout.subsampling
    height = len(rows)
    blocks = np.ascontiguousarray(rows).reshape(height, -1, across * down + 2)
    columns = blocks.shape[1]
    bright = blocks[:, :, :-2].reshape(height, columns, down, across).swapaxes(1, 2)
    colours = blocks[:, :, -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.concatenate((bright.reshape(*colours.shape[:2], 1), colours), axis=2)
