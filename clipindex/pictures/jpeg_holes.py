"""Pure: whether a run of zeros in a JPEG's compressed data can be part of a picture.

A copy that breaks off in a preallocated file, or a lost sector, leaves a hole. It decodes without
an error: Huffman codes make something of any bits, and fall into step again behind it. But black
or white paper, coded with tables made for it, has long runs of zeros too. These tell them apart:

- Where zeros are not the code for "nothing more in this block", they are a hole.
- A progressive picture with a run of zeros and without its last scans has lost them.
- A hole removes restart markers. Their numbers and their count are known.
- A hole decodes to more blocks than were lost, or to fewer: data is left over, or missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipindex.pictures.jpeg import FILLING, Frame, Segment, Stream

_HOLE = bytes(512)  # a sector
_OTHER_DATA = 64  # bytes of a segment, more than its header
_SPOILED = 16  # bytes at the end of a scan; an encoder leaves fewer unused
_DHT, _DRI, _SOS, _AC = 0xC4, 0xDD, 0xDA, 1
_END_OF_BLOCK = b"\0"
_COUNTS = {*range(0x10, 0xF0, 0x10)}  # symbols for several empty blocks
_NOT_ZERO = re.compile(rb"[^\0]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_IN_ORDER = bytes(range(0xD0, 0xD8))
_SEQUENTIAL_HUFFMAN, _PROGRESSIVE_HUFFMAN = (0xC0, 0xC1), 0xC2
_OF_BLOCKS = {*_SEQUENTIAL_HUFFMAN, _PROGRESSIVE_HUFFMAN, 0xC9, 0xCA}  # frames coded by an 8x8 DCT


@dataclass(frozen=True, slots=True)
class Doubt:
    """Three files that show, once decoded, whether a scan with a run of zeros is whole.

    `filled` has other bytes in place of the zeros. If it gives the picture's pixels, no pixel
    depends on the zeros. `spoiled` has other bytes at the end of the scan. If it gives the same
    pixels, the scan has more data than it needs. `extended` has more data there. If it gives other
    pixels, the scan has less data than it needs.
    """

    filled: bytes
    spoiled: bytes
    extended: bytes


@dataclass(slots=True)
class _State:
    """What the segments before a scan have set."""

    symbols: dict[int, bytes]  # by class and number of a Huffman table, the shortest code first
    interval: int = 0  # units between restart markers, 0 for none


def doubts(stream: Stream) -> tuple[Doubt, ...]:
    """One for each scan with a run of zeros.

    Raises ValueError where the run must be a hole, or restart markers are missing.
    """
    _refuse_lost_scans(stream)
    state, doubtful = _State({}), []
    for segment in stream.segments:
        start = segment.start + 2
        content = stream.data[start + 2 : start + int.from_bytes(stream.data[start : start + 2])]
        if segment.marker == _DHT:
            _read_tables(content, state)
        elif segment.marker == _DRI:
            state.interval = int.from_bytes(content[:2])
        elif segment.marker == _SOS:
            begin = start + 2 + len(content)
            if state.interval:
                _refuse_lost_restarts(stream, segment, content, begin, state.interval)
            hole = stream.data.find(_HOLE, begin, segment.end)
            if hole < 0 or _refines_means(content):
                continue
            end = _end_of_zeros(stream, segment, hole)
            if end < segment.end:  # some encoders pad the end of a scan with zeros
                _refuse_impossible(stream, content, state)
            filled = stream.data[:hole] + _other(stream.data[hole:end]) + stream.data[end:]
            extended = stream.data[: segment.end] + FILLING + stream.data[segment.end :]
            doubtful.append(Doubt(filled, _spoiled(stream.data, segment.end), extended))
    return tuple(doubtful)


def _refuse_lost_scans(stream: Stream) -> None:
    """Refuse a progressive picture that lacks scans and has zeros beside other data.

    A hole over the header of a scan, or over its table, leaves nothing else to see.
    """
    if stream.frame is None or not stream.frame.progressive or stream.complete:
        return
    begun = False
    for segment in stream.segments:
        begun |= segment.marker == _SOS
        hole = stream.data.find(_HOLE, segment.start, segment.end)
        if hole < 0 or not begun or segment.marker == 0:
            continue
        before, behind = hole - segment.start, segment.end - _end_of_zeros(stream, segment, hole)
        if max(before, behind) >= _OTHER_DATA:
            raise ValueError("a part of the picture is filled with zeros")


def _end_of_zeros(stream: Stream, segment: Segment, hole: int) -> int:
    behind = _NOT_ZERO.search(stream.data, hole, segment.end)
    return behind.start() if behind else segment.end


def _refines_means(header: bytes) -> bool:
    """Whether a scan brings the last bit of each block's mean; it is often 0 throughout."""
    at = 1 + 2 * header[0] if header else 0
    return len(header) > at + 2 and header[at] == 0 and header[at + 2] >> 4 > 0


