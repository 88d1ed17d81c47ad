"""From a picture file's bytes to pixels: uint8 [224, 224, 3], upright RGB. The door to Pillow.

`exact` is the resize and centre crop of torchvision's CLIP transform, to the pixel.
`dct-scaled` lets libjpeg decode a large JPEG at a reduced scale (at least twice the target)
first, without the scans that bring no more at that scale, and resizes the middle alone. That
saves four fifths of the work at a mean difference below 3 of 255.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageOps, features
from PIL import __version__ as pillow_version

from clipindex._version import __version__
from clipindex.errors import FileFault
from clipindex.pictures import exif, heic, jpeg, raw, tiff
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.formats import RAW_FORMATS, picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # [height, width, 3]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

# Decoded pixels, not file size: 179 megapixels, Pillow's own limit for a decompression bomb
# (PIL.Image.MAX_IMAGE_PIXELS * 2), held against what will really be decoded.
MAX_PIXELS = 178_956_970
# A JPEG that is decoded at a reduced scale may declare more, up to this.
MAX_DECLARED_PIXELS = 1_000_000_000
LARGE_PICTURE = 24_000_000
# Progressive JPEGs have some ten scans; thousands keep a decoder busy for minutes.
MAX_SCANS = 500
DECODERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")
# A picture up to this many times as long as it is wide is resized whole, as torchvision does.
LONGEST_WHOLE = 8
# A camera's thumbnail (160x120) is not its preview: blown up, it would stand for the picture.
SMALLEST_PREVIEW = 224

# Pillow names the file by its address in memory: another one in each run.
_MEMORY_FILE = re.compile(r" ?<_io\.BytesIO[^>]*>")

_large = threading.Lock()

Image.MAX_IMAGE_PIXELS = None  # we keep our own budget, on what is decoded
# Remarks on odd metadata. Once for all: warnings.catch_warnings() is not for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def decoders() -> str:
    """What decides which files can be read: a note of a file that cannot be carries it."""
    libraries = {"Pillow": pillow_version, "pi-heif": heic.version(), "rawpy": raw.version()}
    there = (f"{name} {version}" for name, version in libraries.items() if version)
    return ", ".join((f"clipindex {__version__}", *there))


def library_versions() -> dict[str, str]:
    """Versions that may move a JPEG's pixels by one; noted beside the contract."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg") or "unknown"
    return {"pillow": pillow_version, "libjpeg": jpeg}


def decode(
    data: bytes, geometry: Geometry, preprocessing: Preprocessing
) -> tuple[Pixels, PictureFacts]:
    """Pixels [size, size, 3] uint8 and facts of one picture file's bytes.

    Raises FileFault when it is damaged, cut short, over the pixel budget or not decodable.
    """
    kind = picture_format(data)
    try:
        if kind in RAW_FORMATS:
            return _decode_raw(data, str(kind), geometry, preprocessing)
        opened = _open(data, kind, geometry.size, preprocessing)
        return _pixels_and_facts(opened, kind or str(opened.image.format), geometry)
    except FileFault:
        raise
    except MemoryError:
        raise FileFault("it needs more memory than there is", transient=True) from None
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error...
        raise FileFault(f"damaged or not decodable: {_first_line(error)}") from error


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture of which the headers were read; of a JPEG its file taken apart as well.

    `at_least` is the width and height below which a reduced decode may not go, if it may be one.
    """

    image: Image.Image
    stream: jpeg.Stream | None = None
    at_least: tuple[int, int] | None = None


def _open(data: bytes, kind: str | None, size: int, preprocessing: Preprocessing) -> _Opened:
    """Headers only; nothing is decoded yet. `size` is the model's."""
    if kind == "HEIC":
        return _Opened(heic.open_heic(data))
    if kind == "TIFF":
        return _Opened(tiff.open_tiff(data))
    if kind != "JPEG":
        return _Opened(Image.open(io.BytesIO(data), formats=DECODERS))
    stream, at_least = jpeg.parse(data), None
    if len(stream.scans) > MAX_SCANS:
        raise FileFault(f"more than {MAX_SCANS} scans: it would decode for minutes")
    scale = 1 if preprocessing is Preprocessing.EXACT else _scale(stream.frame, 2 * size)
    if scale > 1:
        data, at_least = stream.reduced(scale), (2 * size, 2 * size)
    return _Opened(Image.open(io.BytesIO(data), formats=DECODERS), stream, at_least)


def _scale(frame: jpeg.Frame | None, at_least: int) -> int:
    """The smallest of libjpeg's scales, 1/8 to 1, at which both sides keep that many pixels."""
    short = min(frame.width, frame.height) if frame and not frame.lossless else 0
    return next((scale for scale in (8, 4, 2) if short >= scale * at_least), 1)


def _decode_raw(
    data: bytes, kind: str, geometry: Geometry, preprocessing: Preprocessing
) -> tuple[Pixels, PictureFacts]:
    """Of a camera raw file: its preview goes the way of any picture."""
    preview = raw.preview(data)
    if isinstance(preview.data, bytes):
        opened = _open(preview.data, "JPEG", geometry.size, preprocessing)
    else:
        opened = _Opened(Image.fromarray(preview.data.squeeze()))
    image = opened.image
    if min(image.size) < SMALLEST_PREVIEW:
        size = f"{image.width}x{image.height}"
        raise FileFault(f"a camera raw file, but its preview is too small: {size} pixels")
    pixels, facts = _pixels_and_facts(opened, kind, geometry, preview.orientation)
    whole = (preview.width, preview.height)
    return pixels, exif.facts_of_raw(facts, data, whole, image.getexif(), Image.Exif())


