"""Pure: a WebP file reduced to its first picture, and whether all of that is there.

    RIFF size WEBP  VP8X  [ICCP]  [ANIM  ANMF(ALPH  VP8) ..]  ALPH  VP8 or VP8L  EXIF  XMP

The container is RFC 9649's. What does not make the picture is left out, so that damage in it
costs nothing: colour profiles, unknown chunks, the later frames of an animation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = 12
_EXTENDED, _ANIMATION, _FRAME = b"VP8X", b"ANIM", b"ANMF"
_PICTURE = (b"VP8 ", b"VP8L")
_METADATA = {b"EXIF": 0x08, b"XMP ": 0x04}  # and the flag in VP8X that announces each
_COLOUR_PROFILE_FLAG = 0x20
_FRAME_HEADER = 16  # bytes before the chunks of a frame
_MOST_CHUNKS = 1000

# Sound files have runs of zeros as long as this only where a picture is flat.
_HOLE = bytes(64)
# An encoder leaves up to three bytes at the end that no decoder reads.
_SPARE = 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """`data[start:end]` of a file, without name and size."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Still:
    """A WebP file of one picture; its width and height.

    `too_short`: the same file without the last bytes of a part that has a run of zeros. A decoder
    misses them, unless the zeros are a hole: then it has made the picture of less than was there.
    """

    data: bytes
    width: int
    height: int
    too_short: tuple[bytes, ...]


def still(data: bytes) -> Still:
    """The first picture. Raises ValueError where a part of it is missing."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ValueError(f"cut short: {len(data)} of {end} bytes are there")
    first: dict[bytes, Chunk] = {}
    for chunk in _chunks(data, _HEADER, end):
        first.setdefault(chunk.kind, chunk)
    if _FRAME in first and _EXTENDED in first:
        frame = first[_FRAME]
        inner = list(_chunks(data, frame.start + _FRAME_HEADER, frame.end))
    else:
        frame = None
        inner = list(first.values())
    parts = {chunk.kind: data[chunk.start : chunk.end] for chunk in inner if _is_coded(data, chunk)}
    if not any(kind in parts for kind in _PICTURE):
        raise ValueError("cut short: there is no picture in it")

    def file(parts: dict[bytes, bytes]) -> bytes:
        return _file(data, first, frame, parts)

    shorter = [
        file({**parts, kind: short})
        for kind, part in parts.items()
        if _HOLE in part[10:]
        for short in _shortened(kind, part)
    ]
    width, height = _size(data, first, parts)
    return Still(file(parts), width, height, tuple(shorter))


def xmp(data: bytes) -> bytes:
    """The XMP packet; b"" where there is none."""
    end = min(8 + int.from_bytes(data[4:8], "little"), len(data))
    try:
        chunks = (chunk for chunk in _chunks(data, _HEADER, end) if chunk.kind == b"XMP ")
        return next((data[chunk.start : chunk.end] for chunk in chunks), b"")
    except ValueError:  # the decoder says what is wrong
        return b""


def _chunks(data: bytes, at: int, end: int) -> Iterator[Chunk]:
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end:
            return
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunk = Chunk(data[at : at + 4], at + 8, at + 8 + size)
        if chunk.end <= end:
            yield chunk
        elif chunk.kind in (*_PICTURE, b"ALPH", _FRAME):
            raise ValueError("cut short: its picture goes on beyond its end")
        at = chunk.end + (size & 1)


def _size(data: bytes, first: dict[bytes, Chunk], parts: dict[bytes, bytes]) -> tuple[int, int]:
    """Of the canvas, or where there is none, of the picture."""
    if _EXTENDED in first:
        at = first[_EXTENDED].start
        sizes = (int.from_bytes(data[at + n : at + n + 3], "little") + 1 for n in (4, 7))
        return next(sizes), next(sizes)
    if b"VP8L" in parts:
        bits = int.from_bytes(parts[b"VP8L"][1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    sides = (int.from_bytes(parts[b"VP8 "][n : n + 2], "little") & 0x3FFF for n in (6, 8))
    return next(sides), next(sides)


def _is_coded(data: bytes, chunk: Chunk) -> bool:
    """Whether it makes pixels. Alpha that is not compressed may be zeros from end to end."""
    return chunk.kind in (*_PICTURE, b"ALPH") and chunk.start < chunk.end <= len(data)


def _shortened(kind: bytes, part: bytes) -> Iterator[bytes]:
    """Without its last bytes, and of a lossy picture without the last of its first partition."""
    yield part[:-_SPARE]
    tag = int.from_bytes(part[:3], "little")  # RFC 6386, 9.1: the size begins at bit 5
    end = 10 + (tag >> 5)
    if kind == b"VP8 " and _HOLE in part[10:end]:
        tag -= _SPARE << 5
        yield tag.to_bytes(3, "little") + part[3 : end - _SPARE] + part[end:]


def _file(
    data: bytes, first: dict[bytes, Chunk], frame: Chunk | None, parts: dict[bytes, bytes]
) -> bytes:
    picture = b"".join(_chunk(kind, parts[kind]) for kind in sorted(parts))  # ALPH before VP8
    if _EXTENDED not in first:
        return _riff(picture)
    kept = {kind: first[kind] for kind in _METADATA if kind in first}
    extended = bytearray(data[first[_EXTENDED].start : first[_EXTENDED].end])
    extended[0] &= ~(_COLOUR_PROFILE_FLAG | sum(_METADATA.values())) & 0xFF
    extended[0] |= sum(_METADATA[kind] for kind in kept)
    if frame is not None:
        animation = first.get(_ANIMATION)
        settings = data[animation.start : animation.end] if animation else bytes(6)
        head = data[frame.start : frame.start + _FRAME_HEADER]
        picture = _chunk(_ANIMATION, settings) + _chunk(_FRAME, head + picture)
    metadata = [_chunk(kind, data[chunk.start : chunk.end]) for kind, chunk in kept.items()]
    return _riff(_chunk(_EXTENDED, bytes(extended)) + picture + b"".join(metadata))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) & 1)


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WEBP" + chunks
