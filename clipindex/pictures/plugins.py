"""The readers of Pillow, one for each format.

Files go to the plugin of their format, not to `Image.open`: its limit for decompression bombs is
a setting of the whole process, which belongs to the program that imports this package.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from PIL import Image

from clipindex.pictures import jpeg, jpeg_metadata

_PLUGINS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
}


@cache
def plugin(kind: str) -> Callable[[io.BytesIO], Any]:
    """The class of Pillow that reads a format; loaded when the first such file comes."""
    module, name = _PLUGINS[kind]
    read_by: Any = getattr(import_module(f"PIL.{module}"), name)
    return _lean(read_by) if kind == "WEBP" else read_by  # type: ignore[no-any-return]


def _lean(webp_image_file: Any) -> Any:
    """A class that gives the decoder's two pictures back before Pillow makes a third, but for an
    animation, of which more frames may be wanted."""

    class LeanWebPImageFile(webp_image_file):  # type: ignore[misc]
        def load_prepare(self) -> None:
            if self.n_frames == 1:
                self._decoder = None
            super().load_prepare()

    return LeanWebPImageFile


def open_jpeg(data: bytes) -> Image.Image:
    """Metadata that Pillow cannot read is left out, but for what says how to turn it."""
    try:
        image: Image.Image = plugin("JPEG")(io.BytesIO(data))
    except Exception:  # Pillow raises OSError, ValueError, SyntaxError, struct.error...
        image = plugin("JPEG")(io.BytesIO(jpeg_metadata.without_metadata(jpeg.parse(data))))
    return image
