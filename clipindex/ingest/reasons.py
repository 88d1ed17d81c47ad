"""Pure: the reasons of single files, brought together for a summary.

A reason names what is wrong with one file, down to its numbers. A summary of thousands wants few
lines: "3 cut short". Notes of earlier versions are in the catalogue as text, so text is grouped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

NO_PICTURE = "not a picture"
GONE = "deleted before they were read"

# The first that matches, anywhere in a reason, gives the group.
_GROUPS = [
    (re.compile(pattern, re.IGNORECASE), group)
    for pattern, group in (
        (r"install (?:')?clipindex\[raw\]", "camera raw files: install clipindex[raw]"),
        (r"install (?:')?clipindex\[jxl\]", "JPEG XL pictures: install clipindex[jxl]"),
        (r"install pi-heif", "HEIC pictures: install pi-heif"),
        (r"XMP sidecar", "XMP beside a picture, read with it"),
        (r"^deleted before", GONE),
        (r"^not a picture$", NO_PICTURE),
        (r"has a picture's extension", "named like a picture, but not one"),
        (r"has a camera raw file's extension", "named like a camera raw file, but not one"),
        (r"permission denied", "permission denied"),
        (r"over the budget|the budget is|decode for minutes|larger than", "too large to decode"),
        (
            r"only zeros|filled with zeros|data has a hole|end of its pixels is empty",
            "partly empty",
        ),
        (r"empty file", "empty"),
        (
            r"truncated|cut short|ends before|beyond the file's end|left out|is missing$"
            r"|premature|unexpected end|broken data stream",
            "cut short",
        ),
        (r"preview is too small|without a preview", "camera raw without a usable preview"),
        (r"memory", "not enough memory"),
        (r"could not be read|changed while|no longer a regular file", "could not be read"),
        (r"not supported|cannot read|does not read", "of a kind that is not supported"),
        (r"^damaged", "damaged"),
    )
]


def group_of(reason: str | None) -> str:
    """The group of a reason; one that fits none is a group of its own.

    >>> group_of("damaged or not decodable: image file is truncated (6 bytes not processed)")
    'cut short'
    """
    text = reason or "damaged"
    return next((group for pattern, group in _GROUPS if pattern.search(text)), text)


def grouped(reasons: Iterable[str | None]) -> dict[str, int]:
    """Group -> how many files, the largest first."""
    counts = Counter(map(group_of, reasons))
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
