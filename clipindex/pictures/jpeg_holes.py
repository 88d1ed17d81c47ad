"""Pure: whether a run of zeros in a JPEG's compressed data can be part of a picture.

A hole (a copy that broke off in a preallocated file, a lost sector) decodes without an error:
Huffman codes make something of any bits, and find their way back behind it. Yet black or white
paper, coded with tables made for it, has long runs of zeros too. What tells them apart:

- where zeros are not the code for "nothing more in this block", they are a hole;
- a hole swallows restart markers, whose numbers and count are known;
- a hole is decoded to more blocks than were lost, or to fewer: data is left over, or lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipindex.pictures.jpeg import FILLING, Frame, Segment, Stream

_HOLE = bytes(512)  # a sector
_SPOILED = 16  # bytes at the end of a scan; an encoder leaves less unused
_DHT, _DRI, _SOS, _AC = 0xC4, 0xDD, 0xDA, 1
_END_OF_BLOCK = b"\0"
_COUNTS = {*range(0x10, 0xF0, 0x10)}  # symbols for several blocks with nothing more
_NOT_ZERO = re.compile(rb"[^\0]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_SEQUENTIAL_HUFFMAN, _PROGRESSIVE_HUFFMAN = (0xC0, 0xC1), 0xC2


@dataclass(frozen=True, slots=True)
class Doubt:
    """Three files that tell whether a scan with a run of zeros is whole.

    `filled` has other bytes instead of the zeros: where its pixels are the picture's, the zeros
    carry nothing. `spoiled` has other bytes at the end of the scan: its pixels differ where all
    data of a scan is used. `extended` has more data there: its pixels differ where some lacked.
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
    """Of each scan with a run of zeros. Raises ValueError where it is a hole in any case."""
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
            hole = stream.data.find(_HOLE, begin, segment.end)
            if hole < 0 or _refines_means(content):
                continue
            behind = _NOT_ZERO.search(stream.data, hole)
            end = min(behind.start() if behind else segment.end, segment.end)
            if end < segment.end:  # zeros at the end may be padding
                _refuse_impossible(stream, segment, content, begin, state)
            filled = stream.data[:hole] + _other(stream.data[hole:end]) + stream.data[end:]
            extended = stream.data[: segment.end] + FILLING + stream.data[segment.end :]
            doubtful.append(Doubt(filled, _spoiled(stream.data, segment.end), extended))
    return tuple(doubtful)


def _refines_means(header: bytes) -> bool:
    """Whether a scan brings one bit for each block: the lowest of its mean, and often unseen."""
    at = 1 + 2 * header[0] if header else 0
    return len(header) > at + 2 and header[at] == 0 and header[at + 2] >> 4 > 0


def _read_tables(content: bytes, state: _State) -> None:
    """Tables are replaced as they come; zeros are the code of the first symbol (T.81, C.2)."""
    while len(content) > 17:
        end = 17 + sum(content[1:17])
        state.symbols[content[0]] = content[17:end]
        content = content[end:]


def _refuse_impossible(
    stream: Stream, segment: Segment, header: bytes, begin: int, state: _State
) -> None:
    frame = stream.frame
    if frame is None or len(header) < 6:
        return
    tables = [byte & 15 for byte in header[2 : 1 + 2 * header[0] : 2]]
    symbols = [state.symbols.get(_AC << 4 | table, b"") for table in tables]
    hole = False
    if frame.marker in _SEQUENTIAL_HUFFMAN:
        hole = any(codes[:1] != _END_OF_BLOCK for codes in symbols)
    elif frame.marker == _PROGRESSIVE_HUFFMAN and header[1 + 2 * header[0]] > 0:
        # Blocks with nothing more are counted, where an encoder does that at all.
        hole = any(codes[:1] != _END_OF_BLOCK or _COUNTS & {*codes} for codes in symbols)
    if not hole and state.interval:
        restarts = _RESTART.findall(stream.data[begin : segment.end])
        wanted = (_units(frame, header[1 : 1 + 2 * header[0] : 2]) - 1) // state.interval
        numbers = bytes(marker[0] & 7 for marker in restarts)
        hole = numbers != bytes(n & 7 for n in range(wanted))
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
    """Bytes of which none is as before, and none makes a marker."""
    return bytes(0x11 if byte in (0xFF, 0xA5) else byte ^ 0x5A for byte in part)
