"""Pure: what IPTC-IIM says of a picture, the form before XMP that many archives still have.

IIM 4.2: datasets of five bytes and their content. They lie in a TIFF tag, or in a resource of
Photoshop's, which a JPEG keeps in APP13.
"""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.pictures.description import values
from clipindex.pictures.description.values import (
    CAPTION,
    CREATOR,
    KEYWORDS,
    LONGEST_CAPTION,
    TITLE,
    Description,
)

_CHARACTERS = (1, 90)
_NAME, _KEYWORD, _BYLINE, _HEADLINE, _CAPTION = (2, 5), (2, 25), (2, 80), (2, 105), (2, 120)
_UTF8 = b"\x1b%G"
_RESOURCE = 0x0404  # Photoshop's number for it
_MOST_PARTS = 10_000  # datasets or resources
_MOST_BYTES = 1 << 20  # of all datasets: a caption has up to 2,000


def read_iptc(data: bytes) -> Description:
    """What the datasets say; what is cut off or damaged is left out."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for name, content in _datasets(data[:_MOST_BYTES]):
        found.setdefault(name, []).append(content)
    utf8 = _UTF8 in found.get(_CHARACTERS, ())

    def texts(name: tuple[int, int]) -> list[str]:
        return [_decoded(content, utf8=utf8) for content in found.get(name, ())]

    described: dict[str, str | float | list[str]] = {}
    for key, name in ((KEYWORDS, _KEYWORD), (CREATOR, _BYLINE)):
        if several := values.texts(texts(name)):
            described[key] = several
    for key, name, longest in (
        (CAPTION, _CAPTION, LONGEST_CAPTION),
        (TITLE, _HEADLINE, values.LONGEST_TEXT),
        (TITLE, _NAME, values.LONGEST_TEXT),
    ):
        if text := values.text(" ".join(texts(name)), longest):
            described[key] = text
    return described


def iptc_in(resources: bytes) -> bytes:
    """The datasets among Photoshop's resources; b"" where there are none."""
    at = 0
    for _ in range(_MOST_PARTS):
        if len(resources) < at + 12 or resources[at : at + 4] != b"8BIM":
            return b""
        number = int.from_bytes(resources[at + 4 : at + 6], "big")
        at += 6 + _even(1 + resources[at + 6])  # its name, with its length in a byte
        size = int.from_bytes(resources[at : at + 4], "big")
        if number == _RESOURCE:
            return resources[at + 4 : at + 4 + size]
        at += 4 + _even(size)
    return b""


def _even(size: int) -> int:
    return size + (size & 1)


def _datasets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    for _ in range(_MOST_PARTS):
        if len(data) < at + 5 or data[at] != 0x1C:
            return
        name, size = (data[at + 1], data[at + 2]), int.from_bytes(data[at + 3 : at + 5], "big")
        at += 5
        if size & 0x8000:  # then it is the length of the length
            wide = size & 0x7FFF
            if wide > 4:
                return
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        if len(data) < at + size:
            return
        yield name, data[at : at + size]
        at += size


def _decoded(content: bytes, *, utf8: bool) -> str:
    """Most programs that do not name their characters write UTF-8, or else what Windows uses."""
    if utf8:
        return content.decode("utf-8", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
