"""A small picture for people to look at: upright, its colours in sRGB, nothing else of the file.

A file goes through the same decoders, budgets and checks as one that is indexed: what is refused
there has no thumbnail either.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from clipindex.errors import FileFault
from clipindex.files.access import exists
from clipindex.pictures import exif
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Decoded, Pixels, decode_into
from clipindex.pictures.fitting import upright
from clipindex.pictures.plugins import open_jpeg
from clipindex.pictures.preprocessing import Preprocessing

QUALITY = 82  # of the JPEG: some 20 kB at 320 pixels
# Up to so many times the size is averaged first, which is faster and cannot be seen.
REDUCING_GAP = 3.0
LARGEST_PROFILE = 4_000_000  # bytes; printers' have up to three megabytes

_COLOUR_SPACES = {"RGB": "RGB", "L": "GRAY"}  # a profile's, for each of Pillow's modes


def thumbnail(data: bytes, longest: int) -> bytes:
    """A JPEG file of the picture in `data`, upright, within `longest` x `longest` pixels.

    Its aspect is kept, and a smaller picture is not enlarged. Alpha is laid on white; of an
    animation it shows the first frame, of a camera raw file the preview. EXIF, comments and
    places are left out. The colour profile of a PNG or WebP is not read. The same bytes give the
    same thumbnail.
    Raises FileFault when the picture is damaged, cut short, over the budget or not decodable.
    """
    if longest < 1:
        raise ValueError(f"a thumbnail of {longest} pixels")
    # A reduced scale that leaves `longest` pixels to the short side leaves as many to the long one.
    half = (longest + 1) // 2

    def small(picture: Decoded) -> Image.Image:
        return _small(picture, longest)

    image, _ = decode_into(small, data, half, Preprocessing.DCT_SCALED)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def thumbnail_of_file(path: bytes, sha256: str, longest: int) -> bytes:
    """The same of the file at `path`, which must have that SHA-256 still: what was indexed, not
    what lies there now. Raises FileFault also when it is gone, changed or not readable."""
    if not exists(path):
        raise FileFault("deleted, moved, or its disk is not mounted")
    content = read_content(path)
    if content.sha256.hex() != sha256:
        raise FileFault("edited since it was indexed")
    return thumbnail(content.data, longest)


def samples(jpeg: bytes, width: int, height: int) -> Pixels:
    """A thumbnail's samples, [height, width, 3] uint8 RGB, squeezed to that size."""
    image = open_jpeg(jpeg).convert("RGB")
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def size_of(jpeg: bytes) -> tuple[int, int]:
    """A thumbnail's width and height in pixels."""
    width, height = open_jpeg(jpeg).size
    return width, height


def _small(picture: Decoded, longest: int) -> Image.Image:
    image = picture.image
    orientation, profile = _orientation(picture), image.info.get("icc_profile")
    width, height = picture.declared
    share = min(1.0, longest / max(width, height))
    size = max(1, round(width * share)), max(1, round(height * share))
    box = picture.box or (0, 0, *image.size)
    rgb = to_rgb(image)
    if (*size, *box[:2]) != (*image.size, 0, 0):
        resampling = Image.Resampling.LANCZOS
        rgb = rgb.resize(size, resampling, box=box, reducing_gap=REDUCING_GAP)
    plain = Image.frombytes(rgb.mode, rgb.size, rgb.tobytes())  # without the file's metadata
    return upright(_in_srgb(plain, profile), orientation)


def _orientation(picture: Decoded) -> int:
    """EXIF's, read before the picture is resized: most formats keep it beside the pixels."""
    try:
        return int(picture.image.getexif().get(exif.ORIENTATION, picture.orientation))
    except Exception:  # damaged EXIF is no reason to lose the picture
        return picture.orientation


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """The colours that the file's ICC profile means; without a sound one, those it holds."""
    if not isinstance(profile, bytes) or len(profile) > LARGEST_PROFILE:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != _COLOUR_SPACES[image.mode]:
            return image
        converted = ImageCms.profileToProfile(
            image, own, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image
