"""Pure: a PNG file without what does not make its picture, and whether its data is whole.

    signature  IHDR  [PLTE  tRNS  eXIf  text ..]  IDAT ..  IEND

Large or broken texts, colour profiles and animations would cost the picture: Pillow refuses the
file. Kept are colours, transparency and, when they are sound, EXIF and the texts that hold it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = 8
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_OF_ONE_LENGTH_AT_LEAST = {b"tRNS": 1, b"eXIf": 8}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
# Texts in which Pillow looks for the orientation.
_KEYWORDS = {b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1"}
_MOST_TEXT = 1 << 20  # Pillow's MAX_TEXT_CHUNK
_MOST_CHUNKS = 200_000  # 1.6 GB in pieces of the usual size


@dataclass(frozen=True, slots=True)
class Chunk:
    """`data[start:end]` with length and checksum. `sound`: the checksum agrees."""

    kind: bytes
    start: int
    end: int
    sound: bool


def without_extras(data: bytes) -> bytes:
    """The picture alone. Raises ValueError where its compressed data is damaged."""
    chunks = list(_chunks(data))
    kept = [chunk for chunk in chunks if _is_kept(data, chunk)]
    if any(chunk.kind == b"IDAT" and not chunk.sound for chunk in kept):
        _check_compressed(data, kept)
    if len(kept) == len(chunks):
        return data
    return data[:_SIGNATURE] + b"".join(data[chunk.start : chunk.end] for chunk in kept)


def _chunks(data: bytes) -> Iterator[Chunk]:
    at = _SIGNATURE
    view = memoryview(data)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            if at < len(data):
                yield Chunk(b"IEND", at, len(data), False)
            return
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data) or not kind.isalpha():  # damaged: the decoder says so
            yield Chunk(b"IEND", at, len(data), False)
            return
        checksum = zlib.crc32(view[at + 4 : end - 4])
        yield Chunk(kind, at, end, checksum == int.from_bytes(data[end - 4 : end], "big"))
        if kind == b"IEND":
            return
        at = end
    raise ValueError(f"more than {_MOST_CHUNKS} chunks: no picture has so many")


def _is_kept(data: bytes, chunk: Chunk) -> bool:
    if chunk.kind in _CRITICAL:
        return True
    content = chunk.end - chunk.start - 12
    if chunk.kind in _OF_ONE_LENGTH_AT_LEAST:
        return chunk.sound and content >= _OF_ONE_LENGTH_AT_LEAST[chunk.kind]
    return chunk.kind in _TEXTS and chunk.sound and _is_sound_text(data, chunk)


def _is_sound_text(data: bytes, chunk: Chunk) -> bool:
    """Whether it is one that may hold the orientation, and Pillow will read it."""
    content = data[chunk.start + 8 : min(chunk.end - 4, chunk.start + 8 + 4 * _MOST_TEXT)]
    keyword, _, rest = content.partition(b"\0")
    if keyword not in _KEYWORDS or chunk.end - chunk.start > _MOST_TEXT:
        return False
    if chunk.kind == b"iTXt":
        if rest[:1] != b"\1":
            return len(rest) > 2
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif chunk.kind == b"zTXt":
        packed = rest[1:]
    else:
        return True
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _MOST_TEXT)
    except zlib.error:
        return False
    return unpacker.eof


def _check_compressed(data: bytes, chunks: list[Chunk]) -> None:
    """Where a chunk's checksum is wrong, that of the pixels decides (zlib's, at the very end)."""
    header = data[_SIGNATURE + 8 : _SIGNATURE + 21]
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    left = 10 * width * height + 64 * height + 1024  # more than any kind of picture unpacks to
    unpacker = zlib.decompressobj()
    try:
        for chunk in (chunk for chunk in chunks if chunk.kind == b"IDAT"):
            packed = data[chunk.start + 8 : chunk.end - 4]
            while packed and left > 0 and not unpacker.eof:
                left -= len(unpacker.decompress(packed, 1 << 20))
                packed = unpacker.unconsumed_tail
    except zlib.error:
        raise ValueError("the checksum of its data is wrong") from None
    if not unpacker.eof:
        raise ValueError("the checksum of its data is wrong")
