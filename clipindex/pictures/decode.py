"""From a picture file's bytes to pixels: uint8 [size, size, 3], upright RGB.

`exact` is the resize and centre crop of torchvision's CLIP transform, to the pixel.
`dct-scaled` lets libjpeg decode a large JPEG at a reduced scale (at least twice the target)
first, without the scans that bring no more at that scale, and resizes the middle alone. That
saves four fifths of the work at a mean difference below 3 of 255. `previews` takes a camera's own
small copy of the picture where it can be trusted, `frames` looks at all of an animation.

A file goes through `opening` (headers, sound containers), `budget` (what it may cost), `damage`
(what decoders do not report) and `fitting` (upright, resized, cropped).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

from PIL import Image, features
from PIL import __version__ as pillow_version

from clipindex._version import __version__
from clipindex.errors import FileFault
from clipindex.pictures import budget, damage, exif, heic, jxl, previews, raw
from clipindex.pictures.budget import MAX_PIXELS, MAX_SCANS
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.fitting import Box, Pixels, fit, resized_middle, upright
from clipindex.pictures.formats import RAW_FORMATS, picture_format
from clipindex.pictures.frames import with_later_frames
from clipindex.pictures.opening import Opened, open_picture
from clipindex.pictures.plugins import open_jpeg
from clipindex.pictures.preprocessing import Geometry, Preprocessing, Way

__all__ = [
    "MAX_PIXELS",
    "MAX_SCANS",
    "Decoded",
    "Pixels",
    "decode",
    "decode_into",
    "decoders",
    "library_versions",
]

T = TypeVar("T")

# A camera's thumbnail (160x120) is not its preview: enlarged, it would replace the picture. The
# same for every model, so that none quarantines what another indexes.
SMALLEST_PREVIEW = 224

# Pillow names the file by its address in memory: another one in each run.
_MEMORY_FILE = re.compile(r" ?<_io\.BytesIO[^>]*>")


@cache
def decoders() -> str:
    """The versions that decide which files can be read; stored with the note of a refusal."""
    libraries = {
        "Pillow": pillow_version,
        "pi-heif": heic.version(),
        "rawpy": raw.version(),
        "imagecodecs": jxl.version(),
    }
    installed = (f"{name} {version}" for name, version in libraries.items() if version)
    return ", ".join((f"clipindex {__version__}", *installed))


def library_versions() -> dict[str, str]:
    """Versions that may change a JPEG's pixels by one; noted beside the contract."""
    libjpeg = features.version("libjpeg_turbo") or features.version("jpg") or "unknown"
    return {"pillow": pillow_version, "libjpeg": libjpeg}


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as its decoder leaves it: not upright yet, in whatever mode.

    `declared`: its width and height. `box`: of one decoded at a reduced scale, the part that the
    whole picture fills. `orientation` is used where its EXIF has none.
    """

    image: Image.Image
    declared: tuple[int, int]
    box: Box | None
    orientation: int


def decode(
    data: bytes, geometry: Geometry, preprocessing: Preprocessing
) -> tuple[Pixels, PictureFacts]:
    """Pixels and facts of one picture file's bytes: uint8 [size, size, 3], and of an animation,
    with the preprocessing `frames`, [frames, size, size, 3].

    Raises FileFault when it is damaged, cut short, over the budget or not decodable.
    """

    def fitted(picture: Decoded) -> Pixels:
        image = picture.image
        if picture.box is not None:
            image = resized_middle(image, picture.box, picture.declared, geometry)
        return fit(to_rgb(upright(image, picture.orientation)), geometry)

    pixels, facts = decode_into(fitted, data, geometry.short, preprocessing)
    if preprocessing is Preprocessing.FRAMES:
        pixels = with_later_frames(pixels, data, facts.format, geometry)
    if preprocessing is Preprocessing.PREVIEWS and facts.decoded is None:
        facts = replace(facts, decoded=Way.FULL)
    return pixels, facts


def decode_into(
    finish: Callable[[Decoded], T], data: bytes, size: int, preprocessing: Preprocessing
) -> tuple[T, PictureFacts]:
    """What `finish` makes of the decoded picture, and its facts.

    A reduced scale leaves at least twice `size` pixels to the short side. `finish` runs while the
    picture's memory counts as taken. Raises FileFault as `decode` does.
    """
    kind = picture_format(data)
    try:
        if kind is None:
            raise FileFault("damaged or not decodable: not a picture")
        if kind in RAW_FORMATS:
            return _raw_into(finish, data, kind, size, preprocessing)
        opened = open_picture(data, kind, size, preprocessing)
        if preprocessing is Preprocessing.PREVIEWS:
            made = _preview_into(finish, data, opened, kind, size)
            if made is not None:
                return made
        return _opened_into(finish, opened, kind)
    except FileFault:
        raise
    except MemoryError:
        raise FileFault("it needs more memory than there is", transient=True) from None
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error...
        raise FileFault(f"damaged or not decodable: {_first_line(error)}") from error


def _preview_into(
    finish: Callable[[Decoded], T], data: bytes, opened: Opened, kind: str, size: int
) -> tuple[T, PictureFacts] | None:
    """The same from a picture's preview, with the facts of the picture; None in any doubt, which
    depends on the file alone."""
    _refuse_costs(opened, opened.image.size)
    try:
        preview = previews.find(data, opened, size)
        if preview is None:
            return None

        def compared(picture: Decoded) -> T | None:
            return finish(picture) if preview.agrees(picture.image) else None

        made, _ = _opened_into(compared, preview.opened, kind, preview.orientation)
        facts = exif.facts(opened.image, opened.image.size, kind)
    except MemoryError:  # another time it would be read by its preview
        raise
    except Exception:  # whatever it is, the picture itself may be sound
        return None
    return None if made is None else (made, replace(facts, decoded=Way.PREVIEW))


def _raw_into(
    finish: Callable[[Decoded], T], data: bytes, kind: str, size: int, preprocessing: Preprocessing
) -> tuple[T, PictureFacts]:
    """A camera raw file's preview, decoded like any other picture."""
    preview = raw.preview(data)
    if isinstance(preview.data, bytes):
        opened = open_picture(preview.data, "JPEG", size, preprocessing)
    else:
        opened = Opened(image=Image.fromarray(preview.data.squeeze()), kind=kind)
    image = opened.image
    if min(image.size) < SMALLEST_PREVIEW:
        dimensions = f"{image.width}x{image.height}"
        raise FileFault(f"a camera raw file, but its preview is too small: {dimensions} pixels")
    made, facts = _opened_into(finish, opened, kind, preview.orientation)
    whole = (preview.width, preview.height)
    return made, exif.facts_of_raw(facts, data, whole, image.getexif(), Image.Exif())


