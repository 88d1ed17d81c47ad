"""From a TIFF's strips or tiles to arrays of samples, a few rows at a time.

Strips are decompressed by Python's zlib and lzma, by Pillow's JPEG decoder, or by the libtiff
within Pillow, which is handed each strip as a grey picture of bytes: so it reads no header but
ours. Bit depths, byte orders, predictors, tiles and planes are undone here.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from clipindex.errors import FileFault
from clipindex.pictures import jpeg
from clipindex.pictures.tiff_layout import (
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    NO_COMPRESSION,
    OLD_DEFLATE,
    PACKBITS,
    YCBCR,
    ZSTD,
    Layout,
)

Samples = np.ndarray[tuple[int, ...], np.dtype[Any]]  # [rows, width, samples]
Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

BAND_BYTES = 1 << 22  # decompressed at a time, if strips are no larger
_PREDICTED = {LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_NAMES = {LZW: "LZW", ZSTD: "Zstandard", PACKBITS: "PackBits"}
# Zeros that no encoder writes within a strip. LZW has a longer code for what comes again; the
# others store at most 128 equal bytes as they are.
_HOLES = {LZW: bytes(16), PACKBITS: bytes(200), ZSTD: bytes(200)}


def bands(data: bytes, layout: Layout, tables: bytes = b"") -> Iterator[Samples]:
    """The picture's rows from the top, in arrays of its own type: [rows, width, samples].

    Of planes only those are read that make colour and alpha. `tables` are those that JPEG
    strips share. Raises FileFault where the data is damaged.
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
    """The bytes of some rows of pieces, [rows, bytes]: those of tiles put side by side."""
    start = plane * layout.across * layout.down
    numbers = [
        start + row * layout.across + column
        for row in rows_of_pieces
        for column in range(layout.across)
    ]
    heights = [layout.piece_rows(row) for row in rows_of_pieces for _ in range(layout.across)]
    pieces = [_piece(data, layout, number) for number in numbers]
    raw = _decompressed(pieces, heights, layout, tables)
    if layout.across == 1:
        return raw
    tiles = raw.reshape(len(rows_of_pieces), layout.across, heights[0], layout.row_bytes)
    return tiles.swapaxes(1, 2).reshape(-1, layout.across * layout.row_bytes)


def _piece(data: bytes, layout: Layout, number: int) -> memoryview | bytes:
    offset, length = layout.places[number]
    piece = memoryview(data)[offset : offset + length]
    if layout.bits_reversed and layout.compression != JPEG:
        return bytes(piece).translate(_REVERSED)
    return piece


def _decompressed(
    pieces: Sequence[memoryview | bytes], heights: list[int], layout: Layout, tables: bytes
) -> Bytes:
    """Pieces of so many rows each, one below the other: [rows, row_bytes]."""
    hole = _HOLES.get(layout.compression)
    if hole and any(hole in bytes(piece).rstrip(b"\0") for piece in pieces):
        raise FileFault(f"damaged: its {_NAMES[layout.compression]} data has a hole")
    if layout.compression in (LZW, ZSTD):
        return _by_libtiff(pieces, heights, layout)
    parts = []
    for piece, height in zip(pieces, heights, strict=True):
        size = height * layout.row_bytes
        if layout.compression == NO_COMPRESSION:
            raw: bytes | memoryview = piece
        elif layout.compression == JPEG:
            raw = _jpeg(piece, layout, height, tables)
        elif layout.compression == PACKBITS:
            raw = _unpacked(bytes(piece), size)
        else:
            raw = _inflated(piece, size, layout)
        if len(raw) < size:
            raise FileFault("damaged: a strip or tile holds less than its pixels")
        parts.append(np.frombuffer(raw, np.uint8, size).reshape(height, layout.row_bytes))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _inflated(piece: memoryview | bytes, size: int, layout: Layout) -> bytes:
    """At most `size` bytes, however much the data would make."""
    try:
        if layout.compression == LZMA:
            return lzma.LZMADecompressor().decompress(piece, size)
        stream = zlib.decompressobj()
        raw = stream.decompress(piece, size)
        # To the checksum: the last strip may go on below the picture.
        stream.decompress(stream.unconsumed_tail, max(size, BAND_BYTES))
        return raw
    except (zlib.error, lzma.LZMAError) as error:
        raise FileFault(f"damaged: {error}") from error


def _unpacked(piece: bytes, size: int) -> bytes:
    """PackBits: a byte n, then n + 1 bytes as they are, or one that stands 257 - n times."""
    out = bytearray()
    at, end = 0, len(piece)
    while at < end and len(out) < size:
        count = piece[at]
        if count < 128:
            out += piece[at + 1 : at + count + 2]
            at += count + 2
        else:
            if count > 128:
                out += piece[at + 1 : at + 2] * (257 - count)
            at += 2 if count > 128 else 1
    return bytes(out)


