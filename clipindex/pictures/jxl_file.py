"""A JPEG XL file as a picture of Pillow's, opened but not decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageFile

from clipindex.pictures import exif, jxl, jxl_header
from clipindex.pictures.colours import Scale, Values

_BAND = 1 << 22  # samples that are rescaled at a time


class JxlImageFile(ImageFile.ImageFile):
    """8 bits: deeper pictures are rescaled. Upright, so its EXIF says so too."""

    format = "JXL"

    def _open(self) -> None:
        self.data = jxl_header.without_hole(self.fp.read() if self.fp else b"")
        self.header = jxl_header.parse(self.data)
        self._size = self.header.width, self.header.height
        self._mode = self.header.mode
        self.info["exif"] = self._exif_block()
        try:
            self.getexif()[exif.ORIENTATION] = 1
        except Exception:  # damaged EXIF costs no picture
            self.info["exif"] = b""

    def _exif_block(self) -> bytes:
        """Up to its TIFF header stand the bytes that are left out."""
        block = self.header.exif or b""
        if self.header.packed:
            block = jxl.unpacked(block) or b""
        return block[4 + int.from_bytes(block[:4], "big") :]

    def load(self) -> Any:
        """Decode, the first time."""
        if self._im is None:
            image = _image(jxl.pixels(self.data), self.header)
            self.im, self.readonly, self.data = image.im, image.readonly, b""
        return Image.Image.load(self)


def _image(values: Values, header: jxl_header.Header) -> Image.Image:
    if values.ndim == 3 and header.mode == "L":
        values = values[0]  # behind it are channels that are not alpha
    if values.shape[:2] != (header.height, header.width):
        raise ValueError("its size is not what it says")
    is_float = values.dtype.kind == "f"
    if is_float or header.bits != 8:
        white = 1.0 if is_float else 2.0**header.bits - 1
        values = _rescaled(values, Scale(0.0, white))
    size = header.width, header.height
    return Image.frombuffer(header.mode, size, values, "raw", header.mode, 0, 1)


def _rescaled(values: Values, scale: Scale) -> Values:
    rows = max(1, _BAND // values[0].size)
    pixels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), rows):
        pixels[top : top + rows] = scale.to_bytes(values[top : top + rows])
    return pixels
