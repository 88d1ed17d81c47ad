"""From a TIFF's compressed strips or tiles to rows of bytes; what is damaged is refused.

Python's zlib and lzma decompress most, Pillow's JPEG decoder and libtiff the others. libtiff gets
the strips as one grey picture with a header of ours, so it reads no tag of the file.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from clipindex.errors import FileFault
from clipindex.pictures import damage, jpeg, jpeg_holes
from clipindex.pictures.colours import Bytes
from clipindex.pictures.tiff import fax, libtiff
from clipindex.pictures.tiff.layout import (
    CCITT,
    JPEG,
    LZMA,
    LZW,
    NO_COMPRESSION,
    PACKBITS,
    YCBCR,
    ZSTD,
    Layout,
)
from clipindex.pictures.tiff.libtiff import Piece

BAND_BYTES = 1 << 22  # decompressed at a time, if strips are no larger
_NAMES = {LZW: "LZW", ZSTD: "Zstandard", PACKBITS: "PackBits"}
# Zeros that no encoder writes within a strip. LZW has a longer code for what comes again; the
# others store at most 128 equal bytes as they are.
_HOLES = {LZW: bytes(16), PACKBITS: bytes(200), ZSTD: bytes(200)}

_END_OF_IMAGE = 0xD9
# Start of the image, and what programs add (APPn, comments): it could name other colours.
_DROPPED = {0, 0xD8, 0xFE, *range(0xE0, 0xF0)}
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # and a byte: 1 for YCbCr, 0 for colours as they are


def decompressed(
    pieces: Sequence[Piece], heights: list[int], layout: Layout, tables: bytes
) -> Bytes:
    """Pieces of so many rows each, one below the other: uint8 [rows, row_bytes].

    `tables` are those that JPEG pieces share. Raises FileFault where a piece is damaged.
    """
    hole = _HOLES.get(layout.compression)
    if hole and any(hole in bytes(piece).rstrip(b"\0") for piece in pieces):
        raise FileFault(f"damaged: its {_NAMES[layout.compression]} data has a hole")
    if layout.compression in (LZW, ZSTD):
        return _by_libtiff(pieces, heights, layout)
    if layout.compression in CCITT:
        return fax.decompressed(pieces, heights, layout)
    parts = []
    for piece, height in zip(pieces, heights, strict=True):
        size = height * layout.row_bytes
        if layout.compression == NO_COMPRESSION:
            raw: Piece = piece
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


def _inflated(piece: Piece, size: int, layout: Layout) -> bytes:
    """At most `size` bytes. The rest is unpacked as well: the checksum is at the stream's end."""
    # The last strip may hold all its rows, although the picture ends before.
    left = max(layout.piece_height * layout.row_bytes, BAND_BYTES)
    try:
        stream = lzma.LZMADecompressor() if layout.compression == LZMA else zlib.decompressobj()
        raw = stream.decompress(piece, size)
        while not stream.eof and left > 0:
            packed = b"" if isinstance(stream, lzma.LZMADecompressor) else stream.unconsumed_tail
            more = stream.decompress(packed, min(left, BAND_BYTES))
            if not more and not stream.eof:
                break
            left -= len(more)
    except (zlib.error, lzma.LZMAError) as error:
        raise FileFault(f"damaged: {error}") from error
    if not stream.eof:
        raise FileFault("damaged: the compressed data of a strip or tile has no end")
    return raw


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


def _by_libtiff(pieces: Sequence[Piece], heights: list[int], layout: Layout) -> Bytes:
    """Decompressed as one grey picture, a byte a pixel, with a strip for each piece."""
    rows, width = sum(heights), layout.row_bytes
    out = np.empty((rows, width), np.uint8)
    try:
        image = libtiff.grey(pieces, heights, width, layout.compression)
        image.load()
    except FileFault as fault:
        name = _NAMES[layout.compression]
        raise FileFault(f"damaged: its {name} data cannot be decoded") from fault
    step = max(1, BAND_BYTES // width)
    for at in range(0, rows, step):
        end = min(rows, at + step)
        out[at:end] = np.asarray(image.crop((0, at, width, end)))
    return out


def _jpeg(piece: Piece, layout: Layout, height: int, tables: bytes) -> bytes:
    """The pixels of a piece that is a JPEG of its own; it may lack the tables that all share."""
    parts = jpeg.parse(bytes(piece)).segments
    if not any(part.marker == _END_OF_IMAGE for part in parts):
        raise FileFault("damaged: a JPEG strip or tile is cut short")
    kept = [bytes(piece[part.start : part.end]) for part in parts if part.marker not in _DROPPED]
    shared = tables[2:-2] if tables.startswith(b"\xff\xd8") else b""
    colour = layout.photometric == YCBCR
    samples = 1 if layout.planes else layout.samples
    adobe = _ADOBE + bytes([colour]) if samples == 3 else b""
    stream = jpeg.parse(b"\xff\xd8" + adobe + shared + b"".join(kept))
    try:
        image = JpegImageFile(io.BytesIO(stream.data))
        if image.width < layout.piece_width or image.height < height:
            raise FileFault("damaged: a JPEG strip or tile is smaller than its pixels")
        if len(image.getbands()) != samples:
            raise FileFault(f"damaged: a JPEG strip or tile of {image.mode} in a {layout.name}")
        doubts = jpeg_holes.doubts(stream)
        image.load()
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise FileFault("damaged: its JPEG data cannot be decoded") from error
    damage.refuse_zeros(image, stream, doubts)
    return _cropped(image, layout.piece_width, height)


def _cropped(image: Image.Image, width: int, height: int) -> bytes:
    values = np.asarray(image.crop((0, 0, width, height)))
    # Pillow takes any JPEG of four colours for one of Adobe's, which hold them inverted.
    return (255 - values if image.mode == "CMYK" else values).tobytes()
