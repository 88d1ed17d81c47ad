"""Conditions on pictures as people write them (`price<50`, `2024-06`, `10km`), read into a filter.

The command line and the service share them. Numpy is loaded only once there is something to read:
`--help` needs the names alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.search.filters import Condition, PictureFilter

CONDITION = re.compile(r"([A-Za-z0-9_]+)(<=|>=|<|>|=)(.*)", re.DOTALL)
METRES = {"m": 1.0, "km": 1000.0, "mi": 1609.344}
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
FORMATS = ("JPEG", "PNG", "HEIC", "AVIF", "JXL", "WEBP", "GIF", "TIFF", "BMP")
OTHER_NAMES = {"JPG": "JPEG", "TIF": "TIFF", "HEIF": "HEIC"}
WITHIN = "1km"


class Orientation(StrEnum):
    """How a picture is seen, turned upright."""

    LANDSCAPE = "landscape"
    PORTRAIT = "portrait"
    SQUARE = "square"


def condition(text: str) -> Condition:
    """`KEY=VALUE`, or a comparison such as `price<50`. Raises UsageError."""
    from clipindex.search.filters import Condition  # `--help` needs none of it
    from clipindex.stores.payload import parse_tag  # `--help` needs none of it

    match = CONDITION.fullmatch(text)
    if match is None or (match[2] != "=" and not match[3].strip()):
        raise UsageError(f"{text!r} is not a condition", hint="such as owner=ann or price<50")
    if match[2] == "=":
        parse_tag(text)
    return Condition(match[1], match[2], match[3] if match[2] == "=" else match[3].strip())


def date(text: str) -> tuple[str, str]:
    """A year, month, day or minute: when it begins and when it is over. Raises UsageError."""
    from clipindex.search.dates import span  # `--help` needs none of it

    return span(text)


def place(text: str) -> tuple[float, float]:
    """`LAT,LON` in degrees. Raises UsageError."""
    try:
        latitude, longitude = map(float, text.split(","))
    except ValueError:
        latitude = longitude = 999.0
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise UsageError(
            f"'{text}' is not a place", hint="latitude and longitude in degrees: 48.858,2.294"
        )
    return latitude, longitude


def metres(text: str) -> float:
    """`10km`, `500m`, `3mi`. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(m|km|mi)", text.strip().lower())
    if match is None or not float(match[1]):
        raise UsageError(f"'{text}' is not a distance", hint="such as 10km, 500m or 3mi")
    return float(match[1]) * METRES[match[2]]


def formats(text: str) -> tuple[str, ...]:
    """The formats that `--type` means: one, or all of camera raw files. Raises UsageError."""
    from clipindex.pictures.formats import RAW_FORMATS  # `--help` needs none of it

    name = text.strip().lstrip(".").upper()
    name = OTHER_NAMES.get(name, name)
    if name == "RAW":
        return tuple(sorted(RAW_FORMATS))
    known = (*FORMATS, *sorted(RAW_FORMATS))
    if name not in known:
        raise UsageError(
            f"'{text}' is not a type of picture that clipindex reads",
            hint=f"one of {', '.join(known).lower()}",
        )
    return (name,)


def size(text: str) -> dict[str, int]:
    """`2MB` as the least bytes, `1920x1080` as the least width and height. Raises UsageError."""
    lower = text.strip().lower()
    if pixels := re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", lower):
        return {"min_width": int(pixels[1]), "min_height": int(pixels[2])}
    amount = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kmg]i?)?b?", lower)
    if amount is None:
        raise UsageError(f"'{text}' is not a size", hint="such as 500kB, 2MB or 1920x1080")
    return {"min_bytes": round(float(amount[1]) * BYTES[amount[2] or ""])}


def picture_filter(given: Mapping[str, Any]) -> PictureFilter:
    """What the options say. Raises UsageError for --within without a place."""
    from clipindex.search.filters import PictureFilter  # `--help` needs none of it

    near = given["near"]
    if near is None and given["within"] != WITHIN:
        raise UsageError("--within needs a place", hint="name it: --near 48.858,2.294")
    since, before = _between(given["taken"], given["after"], given["before"])
    names = [name for text in given["type"] or () for name in formats(text)]
    return PictureFilter(
        since=since,
        before=before,
        cameras=tuple(given["camera"] or ()),
        near=None if near is None else (*place(near), metres(given["within"])),
        formats=tuple(names),
        orientations=tuple(map(str, given["orientation"] or ())),
        where=_conditions(given["where"]),
        where_not=_conditions(given["where_not"]),
        **(size(given["min_size"]) if given["min_size"] else {}),
    )


def _conditions(texts: Sequence[str] | None) -> tuple[Condition, ...]:
    return tuple(map(condition, texts or ()))


def _between(
    taken: str | None, after: str | None, before: str | None
) -> tuple[str | None, str | None]:
    """The latest beginning and the earliest end. Raises UsageError where no time is between."""
    starts = [date(text)[0] for text in (taken, after) if text]
    ends = [date(text)[index] for text, index in ((taken, 1), (before, 0)) if text]
    since, until = max(starts, default=None), min(ends, default=None)
    if since is not None and until is not None and since >= until:
        raise UsageError("no time is after the one date and before the other")
    return since, until