def _pixels_and_facts(
    opened: _Opened, kind: str, geometry: Geometry, orientation: int = 1
) -> tuple[Pixels, PictureFacts]:
    """`orientation` holds where the picture's EXIF says nothing of it."""
    image, declared = opened.image, opened.image.size
    # At sizes that the scale does not divide, the last column and row stand for less than a
    # pixel: `box` is the part of the reduced picture that the whole one fills.
    drafted = opened.at_least and image.draft(None, opened.at_least)
    box = drafted[1] if drafted else None
    # A JPEG of several scans is held whole, whatever the scale it is decoded at.
    width, height = declared if opened.stream and opened.stream.held_whole else image.size
    _refuse_bombs(width * height, declared)
    with _one_large_picture_at_a_time(width * height):
        # Before anything looks at metadata: Pillow's getexif() may load the picture too, and
        # a damaged one fails only the first time.
        image.load()
        _refuse_early_end(opened)
        facts = exif.facts(image, declared, kind)
        picture = image if box is None else _resized(image, box, declared, geometry)
        return _fit(to_rgb(_upright(picture, orientation)), geometry), facts


def _resized(
    image: Image.Image, box: Box, declared: tuple[int, int], geometry: Geometry
) -> Image.Image:
    """The middle of a reduced picture at the very size that `_fit` would give the whole one.

    What is left out at each end is even: halves round to even, so `_fit` crops as before.
    """
    size, bicubic = geometry.size, Image.Resampling.BICUBIC
    if geometry.fit == "squash":
        return to_rgb(image).resize((size, size), bicubic, box=box)
    whole = [int(size * side / min(declared)) for side in declared]
    spare = [(side - size) // 4 * 2 for side in whole]
    left, top = (out * end / side for out, end, side in zip(spare, box[2:], whole, strict=True))
    middle = whole[0] - 2 * spare[0], whole[1] - 2 * spare[1]
    return to_rgb(image).resize(middle, bicubic, box=(left, top, box[2] - left, box[3] - top))


def _refuse_bombs(held: int, declared: tuple[int, int]) -> None:
    """`held`: how many pixels are in memory while it is decoded."""
    if held > MAX_PIXELS or declared[0] * declared[1] > MAX_DECLARED_PIXELS:
        raise FileFault(
            f"{declared[0]}x{declared[1]} pixels are over the budget of "
            f"{MAX_PIXELS // 1_000_000} megapixels"
        )


def _refuse_early_end(opened: _Opened) -> None:
    """Refuse a JPEG whose data ends before the picture does, though an end marker follows.

    libjpeg fills the rest with grey and says nothing. Where that may have happened, what is
    decoded with more data before the end marker tells: a whole picture is the same with it.
    """
    image, stream = opened.image, opened.stream
    if not (stream and stream.ended and stream.may_lack_data(ends_in_grey=_ends_in_grey(image))):
        return
    other = Image.open(io.BytesIO(stream.with_filling()), formats=DECODERS)
    if opened.at_least:
        other.draft(None, opened.at_least)
    if ImageChops.difference(image, other).getbbox():
        raise FileFault("damaged: its data ends before the picture does")


def _ends_in_grey(image: Image.Image) -> bool:
    """Whether the last pixel is what a decoder makes of no data."""
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    return {*last.tobytes()} <= {127, 128}


@contextmanager
def _one_large_picture_at_a_time(held: int) -> Iterator[None]:
    """Decoding takes up to 16 bytes a pixel: two large ones side by side need not be."""
    if held < LARGE_PICTURE:
        yield
    else:
        with _large:
            yield


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF says, or else as `orientation` does."""
    try:
        image.getexif().setdefault(exif.ORIENTATION, orientation)
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF is no reason to lose the picture
        pass
    return image


def _fit(image: Image.Image, geometry: Geometry) -> Pixels:
    """Bicubic with antialias to the model's square.

    Sizes and offsets of a crop are torchvision's (Resize, then CenterCrop): the long side is
    int(size * long / short), the offset int(round((long - size) / 2)), halves to even.
    """
    size, bicubic = geometry.size, Image.Resampling.BICUBIC
    if geometry.fit == "squash":
        return np.asarray(image.resize((size, size), bicubic).convert("RGB"))
    width, height = image.size
    short = min(width, height)
    resized = int(size * width / short), int(size * height / short)
    left, top = (round((side - size) / 2.0) for side in resized)
    if max(resized) <= LONGEST_WHOLE * size:
        square = image.resize(resized, bicubic).crop((left, top, left + size, top + size))
    else:
        # 65000x1 would become 14560000x224. The crop as a box in source pixels yields the
        # same samples alone (but for the last bit: Pillow's boxes are single precision).
        across, down = width / resized[0], height / resized[1]
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        square = image.resize((size, size), bicubic, box=box)
    return np.asarray(square.convert("RGB"))


def _first_line(error: Exception) -> str:
    if isinstance(error, struct.error):
        return "its structure is broken"
    text = _MEMORY_FILE.sub("", str(error)).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
