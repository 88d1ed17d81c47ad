"""TIFF pictures as Pillow's: the page that is the picture, every layout in use, or a reason.

Samples are read by `tiff_samples`, whatever their depth. What is coded as a fax or in the JPEG of
TIFF 6.0 goes to the libtiff within Pillow, with a directory that has no tag but those it needs.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from clipindex.errors import FileFault
from clipindex.pictures.tiff_colours import converters
from clipindex.pictures.tiff_directory import Directory, picture_page
from clipindex.pictures.tiff_integrity import intact
from clipindex.pictures.tiff_layout import (
    DECODED_HERE,
    JPEG,
    NO_COMPRESSION,
    PALETTE,
    YCBCR,
    Layout,
    layout_of,
)
from clipindex.pictures.tiff_samples import Samples, bands

# Bytes held at once while a picture is decoded, beside the file: its largest strip or tile, twice
# where it has to be rearranged, and Pillow's four bytes a pixel.
MAX_HELD = 5 << 28  # 1.25 GiB

_ABOUT = (271, 272, 274, 306, 34665, 34853)  # camera, orientation, date, EXIF, GPS
_FAX_TAGS = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 322, 323, 324, 325)
_OLD_JPEG_TAGS = (*range(512, 522), 529, 530, 531, 532)


def open_tiff(data: bytes) -> Image.Image:
    """The picture in a TIFF, its header read and checked, not yet decoded.

    Raises FileFault with the reason where it is damaged, too large or not supported.
    """
    page = picture_page(data)
    layout = intact(layout_of(page), data)
    if layout.compression in DECODED_HERE and not _is_compressed_ycbcr(layout):
        return _Picture(page, layout)
    return TiffImageFile(_with_directory(page, (*_FAX_TAGS, *_OLD_JPEG_TAGS, *_ABOUT)))


def _is_compressed_ycbcr(layout: Layout) -> bool:
    """No program is known to write it; libtiff's rounding is kept, as old indexes have it."""
    return layout.photometric == YCBCR and layout.compression not in (NO_COMPRESSION, JPEG)


class _Picture(Image.Image):
    """A page that is decoded when it is loaded."""

    format = "TIFF"
    format_description = "TIFF"

    def __init__(self, page: Directory, layout: Layout) -> None:
        super().__init__()
        self._page, self._layout = page, layout
        self._about: Image.Exif | None = None
        self._size = (layout.width, layout.height)
        self._mode = _mode(layout)
        self._decoded = False
        _refuse_large(layout)

    def load(self) -> Any:
        """Decode, the first time."""
        if not self._decoded:
            self.im = _decode(self._page, self._layout, self._mode).im
            self._decoded = True
        return super().load()

    def getexif(self) -> Image.Exif:
        """What the page's own tags, and the EXIF and GPS directories they name, tell."""
        if self._about is None:
            self._about = Image.Exif()
            self._about.bigtiff, self._about.endian = self._page.big, self._page.order
            file = _with_directory(self._page, _ABOUT)
            self._about.load_from_fp(file, len(self._page.data))
        return self._about


def _mode(layout: Layout) -> str:
    """Of the picture in Pillow's words."""
    grey = layout.colours == 1 and layout.photometric != PALETTE
    if layout.alpha == "none":
        return "L" if grey else "RGB"
    if layout.alpha == "associated":
        return "La" if grey else "RGBa"
    return "LA" if grey else "RGBA"


def _refuse_large(layout: Layout) -> None:
    piece = layout.row_bytes * layout.piece_rows(0) * layout.across
    held = 4 * layout.width * layout.height
    held += piece * (2 if layout.compression != NO_COMPRESSION or layout.tiled else 0)
    if held > MAX_HELD:
        raise FileFault(
            f"{layout.width}x{layout.height} pixels in pieces of {piece >> 20} MiB: to decode it "
            f"takes {held >> 20} MiB of memory, and the budget is {MAX_HELD >> 20}"
        )


def _decode(page: Directory, layout: Layout, mode: str) -> Image.Image:
    """All of the picture, 8 bit, in that mode."""
    tables = page.blob(347)

    def read() -> Iterator[Samples]:
        return bands(page.data, layout, tables)

    image = Image.new(mode, (layout.width, layout.height))
    colour, alpha = converters(page, layout, read)
    row = 0
    for samples in read():
        part = colour(samples[:, :, : layout.colours])
        if layout.alpha != "none":
            opacity = alpha(samples[:, :, layout.colours :])
            part = np.concatenate((part, opacity), axis=2)
        size = (layout.width, len(part))
        pixels = np.ascontiguousarray(part).tobytes()
        image.paste(Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1), (0, row))
        row += len(part)
    return image


# --- files -----------------------------------------------------------------------------------


class _Spliced(io.RawIOBase):
    """The bytes of a file with another first directory, which lies behind its end."""

    def __init__(self, data: bytes, head: bytes, tail: bytes) -> None:
        self._parts = (head, memoryview(data)[len(head) :], tail)
        self._size = len(data) + len(tail)
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        start, end, at = self._at, self._at + len(buffer), 0
        out = io.BytesIO()
        for part in self._parts:
            out.write(part[max(0, start - at) : max(0, end - at)])
            at += len(part)
        count = out.tell()
        buffer[:count] = out.getbuffer()
        self._at += count
        return count


def _with_directory(page: Directory, tags: tuple[int, ...]) -> io.BufferedReader:
    """The page's file, seen as one whose only directory has those of the page's tags.

    Entries are copied as they are, since the values they point to stay where they are. So no
    reader sees a tag that it could stumble over, or a page that is not the picture.
    """
    width, inline = (20, "Q") if page.big else (12, "L")
    places = sorted((tag, page.entries[tag].at) for tag in tags if tag in page.entries)
    entries = b"".join(page.data[at : at + width] for _, at in places)
    count = struct.pack(page.order + ("Q" if page.big else "H"), len(places))
    end = struct.pack(page.order + inline, 0)
    pointer = struct.pack(page.order + inline, len(page.data))
    head = page.data[: 8 if page.big else 4] + pointer
    return io.BufferedReader(_Spliced(page.data, head, count + entries + end))
