"""What a picture file tells of itself: size, when, with which camera and where it was taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height

_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN = 0x9003  # DateTimeOriginal


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture file says of itself, upright: kept in the payload of its point."""

    width: int
    height: int
    format: str
    taken: str | None = None  # camera's local time, YYYY-MM-DDTHH:MM:SS
    camera: str | None = None
    location: tuple[float, float] | None = None  # latitude, longitude in degrees


def facts(image: Image, declared: tuple[int, int], kind: str) -> PictureFacts:
    """Size, format and what EXIF tells; damaged metadata tells nothing."""
    width, height = declared
    try:
        exif = image.getexif()
        if exif.get(ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return PictureFacts(width, height, kind, _taken(exif), _camera(exif), _location(exif))
    except Exception:  # EXIF is hostile ground: any error in it leaves the picture as it is
        return PictureFacts(width, height, kind)


def facts_of_raw(
    facts: PictureFacts, data: bytes, size: tuple[int, int], preview: Exif, blank: Exif
) -> PictureFacts:
    """Its preview's facts at the raw picture's size; its own EXIF where it is built as a TIFF."""
    if min(size) > 0:
        facts = replace(facts, width=size[0], height=size[1])
    try:
        facts = replace(facts, taken=facts.taken or _changed(preview))
        if data[:2] in (b"II", b"MM"):  # ORF and RW2 are TIFFs but for two bytes
            blank.load((b"II*\0" if data[:2] == b"II" else b"MM\0*") + data[4:])
            facts = replace(
                facts,
                taken=_taken(blank) or facts.taken,
                camera=_camera(blank) or facts.camera,
                location=_location(blank) or facts.location,
            )
    except Exception:  # as above
        return facts
    return facts


def _taken(exif: Exif) -> str | None:
    """The camera's local time as ISO 8601, if it is a real date."""
    return _date(exif.get_ifd(_EXIF_IFD).get(_TAKEN))


def _changed(exif: Exif) -> str | None:
    """When the file was written: in a raw file's preview, when it was taken."""
    date = _date(exif.get(_CHANGED))
    return None if date is None or date < "1971" else date  # LibRaw's for "not known": 1970


def _camera(exif: Exif) -> str | None:
    """Maker and model, the maker once: many models begin with it."""
    make, model = (str(exif.get(tag) or "").strip("\0 ") for tag in (_MAKE, _MODEL))
    name = model if make and model.lower().startswith(make.lower()) else f"{make} {model}"
    return " ".join(name.split())[:200] or None


def _location(exif: Exif) -> tuple[float, float] | None:
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
