"""Pure: the previews that a camera writes behind a JPEG, and the first rows of that JPEG.

A list of further pictures (CIPA DC-007, MPF) is a TIFF directory in an APP2 segment; offsets count
from that directory's head. Gain maps and depth maps are in it, too: they have the picture's shape
and are no previews.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from clipindex.pictures.jpeg import Frame, Stream

_APP2, _EOI = 0xE2, 0xD9
_NAME = b"MPF\0"
_ENTRIES = 0xB002
_ENTRY = 16  # bytes: attributes, size, offset, and two that it depends on
_PREVIEWS = (0x010001, 0x010002)  # "large thumbnails", VGA and full HD
_MOST_LISTED = 8  # pictures; each is looked at
_LONGEST_GAP = 4096  # bytes of padding behind the first picture
_FORMAT, _TYPE = 0x07000000, 0x00FFFFFF  # of the attributes; format 0 is JPEG


def previews(stream: Stream) -> tuple[tuple[int, int], ...]:
    """`data[start:end]` of each preview that a JPEG file lists, if all of its first picture is
    there: its end is where the list says, or, as some cameras count otherwise, just before a
    preview. Empty where there is no list, or a broken one."""
    for segment in stream.segments:
        base = segment.start + 4
        if segment.marker == _APP2 and stream.data.startswith(_NAME, base):
            base += len(_NAME)
            length = int.from_bytes(stream.data[segment.start + 2 : segment.start + 4], "big")
            end = min(segment.start + 2 + length, segment.end)
            try:
                return _previews(stream, stream.data[base:end], base)
            except struct.error:
                return ()
    return ()


def _previews(stream: Stream, directory: bytes, base: int) -> tuple[tuple[int, int], ...]:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(directory[:4])
    entries = list(_entries(directory, order)) if order else []
    ends = [segment.end for segment in stream.segments if segment.marker == _EOI]
    if not ends or not 0 < len(entries) <= _MOST_LISTED:
        return ()
    spans = tuple(
        (base + offset, base + offset + size)
        for attributes, size, offset in entries[1:]
        if attributes & _TYPE in _PREVIEWS and not attributes & _FORMAT
    )
    gaps = [start - ends[0] for start, _ in spans]
    is_whole = entries[0][1] == ends[0] or any(0 <= gap <= _LONGEST_GAP for gap in gaps)
    is_inside = all(ends[0] <= start <= end <= len(stream.data) for start, end in spans)
    return spans if is_whole and is_inside else ()


def _entries(directory: bytes, order: str) -> Iterator[tuple[int, int, int]]:
    """Attributes, size and offset of each picture. Raises struct.error."""
    (at,) = struct.unpack_from(order + "L", directory, 4)
    (count,) = struct.unpack_from(order + "H", directory, at)
    for field in range(at + 2, at + 2 + 12 * count, 12):
        tag, _, length, place = struct.unpack_from(order + "HHLL", directory, field)
        if tag == _ENTRIES:
            for entry in range(place, min(place + length, len(directory)), _ENTRY):
                yield struct.unpack_from(order + "LLL", directory, entry)
            return


def first_rows(stream: Stream, frame: Frame) -> tuple[bytes, int]:
    """A file that decodes to the first tenth of a picture in one scan, and its rows: the height
    in its header is another one. A decoder that has all rows leaves the rest alone."""
    unit = 8 * max(down for _, down in frame.factors)
    rows = min(frame.height, -(-frame.height // (10 * unit)) * unit)
    start = next(segment.start for segment in stream.segments if segment.marker == frame.marker)
    at = start + 5  # behind the marker, the length and the precision
    return stream.data[:at] + rows.to_bytes(2, "big") + stream.data[at + 2 :], rows
