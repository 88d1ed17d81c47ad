"""The preview that a camera put into a file, for the preprocessing `previews`.

It stands for the picture only where all that can be known cheaply speaks for it: the main picture
is whole, no program has edited it, shape and turn agree, and a sample of the main picture is like
the same part of the preview. Otherwise there is none, and the picture itself is decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image

from clipindex.pictures import heic, heic_preview, jpeg, jpeg_preview
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.exif import ORIENTATION
from clipindex.pictures.heic_preview import MIRROR_ACROSS, MIRROR_DOWN, Part
from clipindex.pictures.opening import Opened, open_picture
from clipindex.pictures.plugins import open_jpeg
from clipindex.pictures.preprocessing import Preprocessing

_UNTURN = {
    1: Image.Transpose.ROTATE_270,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_90,
    MIRROR_ACROSS: Image.Transpose.FLIP_LEFT_RIGHT,
    MIRROR_DOWN: Image.Transpose.FLIP_TOP_BOTTOM,
}
_SOFTWARE, _CHANGED, _EXIF_IFD, _TAKEN = 0x0131, 0x0132, 0x8769, 0x9003
_WIDTH, _HEIGHT = 0xA002, 0xA003  # PixelXDimension, PixelYDimension
_SECONDS = 10  # between taking a picture and writing it
# Words in the names of programs that write pictures anew.
_EDITORS = re.compile(
    "acdsee|adobe|affinity|aperture|canva|capture|corel|darktable|digikam|dxo|editor|facetune|gimp|"
    "imagemagick|instagram|iphoto|irfanview|lightroom|luminar|meitu|paint|photoscape|photoshop|"
    "picasa|pixelmator|polarr|rawtherapee|shotwell|snapseed|topaz|viewnx|vsco|windows|xnview|zoner",
    re.IGNORECASE,
)

# Compared are 8 x 8 means of colours, from 0 to 255. Of 101 phones' pictures none differed by more
# from its own thumbnail; replaced, turned, mirrored or cropped to 70 % all did, and 98 % without
# colours.
_SIDE = 8
_MOST = 12.0  # mean difference
_DETAIL, _DETAIL_SHARE = 3.0, 0.5  # once each has lost its mean colour; of what there is to see
_HUE, _HUE_SHARE = 1.5, 0.75  # once each pixel has lost its brightness

MOST_BYTES = 32 << 20  # of a file: it is copied some times
# Smaller previews in JPEGs are far from the picture: soft, or of another shape.
SMALLEST_JPEG = 448
MOST_SQUEEZED = 0.006

Grid = np.ndarray[tuple[int, ...], np.dtype[np.float64]]  # [_SIDE, _SIDE, 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A preview, opened but not decoded, and what it is compared with.

    `sample`: decoded from the main picture, of which it is `part` before it is turned; `turns`:
    what its decoder does to the preview in the end. `orientation`: the main picture's by EXIF.
    """

    opened: Opened
    sample: Image.Image
    part: Part
    turns: tuple[int, ...] = ()
    orientation: int = 1

    def agrees(self, decoded: Image.Image) -> bool:
        """Whether the preview, decoded, is like the sample."""
        for turn in reversed(self.turns):
            decoded = decoded.transpose(_UNTURN[turn])
        left, top, right, bottom = self.part
        width, height = decoded.size
        box = left * width, top * height, right * width, bottom * height
        return are_alike(_grid(decoded, box), _grid(self.sample, (0, 0, *self.sample.size)))


def find(data: bytes, opened: Opened, size: int) -> Preview | None:
    """The preview of a picture file of which `opened` was made, if it has one with a short side of
    at least `size` pixels. May raise anything where the file is odd."""
    image = opened.image
    if opened.kind not in ("HEIC", "JPEG") or len(data) > MOST_BYTES:
        return None
    if is_edited(image.getexif(), image.size):
        return None
    return _of_heic(data, size) if opened.kind == "HEIC" else _of_jpeg(opened, size)


