"""How large a picture says it is, before it is decoded."""

from __future__ import annotations

from clipindex.errors import FileFault, OverBudget
from clipindex.pictures.formats import RAW_FORMATS, picture_format
from clipindex.pictures.opening import open_picture
from clipindex.pictures.preprocessing import Preprocessing


def refuse_larger(data: bytes, most: int) -> None:
    """Raises FileFault for what is not a picture, OverBudget for more than `most` pixels.

    Of a camera raw file only the preview would be decoded, whose size is not looked at here.
    """
    kind = picture_format(data)
    if kind is None:
        raise FileFault("not a picture")
    if kind in RAW_FORMATS:
        return
    try:
        width, height = open_picture(data, kind, 1, Preprocessing.EXACT).image.size
    except FileFault:
        raise
    except Exception:  # Pillow's and the parsers': decoding says what is wrong
        return
    if width * height > most:
        raise OverBudget(f"{width}x{height} pixels are more than {most // 1_000_000} megapixels")
