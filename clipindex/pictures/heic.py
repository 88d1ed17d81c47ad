"""HEIC pictures as Pillow's. The door to pi-heif, which is loaded when the first one comes."""

from __future__ import annotations

import io
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from clipindex.errors import FileFault

if TYPE_CHECKING:
    from PIL import Image


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
        from pi_heif import HeifImageFile

        image: Image.Image = HeifImageFile(io.BytesIO(data))
    except ImportError as error:
        if version() is None:
            raise FileFault("a HEIC picture: install pi-heif to read it", skipped=True) from error
        raise FileFault(f"a HEIC picture, but pi-heif fails: {error}", transient=True) from error
    return image
