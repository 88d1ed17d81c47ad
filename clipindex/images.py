"""From a picture file's bytes to pixels: uint8 [224, 224, 3], upright RGB. The door to Pillow.

`exact` is the resize and centre crop of torchvision's CLIP transform, to the pixel.
`dct-scaled` lets libjpeg decode a large JPEG at a reduced scale (at least twice the target)
first, which saves four fifths of the work at a mean difference below 3 of 255.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, ImageOps, features
from PIL import __version__ as pillow_version

from clipindex import __version__, exif, heic, raw
from clipindex.errors import FileFault
from clipindex.exif import PictureFacts
from clipindex.formats import RAW_KINDS, picture_kind
from clipindex.preprocessing import Geometry, Preprocessing

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
WHITE = (255, 255, 255)

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
    kind = picture_kind(data)
    try:
        if kind in RAW_KINDS:
            return _decode_raw(data, str(kind), geometry, preprocessing)
        with _open(data, kind) as image:
            return _pixels_and_facts(
                image, data, kind or str(image.format), geometry, preprocessing
            )
    except FileFault:
        raise
    except MemoryError:
        raise FileFault("it needs more memory than there is", transient=True) from None
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error...
        raise FileFault(f"damaged or not decodable: {_first_line(error)}") from error


def _open(data: bytes, kind: str | None) -> Image.Image:
    """Headers only; nothing is decoded yet."""
    if kind == "HEIC":
        return heic.open_heic(data)
    return Image.open(io.BytesIO(data), formats=DECODERS)


def _decode_raw(
    data: bytes, kind: str, geometry: Geometry, preprocessing: Preprocessing
) -> tuple[Pixels, PictureFacts]:
    """Of a camera raw file: its preview goes the way of any picture."""
    preview = raw.preview(data)
    if isinstance(preview.data, bytes):
        inner, opened = preview.data, _open(preview.data, "JPEG")
    else:
        inner, opened = b"", Image.fromarray(preview.data.squeeze())
    with opened as image:
        if min(image.size) < SMALLEST_PREVIEW:
            size = f"{image.width}x{image.height}"
            raise FileFault(f"a camera raw file, but its preview is too small: {size} pixels")
        pixels, facts = _pixels_and_facts(
            image, inner, kind, geometry, preprocessing, preview.orientation
        )
        whole = (preview.width, preview.height)
        return pixels, exif.facts_of_raw(facts, data, whole, image.getexif(), Image.Exif())


def _pixels_and_facts(
    image: Image.Image,
    data: bytes,
    kind: str,
    geometry: Geometry,
    preprocessing: Preprocessing,
    orientation: int = 1,
) -> tuple[Pixels, PictureFacts]:
    """`orientation` holds where the picture's EXIF says nothing of it."""
    declared, box = image.size, None
    if preprocessing is Preprocessing.DCT_SCALED:
        box = _reduce_while_decoding(image, geometry.size)
    _refuse_bombs(image, declared, data)
    with _one_large_picture_at_a_time(image):
        # Before anything looks at metadata: Pillow's getexif() may load the picture too, and
        # a damaged one fails only the first time.
        image.load()
        facts = exif.facts(image, declared, kind)
        picture = image if box is None else _resized(image, box, declared, geometry)
        return _fit(_to_rgb(_upright(picture, orientation)), geometry), facts


def _reduce_while_decoding(image: Image.Image, size: int) -> Box | None:
    """Let libjpeg leave out detail: the smallest scale that keeps at least twice `size`.

    Returns the part of the reduced picture that the whole one fills: at sizes that the scale
    does not divide, the last column and row stand for less than a pixel.
    """
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
        drafted = image.draft(None, (2 * size, 2 * size))
        return drafted and drafted[1]
    return None


def _resized(
    image: Image.Image, box: Box, declared: tuple[int, int], geometry: Geometry
) -> Image.Image:
    """A reduced picture at the very size that `_fit` would give the whole one."""
    size, short = geometry.size, min(declared)
    wanted = (size, size)
    if geometry.fit == "crop":
        wanted = int(size * declared[0] / short), int(size * declared[1] / short)
    return _to_rgb(image).resize(wanted, Image.Resampling.BICUBIC, box=box)


def _refuse_bombs(image: Image.Image, declared: tuple[int, int], data: bytes) -> None:
    width, height = image.size  # after the reduction, if any
    if image.info.get("progressive"):
        # Its coefficients are held whole, whatever the scale; a scan header cannot occur
        # inside compressed data, so counting the marker counts the scans.
        width, height = declared
        if data.count(b"\xff\xda") > MAX_SCANS:
            raise FileFault(f"more than {MAX_SCANS} scans: it would decode for minutes")
    if width * height > MAX_PIXELS or declared[0] * declared[1] > MAX_DECLARED_PIXELS:
        raise FileFault(
            f"{declared[0]}x{declared[1]} pixels are over the budget of "
            f"{MAX_PIXELS // 1_000_000} megapixels"
        )


@contextmanager
def _one_large_picture_at_a_time(image: Image.Image) -> Iterator[None]:
    """Decoding takes up to 12 bytes a pixel: two large ones side by side need not be."""
    if image.width * image.height < LARGE_PICTURE:
        yield
    else:
        with _large:
            yield


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF says, or else as `orientation` does."""
    try:
        image.getexif().setdefault(exif.ORIENTATION, orientation)
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF is no reason to lose the picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB or grey as a person expects: alpha on white, deep pictures rescaled, not clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        return _rescaled(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, WHITE)
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _rescaled(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float pictures to 8 bit, over the range their kind implies.

    Integers up to 65535 are 16-bit pictures, floats within [0, 1] shares of white; anything
    else is spread from its least to its greatest value.
    """
    values = np.asarray(image).astype(np.float32)
    finite = np.isfinite(values)
    values[~finite] = values[finite].min() if finite.any() else 0.0
    low, high = float(values.min()), float(values.max())
    full = 1.0 if image.mode == "F" else 65535.0
    if not (low >= 0.0 and high <= full):
        values -= low
        full = (high - low) or 1.0
    values *= 255.0 / full
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


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
    text = str(error).strip().splitlines()
    return text[0][:200].replace("<_io.BytesIO object", "<file") if text else type(error).__name__
