"""Damage that decoders pass over in silence: found by decoding a changed file as well.

That takes as long as the picture itself, so it is done only where its bytes give a reason.
"""

from __future__ import annotations

import io

from PIL import Image, ImageChops

from clipindex.errors import FileFault
from clipindex.pictures.opening import Opened, open_jpeg, plugin

_BAND = 256  # rows compared at a time: a difference of whole pictures would be a third one


def refuse_holes(opened: Opened) -> None:
    """Refuse a picture whose run of zeros is no part of it; before it is decoded."""
    for data in opened.too_short:
        try:
            plugin(opened.kind)(io.BytesIO(data)).load()
        except Exception:  # as it should
            continue
        raise FileFault("damaged: a part of the picture is filled with zeros")


def refuse_early_end(opened: Opened) -> None:
    """Refuse a decoded JPEG whose data ends before the picture does, or goes on behind it.

    libjpeg fills what is missing with grey, and says nothing of what is too much. Where that may
    have happened, decoding other data tells: with more before the end marker a whole picture stays
    the same. Runs of zeros are judged in the same way, see `jpeg_holes`.
    """
    image, stream = opened.image, opened.stream
    if stream is None:
        return
    doubtful = stream.ended and stream.may_lack_data(ends_in_grey=_ends_in_grey(image))
    if doubtful and not _equal(image, _again(stream.with_filling(), opened.at_least)):
        raise FileFault("damaged: its data ends before the picture does")
    whole = _again(stream.data) if opened.doubts and opened.at_least else image
    for doubt in opened.doubts:
        if _equal(whole, _again(doubt.filled)):
            continue
        lacks = not stream.complete or not _equal(whole, _again(doubt.extended))
        if lacks or _equal(whole, _again(doubt.spoiled)):
            raise FileFault("damaged: a part of the picture is filled with zeros")


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
    """Whether the last pixel is what a decoder makes of no data."""
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    return {*last.tobytes()} <= {127, 128}
