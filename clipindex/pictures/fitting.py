"""From a decoded picture to the model's square: turned upright, resized, cropped."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from clipindex.pictures import exif
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.preprocessing import Geometry

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # [height, width, 3]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
# A picture up to this many times as long as it is wide is resized whole, as torchvision does.
LONGEST_WHOLE = 8


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF says, or else as `orientation` does."""
    try:
        image.getexif().setdefault(exif.ORIENTATION, orientation)
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF is no reason to lose the picture
        pass
    return image


def fit(image: Image.Image, geometry: Geometry) -> Pixels:
    """Resized with antialias to the model's square: uint8 [size, size, 3].

    Sizes and offsets of a crop are torchvision's (Resize, then CenterCrop): the long side is
    int(geometry.short * long / short), the offset int(round((long - size) / 2)), halves to even.
    """
    size, resampling = geometry.size, FILTERS[geometry.interpolation]
    if geometry.fit == "squash":
        return np.asarray(image.resize((size, size), resampling).convert("RGB"))
    width, height = image.size
    short = min(width, height)
    resized = int(geometry.short * width / short), int(geometry.short * height / short)
    left, top = (round((side - size) / 2.0) for side in resized)
    if max(resized) <= LONGEST_WHOLE * geometry.short:
        square = image.resize(resized, resampling).crop((left, top, left + size, top + size))
    else:
        # 65000x1 would become 14560000x224. The crop as a box in source pixels yields the
        # same samples alone (but for the last bit: Pillow's boxes are single precision).
        across, down = width / resized[0], height / resized[1]
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        square = image.resize((size, size), resampling, box=box)
    return np.asarray(square.convert("RGB"))


def resized_middle(
    image: Image.Image, box: Box, declared: tuple[int, int], geometry: Geometry
) -> Image.Image:
    """The middle of a reduced picture at the very size that `fit` would give the whole one.

    `box` is the part of it that the whole picture, of the size `declared`, fills. What is left
    out at each end is even: halves round to even, so `fit` crops as before.
    """
    size, resampling = geometry.size, FILTERS[geometry.interpolation]
    if geometry.fit == "squash":
        return to_rgb(image).resize((size, size), resampling, box=box)
    short = geometry.short
    whole = [int(short * side / min(declared)) for side in declared]
    spare = [(side - short) // 4 * 2 for side in whole]
    left, top = (out * end / side for out, end, side in zip(spare, box[2:], whole, strict=True))
    middle = whole[0] - 2 * spare[0], whole[1] - 2 * spare[1]
    return to_rgb(image).resize(middle, resampling, box=(left, top, box[2] - left, box[3] - top))