def _of_heic(data: bytes, size: int) -> Preview | None:
    found = heic_preview.find(data, size)
    if found is None:
        return None
    tile = heic.open_heic(found.tile)
    tile.load()
    opened = Opened(image=heic.open_heic(found.thumbnail), kind="HEIC")
    return Preview(opened=opened, sample=tile, part=found.part, turns=found.turns)


def _of_jpeg(opened: Opened, size: int) -> Preview | None:
    stream = opened.stream
    if stream is None or stream.frame is None or opened.doubts or not _is_a_cameras(stream):
        return None
    frame = stream.frame
    suited = [
        (min(preview.image.size), start, preview)
        for start, end in jpeg_preview.previews(stream)
        if (preview := open_picture(stream.data[start:end], "JPEG", size, Preprocessing.PREVIEWS))
        and min(preview.image.size) >= max(size, SMALLEST_JPEG)
        and _has_shape(preview.image.size, (frame.width, frame.height))
        and preview.stream is not None
        and _is_a_cameras(preview.stream)
    ]
    if not suited:
        return None
    *_, preview = max(suited, key=lambda suit: suit[:2])
    orientation = opened.image.getexif().get(ORIENTATION, 1)
    if preview.image.getexif().get(ORIENTATION, orientation) != orientation:
        return None
    first_rows, rows = jpeg_preview.first_rows(stream, frame)
    strip = open_jpeg(first_rows)
    strip.draft(None, (max(1, strip.width // 8), max(1, strip.height // 8)))
    strip.load()
    part = (0.0, 0.0, 1.0, rows / frame.height)
    return Preview(opened=preview, sample=strip, part=part, orientation=orientation)


def _is_a_cameras(stream: jpeg.Stream) -> bool:
    """Whether it is whole, as far as its markers tell, and coded in one scan, as cameras do."""
    return stream.ended and stream.complete and not stream.held_whole and len(stream.scans) == 1


def _has_shape(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Some cameras squeeze their previews by up to 0.57 %."""
    across = size[0] * whole[1]
    return abs(across - size[1] * whole[0]) <= MOST_SQUEEZED * across


def is_edited(exif: Image.Exif, size: tuple[int, int]) -> bool:
    """Whether a picture of that size was written by an editor, later than it was taken, or has
    another size than its EXIF says: its preview may be older than the picture."""
    software, changed = exif.get(_SOFTWARE), exif.get(_CHANGED)
    inner = exif.get_ifd(_EXIF_IFD)
    if _EDITORS.search(str(software)):
        return True
    said = [int(inner[tag]) for tag in (_WIDTH, _HEIGHT) if inner.get(tag)]
    if len(said) == 2 and sorted(said) != sorted(size):
        return True
    taken = inner.get(_TAKEN)
    if not changed or not taken:
        return False
    times = [
        datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S") for text in (taken, changed)
    ]
    return abs((times[1] - times[0]).total_seconds()) > _SECONDS


def are_alike(one: Grid, other: Grid) -> bool:
    """Whether two pictures, each as a grid of mean colours, seem to be one and the same."""
    if _mean(one - other) > _MOST:
        return False
    detail, other_detail = one - one.mean((0, 1)), other - other.mean((0, 1))
    differs = _mean(detail - other_detail)
    if differs > max(_DETAIL, _DETAIL_SHARE * max(_mean(detail), _mean(other_detail))):
        return False
    hue, other_hue = (grid - grid.mean(2, keepdims=True) for grid in (one, other))
    return _mean(hue - other_hue) <= max(_HUE, _HUE_SHARE * _mean(other_hue))


def _mean(values: Grid) -> float:
    return float(np.abs(values).mean())


def _grid(image: Image.Image, box: Part) -> Grid:
    small = to_rgb(image).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small.convert("RGB"), np.float64)
