"""Pure: what a picture file says of itself, from all that it has.

XMP says it before IPTC, which older programs wrote: a key that XMP has, also an empty one, holds.
EXIF's facts (when, with which camera, where) are `pictures.exif`'s.
"""

from __future__ import annotations

from clipindex.pictures.description.iptc import read_iptc
from clipindex.pictures.description.packets import packets_in
from clipindex.pictures.description.values import Description
from clipindex.pictures.description.xmp import read_xmp
from clipindex.pictures.formats import picture_format


def description_of(data: bytes) -> Description:
    """Keywords, caption, title, rating, label and creator of a picture file; what is damaged is
    left out. Raises nothing."""
    packets = packets_in(data, picture_format(data))
    old = read_iptc(packets.iptc) if packets.iptc else {}
    new = read_xmp(packets.xmp) if packets.xmp else None
    return {**old, **(new or {})}