def _by_libtiff(pieces: Sequence[memoryview | bytes], heights: list[int], layout: Layout) -> Bytes:
    """Decompressed as one grey picture, a byte a pixel, with a strip for each piece."""
    name = _NAMES[layout.compression]
    rows, width = sum(heights), layout.row_bytes
    file = b"".join((_header(pieces, heights, width, layout.compression), *pieces))
    out = np.empty((rows, width), np.uint8)
    try:
        image = TiffImageFile(io.BytesIO(file))
        image.load()
        step = max(1, BAND_BYTES // width)
        for at in range(0, rows, step):
            end = min(rows, at + step)
            out[at:end] = np.asarray(image.crop((0, at, width, end)))
    except (OSError, ValueError, SyntaxError) as error:
        raise FileFault(f"damaged: its {name} data cannot be decoded") from error
    return out


def _header(
    pieces: Sequence[memoryview | bytes], heights: list[int], width: int, compression: int
) -> bytes:
    """Of a TIFF with one grey picture of these strips, which follow it."""
    count, tags = len(pieces), 9
    lists = 8 + 2 + 12 * tags + 4
    start = lists + (8 * count if count > 1 else 0)
    lengths = [len(piece) for piece in pieces]
    offsets = np.cumsum([start, *lengths[:-1]]).tolist()
    entries = [
        (256, 1, width),
        (257, 1, sum(heights)),
        (258, 1, 8),
        (259, 1, compression),
        (262, 1, 1),
        (273, count, lists if count > 1 else start),
        (277, 1, 1),
        (278, 1, heights[0]),
        (279, count, lists + 4 * count if count > 1 else lengths[0]),
    ]
    head = b"II*\0" + struct.pack("<LH", 8, tags)
    head += b"".join(struct.pack("<HHLL", tag, 4, number, value) for tag, number, value in entries)
    head += bytes(4)
    return head if count == 1 else head + struct.pack(f"<{2 * count}L", *offsets, *lengths)


def _jpeg(piece: memoryview | bytes, layout: Layout, height: int, tables: bytes) -> bytes:
    """A strip or tile that is a JPEG of its own; it may lack the tables that all share."""
    parts = jpeg.parse(bytes(piece)).segments
    if not any(part.marker == _END_OF_IMAGE for part in parts):
        raise FileFault("damaged: a JPEG strip or tile is cut short")
    kept = [bytes(piece[part.start : part.end]) for part in parts if part.marker not in _DROPPED]
    shared = tables[2:-2] if tables.startswith(b"\xff\xd8") else b""
    colour = layout.photometric == YCBCR
    samples = 1 if layout.planes else layout.samples
    adobe = _ADOBE + bytes([colour]) if samples == 3 else b""
    try:
        image = JpegImageFile(io.BytesIO(b"\xff\xd8" + adobe + shared + b"".join(kept)))
        width = image.width
        if width < layout.piece_width or image.height < height:
            raise FileFault("damaged: a JPEG strip or tile is smaller than its pixels")
        if len(image.getbands()) != samples:
            raise FileFault(f"damaged: a JPEG strip or tile of {image.mode} in a {layout.name}")
        image.load()
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise FileFault("damaged: its JPEG data cannot be decoded") from error
    values = np.asarray(image.crop((0, 0, layout.piece_width, height)))
    # Pillow takes any JPEG of four colours for one of Adobe's, which hold them inverted.
    return (255 - values if image.mode == "CMYK" else values).tobytes()


_END_OF_IMAGE = 0xD9
# Start of the image, and what programs add (APPn, comments): it could name other colours.
_DROPPED = {0, 0xD8, 0xFE, *range(0xE0, 0xF0)}
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # and a byte: 1 for YCbCr, 0 for colours as they are


# --- samples ---------------------------------------------------------------------------------


def _samples(rows: Bytes, layout: Layout) -> Samples:
    """[rows, width, samples] in this machine's byte order, of rows of bytes."""
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
    """Whole bytes a sample, with the horizontal differences added up."""
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
    """Samples of any number of bits, most significant first; a row begins with a whole byte."""
    ones = np.unpackbits(rows, axis=1, count=count * bits).reshape(len(rows), count, bits)
    values = np.zeros((len(rows), count), np.uint8 if bits <= 8 else np.uint32)
    for bit in range(bits):
        values = (values << 1) | ones[:, :, bit]
    return values


def _upsampled(rows: Bytes, layout: Layout) -> Samples:
    """YCbCr whose colours blocks of pixels share: [block rows, bytes] -> [rows, width, 3]."""
    across, down = layout.subsampling
    height = len(rows)
    blocks = np.ascontiguousarray(rows).reshape(height, -1, across * down + 2)
    columns = blocks.shape[1]
    bright = blocks[:, :, :-2].reshape(height, columns, down, across).swapaxes(1, 2)
    colours = blocks[:, :, -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.concatenate((bright.reshape(*colours.shape[:2], 1), colours), axis=2)