def _read_tables(content: bytes, state: _State) -> None:
    """Keep the symbols of each table. A new table replaces the one with its number.

    A code of zeros alone stands for the first symbol (T.81, C.2).
    """
    while len(content) > 17:
        end = 17 + sum(content[1:17])
        state.symbols[content[0]] = content[17:end]
        content = content[end:]


def _refuse_lost_restarts(
    stream: Stream, segment: Segment, header: bytes, begin: int, interval: int
) -> None:
    """Refuse a scan that lacks one of the restart markers RST0, RST1 .. RST7, RST0 .. it needs.

    Markers behind the last one are allowed: libjpeg passes over them.
    """
    frame = stream.frame
    components = header[1 : 1 + 2 * header[0] : 2] if header else b""
    if frame is None or frame.marker not in _OF_BLOCKS or not {*components} <= {*frame.components}:
        return
    wanted = max(0, (_units(frame, components) - 1) // interval)
    numbers = b"".join(_RESTART.findall(stream.data, begin, segment.end))
    if numbers[:wanted] != (_IN_ORDER * (wanted // 8 + 1))[:wanted]:
        raise ValueError("its data ends before the picture does, or a part is missing")


def _refuse_impossible(stream: Stream, header: bytes, state: _State) -> None:
    """Refuse a scan with a run of zeros that its tables or its encoder would not give."""
    frame = stream.frame
    if frame is None or len(header) < 6:
        return
    tables = [byte & 15 for byte in header[2 : 1 + 2 * header[0] : 2]]
    symbols = [state.symbols.get(_AC << 4 | table, b"") for table in tables]
    hole = False
    if frame.marker in _SEQUENTIAL_HUFFMAN:
        hole = any(codes[:1] != _END_OF_BLOCK for codes in symbols)
    elif frame.marker == _PROGRESSIVE_HUFFMAN and header[1 + 2 * header[0]] > 0:
        # An encoder that counts empty blocks needs few bits for thousands of them.
        hole = any(codes[:1] != _END_OF_BLOCK or _COUNTS & {*codes} for codes in symbols)
    if hole:
        raise ValueError("a part of the picture is filled with zeros")


def _units(frame: Frame, components: bytes) -> int:
    """The number of MCUs in a scan (T.81, A.2)."""
    widest = max(across for across, _ in frame.factors)
    tallest = max(down for _, down in frame.factors)
    if len(components) == 1:
        own = frame.factors[frame.components.index(components[0])]
        width, height = -(-frame.width * own[0] // widest), -(-frame.height * own[1] // tallest)
        return -(-width // 8) * -(-height // 8)
    return -(-frame.width // (8 * widest)) * -(-frame.height // (8 * tallest))


def _spoiled(data: bytes, end: int) -> bytes:
    start = end - _SPOILED
    return data[:start] + _other(data[start:end]) + data[end:]


def _other(part: bytes) -> bytes:
    """As many bytes, all of them changed and none of them part of a marker."""
    return bytes(0x11 if byte in (0xFF, 0xA5) else byte ^ 0x5A for byte in part)
