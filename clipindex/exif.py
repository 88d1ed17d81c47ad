"""What EXIF tells of a picture: when, with which camera and where it was taken."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Exif

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height

_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN = 0x9003  # DateTimeOriginal


def taken(exif: Exif) -> str | None:
    """The camera's local time as ISO 8601, if it is a real date."""
    return _date(exif.get_ifd(_EXIF_IFD).get(_TAKEN))


def changed(exif: Exif) -> str | None:
    """When the file was written: in a raw file's preview, when it was taken."""
    date = _date(exif.get(_CHANGED))
    return None if date is None or date < "1971" else date  # LibRaw's for "not known": 1970


def camera(exif: Exif) -> str | None:
    """Maker and model, the maker once: many models begin with it."""
    make, model = (str(exif.get(tag) or "").strip("\0 ") for tag in (_MAKE, _MODEL))
    name = model if make and model.lower().startswith(make.lower()) else f"{make} {model}"
    return " ".join(name.split())[:200] or None


def location(exif: Exif) -> tuple[float, float] | None:
    """GPS latitude and longitude in degrees, north and east positive."""
    gps = exif.get_ifd(_GPS_IFD)
    try:
        latitude = _degrees(gps[2]) * (-1 if str(gps[1]).upper().startswith("S") else 1)
        longitude = _degrees(gps[4]) * (-1 if str(gps[3]).upper().startswith("W") else 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None  # also false for NaN
    return round(latitude, 7), round(longitude, 7)


def _degrees(value: object) -> float:
    degrees, minutes, seconds = (float(part) for part in value)  # type: ignore[attr-defined]
    return degrees + minutes / 60 + seconds / 3600


def _date(value: object) -> str | None:
    """EXIF's `YYYY:MM:DD HH:MM:SS`."""
    try:
        return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return None
