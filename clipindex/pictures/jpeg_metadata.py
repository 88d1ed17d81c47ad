"""Pure: remove metadata from a JPEG file, or stray bytes between its segments."""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.pictures.jpeg import Segment, Stream

_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# These two segments tell how to read the colours.
_COLOURS = {_APP0: b"JFIF\0", _APP14: b"Adobe"}
_MOST_STRAY_BYTES = 65536  # Pillow reads them one by one


def without_metadata(stream: Stream) -> bytes:
    """The file with its EXIF and no other metadata."""
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
    """The file without the bytes between its segments, if they are many."""
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
    """The bytes of each segment that belong to it; all of a scan, since its data follows it."""
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
