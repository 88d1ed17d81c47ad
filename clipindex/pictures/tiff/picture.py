"""Open a TIFF as a Pillow image, or refuse it with the reason.

`samples` reads the pixels. Two rare kinds go to the libtiff within Pillow instead: the JPEG of
TIFF 6.0, and compressed YCbCr.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures.tiff.colours import converters, is_mislabelled
from clipindex.pictures.tiff.directory import Directory, first_directory, picture_page
from clipindex.pictures.tiff.extract import standalone
from clipindex.pictures.tiff.integrity import intact
from clipindex.pictures.tiff.layout import (
    DECODED_HERE,
    JPEG,
    NO_COMPRESSION,
    OLD_JPEG,
    PALETTE,
    YCBCR,
    Layout,
    layout_of,
    unsupported,
)
from clipindex.pictures.tiff.libtiff import LibtiffPicture
from clipindex.pictures.tiff.samples import Samples, bands

# Bytes held at once while a picture is decoded, beside the file: a row of pieces, twice if it is
# rearranged, and Pillow's four bytes a pixel.
MAX_HELD = 5 << 28  # 1.25 GiB

_JPEG_OFFSET, _END_OF_JPEG = 513, b"\xff\xd9"


def open_tiff(data: bytes) -> Image.Image:
    """The picture in a TIFF. Its header is read and checked; its pixels are not decoded yet.

    Raises FileFault with the reason where it is damaged, too large or not supported.
    """
    page = picture_page(data)
    layout = layout_of(page)
    if layout.compression == OLD_JPEG:
        return _old_jpeg(page, layout)
    layout = intact(layout, data)
    if layout.compression in DECODED_HERE and not _is_compressed_ycbcr(layout):
        return _Picture(page, layout)
    return LibtiffPicture(standalone(page, layout.places))


def _is_compressed_ycbcr(layout: Layout) -> bool:
    """No known program writes it. It stays with libtiff: its rounding is in earlier indexes."""
    return layout.photometric == YCBCR and layout.compression not in (NO_COMPRESSION, JPEG)


def _old_jpeg(page: Directory, layout: Layout) -> Image.Image:
    """TIFF 6.0's first way to hold a JPEG: tags have the offsets of its parts."""
    if page != first_directory(page.data):
        raise unsupported(f"old-style JPEG compressed {layout.name} that is not the first page")
    if _JPEG_OFFSET not in page.entries:  # strips or tiles, which need no marker at their end
        intact(layout, page.data)
    elif _END_OF_JPEG not in page.data[page.number(_JPEG_OFFSET) :]:
        raise FileFault("damaged: cut short, the end of its JPEG is missing")
    return LibtiffPicture(page.data)


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
        """From the page's own tags, and the EXIF and GPS directories that they name."""
        if self._about is None:
            self._about = Image.Exif()
            self._about.load(standalone(self._page))
        return self._about


def _mode(layout: Layout) -> str:
    """Pillow's mode for the picture."""
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
    """The whole picture in `mode`, 8 bits a sample."""
    tables = page.blob(347)

    if layout.kind == "signed" and is_mislabelled(bands(page.data, layout, tables)):
        layout = replace(layout, kind="unsigned")

    def read() -> Iterator[Samples]:
        return bands(page.data, layout, tables)

    image = Image.new(mode, (layout.width, layout.height), None)  # every row is written below
    colour, alpha = converters(page, layout, read)
    row = 0
    for samples in read():
        part = colour(samples[:, :, : layout.colours])
        if layout.alpha != "none":
            opacity = alpha(samples[:, :, layout.colours :])
            part = np.concatenate((part, opacity), axis=2)
        size = (layout.width, len(part))
        pixels = np.ascontiguousarray(part).reshape(-1)
        image.paste(Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1), (0, row))
        row += len(part)
    return image
