"""The values of a description, cleaned: whatever is not plausible is left out, each by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from clipindex.pictures.texts import printable

KEYWORDS, CAPTION, TITLE = "keywords", "caption", "title"
RATING, LABEL, CREATOR = "rating", "label", "creator"

# What a file or a sidecar says, by these keys. A key with an empty value says that there is none.
Description = Mapping[str, str | float | list[str]]

LONGEST_CAPTION = 2000  # characters: IPTC's own bound
LONGEST_TEXT = 250  # of a title, a keyword, a name
MOST_TEXTS = 500  # keywords or creators

# What Microsoft's programs store for one to five stars.
_PERCENTS = {0: 0, 1: 1, 25: 2, 50: 3, 75: 4, 99: 5}


def text(value: str, longest: int = LONGEST_TEXT) -> str:
    """A text on one line, cut where it is too long."""
    return printable(value[: 4 * longest])[:longest].strip()


def texts(values: Iterable[str]) -> list[str]:
    """Each different text once, in order."""
    cleaned = (text(value) for value in values)
    return [*dict.fromkeys(filter(None, cleaned))][:MOST_TEXTS]


def rating(value: str, *, percent: bool = False) -> float | None:
    """Stars: 0 for none given, -1 for a rejected picture; of `percent` one of Microsoft's steps."""
    try:
        number = float(value)
    except ValueError:
        return None
    if percent:
        return _PERCENTS.get(int(number)) if math.isfinite(number) else None
    if not -1 <= number <= 5:  # also where it is NaN
        return None
    return int(number) if number.is_integer() else number
