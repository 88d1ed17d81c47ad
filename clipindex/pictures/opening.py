"""A picture file's bytes opened with Pillow: headers read, damage refused, nothing decoded yet."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures import (
    bmp,
    budget,
    gif,
    heic,
    isobmff,
    jpeg,
    jpeg_holes,
    jpeg_metadata,
    jxl,
    png,
    webp,
)
from clipindex.pictures.jxl_file import JxlImageFile
from clipindex.pictures.plugins import open_jpeg, plugin
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.pictures.tiff.picture import open_tiff

UNREADABLE_CMYK = "a JPEG XL picture in CMYK, which clipindex cannot read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A picture of which the headers were read.

    `stream`: of a JPEG, its file taken apart. `at_least`: the width and height below which a
    reduced decode may not go, if it may be one. `doubts`: what decoding other JPEGs has to show.
    `too_short`: files that must not be decodable.
    """

    image: Image.Image
    kind: str
    stream: jpeg.Stream | None = None
    at_least: tuple[int, int] | None = None
    doubts: tuple[jpeg_holes.Doubt, ...] = ()
    too_short: tuple[bytes, ...] = ()


def open_picture(data: bytes, kind: str, size: int, preprocessing: Preprocessing) -> Opened:
    """`kind` as `picture_format` names it; `size` is the model's.

    Raises FileFault, or whatever Pillow and the parsers raise, where the file is damaged.
    """
    if kind == "JPEG":
        return _open_jpeg(data, size, preprocessing)
    if kind in ("HEIC", "AVIF"):
        return Opened(image=_open_container(data, kind), kind=kind)
    if kind == "WEBP":
        return _open_webp(data)
    if kind == "JXL":
        return _open_jxl(data, size, preprocessing)
    if kind == "TIFF":
        return Opened(image=open_tiff(data), kind=kind)
    if kind == "PNG":
        data = png.without_extras(data)
    elif kind == "GIF":
        data = gif.first_picture(data)
    elif kind == "BMP":
        bmp.check(data)
    return Opened(image=plugin(kind)(io.BytesIO(data)), kind=kind)


def _open_jpeg(data: bytes, size: int, preprocessing: Preprocessing) -> Opened:
    stream, at_least = jpeg.parse(data), None
    if not stream.scans:
        raise FileFault("damaged: its data ends before the picture begins")
    if stream.frame and stream.held_whole:
        size_held = (stream.frame.width, stream.frame.height)
        budget.refuse_bombs(size_held[0] * size_held[1], size_held)
    budget.refuse_time(stream)
    scale = 1 if preprocessing is Preprocessing.EXACT else _scale(stream.frame, 2 * size)
    if scale > 1:
        data, at_least = stream.reduced(scale), (2 * size, 2 * size)
    image = open_jpeg(data if data is not stream.data else jpeg_metadata.without_gaps(stream))
    doubts = jpeg_holes.doubts(stream)
    return Opened(image=image, kind="JPEG", stream=stream, at_least=at_least, doubts=doubts)


def _scale(frame: jpeg.Frame | None, at_least: int) -> int:
    """The smallest of libjpeg's scales, 1/8 to 1, at which both sides keep that many pixels."""
    short = min(frame.width, frame.height) if frame and not frame.lossless else 0
    return next((scale for scale in (8, 4, 2) if short >= scale * at_least), 1)


def _open_webp(data: bytes) -> Opened:
    still = webp.still(data)
    # Pillow makes room for the whole picture when it opens the file.
    budget.refuse_bombs(still.width * still.height, (still.width, still.height))
    held = budget.bytes_held("WEBP", "RGBA", (still.width, still.height))
    budget.refuse_bytes(held + 2 * len(data), (still.width, still.height))
    image = plugin("WEBP")(io.BytesIO(still.data))
    return Opened(image=image, kind="WEBP", too_short=still.too_short)


def _open_jxl(data: bytes, size: int, preprocessing: Preprocessing) -> Opened:
    """One made from a JPEG as that JPEG, so that both have the same pixels."""
    image = JxlImageFile(io.BytesIO(data))
    header, pixels = image.header, image.width * image.height
    if header.has_black:
        raise FileFault(UNREADABLE_CMYK, skipped=True)
    budget.refuse_bombs(pixels, image.size)
    held = budget.bytes_held("JXL", image.mode, image.size) + budget.CHANNEL * header.more * pixels
    budget.refuse_bytes(held, image.size)
    if header.has_jpeg:
        with budget.one_large_picture_at_a_time(held):
            made_from = jxl.jpeg(image.data)
        if made_from is not None:
            return _open_jpeg(made_from, size, preprocessing)
    return Opened(image=image, kind="JXL")


def _open_container(data: bytes, kind: str) -> Image.Image:
    budget.refuse_bombs(*isobmff.check(data))
    opener = heic.open_heic if kind == "HEIC" else _open_avif
    try:
        return opener(data)
    except FileFault:
        raise
    except Exception:  # damaged EXIF, perhaps, which costs no picture
        without = isobmff.without_exif(data)
        if without == data:
            raise
        return opener(without)


def _open_avif(data: bytes) -> Image.Image:
    image: Image.Image = plugin("AVIF")(io.BytesIO(data))
    return image
