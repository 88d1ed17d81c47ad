"""What a picture file says of itself: size, when, with which camera and where it was taken.

Anybody may have written it: whatever is not a plausible value is left out, each by itself, and no
control character, escape sequence or broken text gets beyond this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from clipindex.pictures.preprocessing import Way
from clipindex.pictures.texts import printable

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
LONGEST_NAME = 200  # characters of a camera's

_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN = 0x9003  # DateTimeOriginal
_FIRST_YEAR = 1826  # of the oldest photograph that is left

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture file says of itself, upright: kept in the payload of its point."""

    width: int
    height: int
    format: str
    taken: str | None = None  # camera's local time, YYYY-MM-DDTHH:MM:SS
    camera: str | None = None
    location: tuple[float, float] | None = None  # latitude, longitude in degrees
    decoded: Way | None = None  # with the preprocessing `previews` alone


def facts(image: Image, declared: tuple[int, int], picture_format: str) -> PictureFacts:
    """Size, format and what EXIF says; what is damaged in it is left out."""
    width, height = declared
    exif = _if_sound(image.getexif)
    if exif is None:
        return PictureFacts(width, height, picture_format)
    if _if_sound(lambda: exif.get(ORIENTATION)) in SIDEWAYS:
        width, height = height, width
    return PictureFacts(
        width,
        height,
        picture_format,
        taken=_if_sound(lambda: _taken(exif)),
        camera=_if_sound(lambda: _camera(exif)),
        location=_if_sound(lambda: _location(exif)),
    )


def facts_of_raw(
    facts: PictureFacts, data: bytes, size: tuple[int, int], preview: Exif, blank: Exif
) -> PictureFacts:
    """Its preview's facts at the raw picture's size; its own EXIF where it is built as a TIFF."""
    if min(size) > 0:
        facts = replace(facts, width=size[0], height=size[1])
    facts = replace(facts, taken=facts.taken or _if_sound(lambda: _changed(preview)))
    if data[:2] not in (b"II", b"MM"):
        return facts
    # ORF and RW2 are TIFFs but for two bytes.
    start = b"II*\0" if data[:2] == b"II" else b"MM\0*"
    _if_sound(lambda: blank.load(start + data[4:]))
    return replace(
        facts,
        taken=_if_sound(lambda: _taken(blank)) or facts.taken,
        camera=_if_sound(lambda: _camera(blank)) or facts.camera,
        location=_if_sound(lambda: _location(blank)) or facts.location,
    )


def _if_sound(read: Callable[[], T]) -> T | None:
    """What `read` returns, or None: Pillow raises all kinds of errors on damaged EXIF."""
    try:
        return read()
    except Exception:
        return None


def _taken(exif: Exif) -> str | None:
    """The camera's local time as ISO 8601, if it is a real date."""
    return _date(exif.get_ifd(_EXIF_IFD).get(_TAKEN))


def _changed(exif: Exif) -> str | None:
    """When the file was written: in a raw file's preview, when it was taken."""
    date = _date(exif.get(_CHANGED))
    return None if date is None or date < "1971" else date  # LibRaw's for "not known": 1970


def _camera(exif: Exif) -> str | None:
    """Maker and model, the maker once: many models begin with it."""
    make, model = (_text(exif.get(tag)) for tag in (_MAKE, _MODEL))
    name = model if make and model.lower().startswith(make.lower()) else f"{make} {model}"
    return name.strip()[:LONGEST_NAME].strip() or None


def _location(exif: Exif) -> tuple[float, float] | None:
    """GPS latitude and longitude in degrees, north and east positive."""
    gps = exif.get_ifd(_GPS_IFD)
    latitude = _degrees(gps[2]) * (-1 if _text(gps[1]).upper().startswith("S") else 1)
    longitude = _degrees(gps[4]) * (-1 if _text(gps[3]).upper().startswith("W") else 1)
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None  # also where one is NaN
    return round(latitude, 7), round(longitude, 7)


def _degrees(value: object) -> float:
    """Degrees, minutes and seconds, none below zero. Raises TypeError or ValueError for others."""
    degrees, minutes, seconds = (float(part) for part in value)  # type: ignore[attr-defined]
    if min(degrees, minutes, seconds) < 0:
        return math.nan
    return degrees + minutes / 60 + seconds / 3600


def _date(value: object) -> str | None:
    """EXIF's `YYYY:MM:DD HH:MM:SS`."""
    try:
        date = datetime.strptime(_text(value), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return date.isoformat() if date.year >= _FIRST_YEAR else None


def _text(value: object) -> str:
    """Up to its NUL, in UTF-8 where it is that, each run of what cannot be printed a space.

    EXIF text is ASCII. Pillow reads what is not as Latin-1, as it hands out text of other types
    as bytes; of numbers there is no text.
    """
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        return ""
    value = value.split(b"\0", 1)[0]
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return printable(text)
