"""Pure: whether a run of zeros in a JPEG's compressed data can be part of a picture.

A hole (a copy that broke off in a preallocated file, a lost sector) decodes without an error:
Huffman codes make something of any bits, and find their way back behind it. Yet black or white
paper, coded with tables made for it, has long runs of zeros too. What tells them apart:

- where zeros are no code for "nothing more in this block", they are a hole;
- a hole swallows restart markers, whose numbers and count are known;
- a hole is decoded to more blocks than were lost, or to fewer: data is left over, or lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipindex.pictures.jpeg import Frame, Segment, Stream

_HOLE = bytes(512)  # a sector
_SPOILED = 16  # bytes at the end of a scan; an encoder leaves less unused
_DHT, _DRI, _SOS, _AC = 0xC4, 0xDD, 0xDA, 1
_END_OF_BLOCK = 0x00
_NOT_ZERO = re.compile(rb"[^\0]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_SEQUENTIAL_HUFFMAN = (0xC0, 0xC1)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A scan with a run of zeros is whole if one of these files decodes as it should.

    `spoiled` has other bytes at the end of the scan: its pixels differ. `filled` has other bytes
    instead of the zeros: its pixels are the same if the zeros carry nothing.
    """

    spoiled: bytes
    filled: bytes


@dataclass(slots=True)
class _State:
    """What the segments before a scan have set."""

    zero_codes: dict[int, int]  # class and number of a Huffman table -> what zeros stand for
    interval: int = 0  # units between restart markers, 0 for none


def doubts(stream: Stream) -> tuple[Doubt, ...]:
    """Of each scan with a run of zeros. Raises ValueError where it is a hole in any case."""
    state, found = _State({}), []
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
            if hole < 0:
                continue
            behind = _NOT_ZERO.search(stream.data, hole)
            end = min(behind.start() if behind else segment.end, segment.end)
            if end < segment.end:  # zeros at the end may be padding
                _refuse_impossible(stream, segment, content, begin, state)
            filled = stream.data[:hole] + _other(stream.data[hole:end]) + stream.data[end:]
            found.append(Doubt(_spoiled(stream.data, segment.end), filled))
    return tuple(found)


def _read_tables(content: bytes, state: _State) -> None:
    """The first symbol of a table has the shortest code, of zeros alone (T.81, C.2)."""
    while len(content) > 17:
        state.zero_codes[content[0]] = content[17]
        content = content[17 + sum(content[1:17]) :]


def _refuse_impossible(
    stream: Stream, segment: Segment, header: bytes, begin: int, state: _State
) -> None:
    frame = stream.frame
    if frame is None or len(header) < 6:
        return
    tables = [each & 15 for each in header[2 : 1 + 2 * header[0] : 2]]
    ends = [state.zero_codes.get(_AC << 4 | table) == _END_OF_BLOCK for table in tables]
    hole = frame.marker in _SEQUENTIAL_HUFFMAN and not any(ends)
    if not hole and state.interval:
        restarts = _RESTART.findall(stream.data[begin : segment.end])
        wanted = (_units(frame, header[1 : 1 + 2 * header[0] : 2]) - 1) // state.interval
        numbers = bytes(each[0] & 7 for each in restarts)
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
    return bytes(0x11 if each in (0xFF, 0xA5) else each ^ 0x5A for each in part)
