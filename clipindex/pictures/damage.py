"""Damage that decoders do not report, shown by decoding a changed file too.

A second decode takes as long as the first, so it is done only where the bytes give a reason.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageChops

from clipindex.errors import FileFault
from clipindex.pictures.jpeg import Stream
from clipindex.pictures.jpeg_holes import Doubt
from clipindex.pictures.plugins import open_jpeg, plugin

_BAND = 256  # rows compared at a time: the difference of whole pictures would need a third one
_ZEROS = "damaged: a part of the picture is filled with zeros"


def refuse_holes(kind: str, too_short: Sequence[bytes]) -> None:
    """Refuse a picture if one of the files `too_short`, made from it, can be decoded."""
    for data in too_short:
        try:
            plugin(kind)(io.BytesIO(data)).load()
        except Exception:  # as it should
            continue
        raise FileFault(_ZEROS)


def refuse_early_end(
    image: Image.Image, stream: Stream, at_least: tuple[int, int] | None = None
) -> None:
    """Refuse a decoded JPEG whose data ends before the picture does.

    libjpeg fills what is missing with grey, and does not say so. If nothing is missing, the same
    file with more data before its end marker decodes to the same pixels. `at_least` is the size
    that `image` may be reduced to.
    """
    doubtful = stream.ended and stream.may_lack_data(ends_in_grey=_ends_in_grey(image))
    if doubtful and not _equal(image, _again(stream.with_filling(), at_least)):
        raise FileFault("damaged: its data ends before the picture does")


def refuse_zeros(image: Image.Image, stream: Stream, doubts: Sequence[Doubt]) -> None:
    """Refuse a JPEG, decoded at its full size, in which a run of zeros is no part of it."""
    for doubt in doubts:
        if _equal(image, _again(doubt.filled)):
            continue
        lacks = not stream.complete or not _equal(image, _again(doubt.extended))
        if lacks or _equal(image, _again(doubt.spoiled)):
            raise FileFault(_ZEROS)


def _again(data: bytes, at_least: tuple[int, int] | None = None) -> Image.Image:
    """A JPEG decoded, reduced if it may be."""
    image = open_jpeg(data)
    if at_least:
        image.draft(None, at_least)
    image.load()
    return image


def _equal(one: Image.Image, other: Image.Image) -> bool:
    width, height = one.size
    for top in range(0, height, _BAND):
        box = (0, top, width, min(top + _BAND, height))
        if ImageChops.difference(one.crop(box), other.crop(box)).getbbox():
            return False
    return True


def _ends_in_grey(image: Image.Image) -> bool:
    """Whether the last pixel is what libjpeg makes of missing data."""
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    return {*last.tobytes()} <= {127, 128}