def _opened_into(
    finish: Callable[[Decoded], T], opened: Opened, kind: str, orientation: int = 1
) -> tuple[T, PictureFacts]:
    image, declared = opened.image, opened.image.size
    # At sizes that the scale does not divide, the last column and row stand for less than a
    # pixel: `box` is the part of the reduced picture that the whole one fills.
    drafted = opened.at_least and image.draft(None, opened.at_least)
    box = drafted[1] if drafted else None
    held = _refuse_costs(opened, declared)
    with budget.one_large_picture_at_a_time(held):
        damage.refuse_holes(opened.kind, opened.too_short)
        # Before anything looks at metadata: Pillow's getexif() may load the picture too, and
        # a damaged one fails only the first time.
        image.load()
        if opened.stream:
            damage.refuse_early_end(image, opened.stream, opened.at_least)
            whole = open_jpeg(opened.stream.data) if opened.doubts and opened.at_least else image
            damage.refuse_zeros(whole, opened.stream, opened.doubts)
        facts = exif.facts(image, declared, kind)
        return finish(Decoded(image, declared, box, orientation)), facts


def _refuse_costs(opened: Opened, declared: tuple[int, int]) -> int:
    """The bytes that decoding takes; refused when they, or the pixels, are too many."""
    image, stream = opened.image, opened.stream
    coefficients = budget.coefficients_held(stream) if stream else 0
    # A JPEG of several scans is held whole, whatever the scale it is decoded at.
    width, height = declared if coefficients else image.size
    budget.refuse_bombs(width * height, declared)
    clear = "transparency" in image.info
    held = budget.bytes_held(
        opened.kind, image.mode, image.size, clear=clear, coefficients=coefficients
    )
    budget.refuse_bytes(held, declared)
    return held


def _first_line(error: Exception) -> str:
    if isinstance(error, (struct.error, LookupError)):
        return "its structure is broken"
    text = _MEMORY_FILE.sub("", str(error)).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
