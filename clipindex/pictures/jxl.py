"""JPEG XL decoded by libjxl. The only module that imports imagecodecs, the extra `jxl`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from clipindex.errors import FileFault

if TYPE_CHECKING:
    from clipindex.pictures.colours import Values

MISSING = "a JPEG XL picture: install clipindex[jxl] to read it"
_MOST_METADATA = 1 << 20  # bytes that Brotli may unpack to


@cache
def version() -> str | None:
    """imagecodecs', without loading it; None without the extra."""
    try:
        return version_of("imagecodecs") if find_spec("imagecodecs") else None
    except PackageNotFoundError:
        return None


def pixels(data: bytes) -> Values:
    """The first picture, turned upright: [height, width] or [height, width, 2 to 4]; for grey
    with channels that are not alpha [channels, height, width]. Integers are not rescaled.

    Raises ValueError where it is damaged. One thread: clipindex decodes several files side by
    side. Other threads go on meanwhile.
    """
    imagecodecs = _imagecodecs()
    try:
        decoded: Values = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    except imagecodecs.JpegxlError as error:
        if "NEED_MORE_INPUT" in str(error):
            raise ValueError("cut short: its data ends before the picture does") from None
        raise ValueError("the coded data of the picture is broken") from None
    return decoded


def jpeg(data: bytes) -> bytes | None:
    """The JPEG file that the picture was made from, to the byte; None if it cannot be made."""
    imagecodecs = _imagecodecs()
    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError, RuntimeError):
        return None


def unpacked(data: bytes) -> bytes | None:
    """Metadata that Brotli has made smaller; None where it is damaged or large."""
    imagecodecs = _imagecodecs()
    try:
        return bytes(imagecodecs.brotli_decode(data, out=_MOST_METADATA))
    except (imagecodecs.BrotliError, ValueError, RuntimeError):
        return None


def _imagecodecs() -> Any:
    if version() is None:
        raise FileFault(MISSING, skipped=True)
    try:
        import imagecodecs
    except ImportError as error:
        raise FileFault(
            f"a JPEG XL picture, but imagecodecs fails: {error}", transient=True
        ) from error
    return imagecodecs
