"""Pure: a JPEG file without metadata, or without stray bytes between its segments."""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.pictures.jpeg import Segment, Stream

_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# What follows JFIF and Adobe says how colours are meant.
_COLOURS = {_APP0: b"JFIF\0", _APP14: b"Adobe"}
_MOST_STRAY_BYTES = 65536  # Pillow passes over them one by one


def without_metadata(stream: Stream) -> bytes:
    """The picture with its EXIF, but no other metadata."""
    parts = (stream.data[segment.start : segment.end] for segment in stream.segments)
    kept = zip(stream.segments, parts, strict=True)
    return b"".join(part for segment, part in kept if _is_kept(segment, part))


def _is_kept(segment: Segment, part: bytes) -> bool:
    if segment.marker in _COLOURS:
        return part[4:].startswith(_COLOURS[segment.marker]) and len(part) >= 16
    if segment.marker == _APP1:
        return part[4:].startswith(b"Exif\0\0")
    return not (_APP0 <= segment.marker <= _APP15 or segment.marker == _COMMENT)


def without_gaps(stream: Stream) -> bytes:
    """The picture without what lies between its segments, where that is much."""
    lengths = list(_lengths(stream))
    stray = sum(
        segment.end - segment.start - length
        for segment, length in zip(stream.segments, lengths, strict=True)
    )
    if stray <= _MOST_STRAY_BYTES:
        return stream.data
    parts = zip(stream.segments, lengths, strict=True)
    return b"".join(
        stream.data[segment.start : segment.start + length] for segment, length in parts
    )


def _lengths(stream: Stream) -> Iterator[int]:
    """How much of each segment is its own; of a scan all, as its data follows it."""
    begun = False
    for segment in stream.segments:
        begun |= segment.marker == _SOS
        whole = segment.end - segment.start
        if begun:
            yield whole
        elif segment.marker in (_SOI, _EOI, 0, 1):
            yield min(2, whole)
        else:
            start = segment.start + 2
            yield min(whole, 2 + int.from_bytes(stream.data[start : start + 2], "big"))
