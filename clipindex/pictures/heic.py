"""HEIC pictures as Pillow's. The door to pi-heif, which is loaded when the first one comes.

libheif reads all headers. Where FFmpeg is installed, it decodes what it decodes alike.
"""

from __future__ import annotations

import io
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

from PIL import Image, ImageFile

from clipindex.errors import FileFault
from clipindex.pictures import ffmpeg


class HeicImageFile(ImageFile.ImageFile):
    """Read by pi-heif, decoded by FFmpeg or else by pi-heif."""

    format = "HEIF"

    def _open(self) -> None:
        self._data = self.fp.read() if self.fp else b""
        self._whole: Any = _by_libheif(self._data)
        self._size, self._mode, self.info = self._whole.size, self._whole.mode, self._whole.info

    def load(self) -> Any:
        """Decode, the first time."""
        if self._im is None:
            image = None
            if self.mode == "RGB":
                image = ffmpeg.decoded(self._data, self.size, _by_libheif)
            if image is None:
                self._whole.load()
                image = self._whole
            self._size, self._mode, self.im = image.size, image.mode, image.im
            self._data, self._whole = b"", None
        return Image.Image.load(self)


def _by_libheif(data: bytes) -> Image.Image:
    from pi_heif import HeifImageFile

    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image


@cache
def version() -> str | None:
    """pi-heif's, without loading it."""
    try:
        return version_of("pi-heif")
    except PackageNotFoundError:
        return None


def open_heic(data: bytes) -> Image.Image:
    """The primary picture, opened but not decoded: 8 bit, and 16 where it is grey and deeper.

    libheif turns it as the container says and the plugin sets the EXIF orientation to 1, so
    it is upright. Made without registering the plugin: other users of Pillow see no change.
    """
    try:
        return HeicImageFile(io.BytesIO(data))
    except ImportError as error:
        if version() is None:
            raise FileFault("a HEIC picture: install pi-heif to read it", skipped=True) from error
        raise FileFault(f"a HEIC picture, but pi-heif fails: {error}", transient=True) from error
