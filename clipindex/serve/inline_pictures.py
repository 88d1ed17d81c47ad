"""Pictures inside of JSON: as a data URL, or in base64 alone."""

from __future__ import annotations

import base64
import binascii
import re

from clipindex.errors import FileFault
from clipindex.pictures.formats import HEAD, picture_format

DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<coded>;base64)?,")
ANY_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Words without spaces are shorter than the base64 of any picture.
SHORTEST = 64
ENCODED = re.compile(rf"[A-Za-z0-9+/_\r\n-]{{{SHORTEST}}}")
URL_SAFE = str.maketrans("-_", "+/")


def picture_or_none(value: str) -> bytes | None:
    """The picture that a string holds; None for a text.

    A data URL is never a text. Base64 alone is a picture where its first bytes are those of one.
    Raises FileFault for a data URL without a picture.
    """
    if DATA_URL.match(value):
        return picture_in(value)
    if not ENCODED.match(value):
        return None
    try:
        head = _decoded("".join(value[: 2 * HEAD].split())[:HEAD])
    except FileFault:
        return None
    return picture_in(value) if picture_format(head) is not None else None


def picture_in(value: str) -> bytes:
    """The bytes of a picture from a data URL or base64: the standard alphabet or the one for
    URLs, with or without line breaks. Raises FileFault for anything else."""
    url = DATA_URL.match(value)
    if url is None:
        if ANY_URL.match(value):
            raise FileFault("it is a URL, and this service downloads nothing: send the picture")
        return _decoded(value)
    if not url["coded"]:
        raise FileFault("a data URL has to be in base64: data:image/jpeg;base64,...")
    return _decoded(value[url.end() :])


def _decoded(encoded: str) -> bytes:
    data = _decoded_at_once(encoded)
    if data is None:  # wrapped, without its end, in the other alphabet, or nothing of the kind
        text = "".join(encoded.split()).translate(URL_SAFE).rstrip("=")
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise FileFault("it is neither a data URL nor base64") from None
    if not data:
        raise FileFault("empty file")
    return data


def _decoded_at_once(encoded: str) -> bytes | None:
    """The bytes of base64 as nearly everybody writes it; otherwise None. A strict decoder takes
    twice as long as one that passes over what it does not know, so the length has to agree."""
    length = len(encoded)
    try:
        data = binascii.a2b_base64(encoded)
    except ValueError:
        return None
    is_whole = length % 4 == 0 and len(data) == length // 4 * 3 - encoded.count("=", length - 2)
    return data if is_whole else None
