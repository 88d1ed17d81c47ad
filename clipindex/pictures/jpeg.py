"""Pure: a JPEG file taken apart at its markers (ITU-T T.81, annex B), without decoding it.

    SOI  APPn ..  DQT  SOF  DHT  SOS data  [DHT  SOS data ..]  EOI  whatever follows

A marker is FF and another byte; but, as in libjpeg, FF 00 is data, FF FF is padding, and FF D0..D7
(RST0..7) are a part of a scan. A picture inside an APPn segment is skipped with the segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Metadata comes in pieces of 64 KiB: no picture has 600 MB of it.
MOST_SEGMENTS = 10_000

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_TEM, _SOI, _EOI, _SOS, _DQT, _APP2 = 0x01, 0xD8, 0xD9, 0xDA, 0xDB, 0xE2
_BARE = {_TEM, _SOI, _EOI}  # markers without parameters
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..15; between them DHT, JPG and DAC
_PROGRESSIVE, _PROGRESSIVE_HUFFMAN = {0xC2, 0xC6, 0xCA, 0xCE}, 0xC2
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_LAST_HUFFMAN = 0xC7  # of the frames; those above are arithmetic
_NO_MARKER = 0

# Of a block, in zigzag order. The first is its mean (DC), the others are called AC.
_COEFFICIENTS = 64
_UNSENT = -1
# By scale: the last coefficient that libjpeg's inverse DCT uses for 4x4, 2x2 and 1x1 pixels a
# block. In zigzag order the 4x4 lowest frequencies end at 24, the 2x2 lowest at 4.
_LAST_USED = {2: 24, 4: 4, 8: 0}
# The last coefficient that libjpeg smooths. It is too fine to see in a smaller picture.
_LAST_SMOOTHED = 9
# A reduced decode skips the lowest bits of AC coefficients, two thirds of a progressive file's
# bytes, while no coefficient is off by more than this. At quality 92 it skips two bits, at 75 one,
# below 65 none. Skipping two everywhere gave cosines to the exact path of 0.95; this gives 0.99.
_SPARE = 6
# Data that decodes to something under any tables, with each restart marker once. It fills any
# missing part of a scan; decoders skip it if none is missing.
FILLING = b"".join(bytes(range(255)) + bytes((0xFF, 0xD0 + n)) for n in range(8))


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker, its parameters and the data behind them: `data[start:end]` of a file.

    `marker` is the second byte of the marker; 0 for bytes before the first marker or behind EOI.
    """

    marker: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's header: its kind (C0..CF), its size in pixels, and its components.

    `factors` are the sampling factors of each component, across and down; `tables` the numbers
    of their quantiser tables.
    """

    marker: int
    width: int
    height: int
    components: tuple[int, ...]
    factors: tuple[tuple[int, int], ...]
    tables: tuple[int, ...]

    @property
    def samples(self) -> tuple[int, ...]:
        """How many each component has in one unit: often 4 for brightness, 1 for each colour."""
        return tuple(across * down for across, down in self.factors)

    @property
    def progressive(self) -> bool:
        """Whether several scans bring each coefficient, in growing detail."""
        return self.marker in _PROGRESSIVE

    @property
    def arithmetic(self) -> bool:
        """Whether it uses arithmetic coding, which decodes slowly."""
        return self.marker > _LAST_HUFFMAN

    @property
    def lossless(self) -> bool:
        """Whether it codes differences between pixels; it decodes at one scale only."""
        return self.marker in _LOSSLESS


@dataclass(frozen=True, slots=True)
class Scan:
    """A pass over the picture: coefficients `first` to `last` of each block of `components`.

    It brings bits down to `low`. `high` is the `low` of the scan that it refines, 0 for none.
    """

    components: tuple[int, ...]
    first: int
    last: int
    high: int
    low: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A JPEG file, taken apart. `segments` are in order and cover all of `data`."""

    data: bytes
    segments: tuple[Segment, ...]
    frame: Frame | None
    scans: tuple[Scan, ...]

    @property
    def ended(self) -> bool:
        """Whether it has an end marker. What follows that does not belong to the picture."""
        return any(segment.marker == _EOI for segment in self.segments)

    @property
    def held_whole(self) -> bool:
        """Whether a decoder keeps all coefficients in memory until the last scan."""
        frame = self.frame
        return frame is not None and (
            frame.progressive
            or any(len(scan.components) < len(frame.components) for scan in self.scans)
        )

    @property
    def complete(self) -> bool:
        """Whether its scans, by their headers, bring every bit of every component, in order.

        T.81 requires that of sequential pictures only; encoders do it for progressive ones too.
        """
        if self.frame is None:
            return False
        if not self.frame.progressive:
            brought = {component for scan in self.scans for component in scan.components}
            return brought == set(self.frame.components)
        lowest = {component: [_UNSENT] * _COEFFICIENTS for component in self.frame.components}
        for scan in self.scans:
            band = slice(scan.first, scan.last + 1)
            before = scan.high or _UNSENT
            for component in scan.components:
                bits = lowest.get(component, [])
                if {*bits[band]} != {before} or (scan.high and scan.low != scan.high - 1):
                    return False
                bits[band] = [scan.low] * len(bits[band])
        return not any(any(bits) for bits in lowest.values())

    def may_lack_data(self, *, ends_in_grey: bool) -> bool:
        """Whether the end marker may come too early, by the last pixel and the scans.

        A progressive picture that was cut lacks its last scans as a rule. A sequential one is grey
        where data is missing, unless its colours come in scans of their own.
        """
        if self.frame is None or not self.complete:
            return True
        return not self.frame.progressive and (self.held_whole or ends_in_grey)

    def reduced(self, scale: int) -> bytes:
        """A smaller file of a progressive picture that decodes alike at 1/`scale` (2, 4 or 8).

        It has the headers, tables and means (DC), and the other coefficients that this scale uses,
        without their lowest bits. It lacks colour profiles, the list of an MPO's pictures (APP2)
        and what follows the end. Only common progressive pictures are reduced.
        """
        frame = self.frame
        if frame is None or frame.marker != _PROGRESSIVE_HUFFMAN:
            return self.data
        if not (self.ended and self.complete and scale in _LAST_USED):
            return self.data
        steps = _steps([self.data[s.start : s.end] for s in self.segments if s.marker == _DQT])
        scans, kept = iter(self.scans), []
        for segment in self.segments:
            part = self.data[segment.start : segment.end]
            if segment.marker == _DQT:
                part = _without_smoothing(part, frame.tables[0])
            elif segment.marker in (_NO_MARKER, _APP2) or (
                segment.marker == _SOS and _is_spare(next(scans), frame, scale, steps)
            ):
                continue
            kept.append(part)
        return b"".join(kept)

    def with_filling(self) -> bytes:
        """The file with more data before its end marker.

        Its pixels are the same, but where data was missing.
        """
        end = next(segment.start for segment in self.segments if segment.marker == _EOI)
        # An arithmetic encoder may leave out zeros at the end of its data (T.81, D.1.8).
        zeros = bytes(64) if self.frame and self.frame.arithmetic else b""
        return self.data[:end] + zeros + FILLING + b"\xff\xd9"


def _is_spare(scan: Scan, frame: Frame, scale: int, steps: dict[int, int]) -> bool:
    """Whether a decode at 1/`scale` can skip a scan.

    Without a refinement and the later ones, a coefficient is off by up to 2^high - 1 steps of its
    quantiser; `steps` has the step of each table. Colours of half the resolution are scaled less:
    all their bands are kept.
    """
    if scan.first == 0:
        return False
    tables = dict(zip(frame.components, frame.tables, strict=True))
    if scan.high > 0:
        widest = max(steps.get(tables[component], _COEFFICIENTS) for component in scan.components)
        if (2**scan.high - 1) * widest <= _SPARE:
            return True
    samples = dict(zip(frame.components, frame.samples, strict=True))
    subsampled = any(samples[component] < max(frame.samples) for component in scan.components)
    return scan.first > _LAST_USED[scale] and not subsampled


def _without_smoothing(tables: bytes, number: int) -> bytes:
    """A segment of quantisers with a 0 for the last one that libjpeg's block smoothing needs.

    libjpeg guesses missing bits of coefficients from the blocks around. That takes 7 of 24 ms and
    makes the pixels no better. It does not smooth if one of these quantisers is 0.
    """
    changed = bytearray(tables)
    for table, at, width in _tables(tables):
        if table == number:
            quantiser = at + width * _LAST_SMOOTHED
            changed[quantiser : quantiser + width] = bytes(len(changed[quantiser:][:width]))
    return bytes(changed)


def _steps(segments: list[bytes]) -> dict[int, int]:
    """Table number -> the larger quantiser of the two coarsest (most visible) AC coefficients."""
    steps: dict[int, int] = {}
    for segment in segments:
        for number, at, width in _tables(segment):
            two = (segment[at + width * n : at + width * (n + 1)] for n in (1, 2))
            widest = max(int.from_bytes(quantiser, "big") for quantiser in two)
            steps[number] = max(widest, steps.get(number, 0))
    return steps


def _tables(segment: bytes) -> Iterator[tuple[int, int, int]]:
    """For each table of a DQT segment: its number, its offset, and the bytes of a quantiser."""
    at = 4
    while at < len(segment):
        width = 1 + (segment[at] >> 4)
        yield segment[at] & 15, at + 1, width
        at += 1 + width * _COEFFICIENTS


def parse(data: bytes) -> Stream:
    """Take any bytes apart. Raises ValueError if they have more than MOST_SEGMENTS segments."""
    segments: list[Segment] = []
    for segment in _segments(data):
        if len(segments) == MOST_SEGMENTS:
            raise ValueError(f"more than {MOST_SEGMENTS} segments: no picture has so many")
        segments.append(segment)
    frames = [_frame(data, segment) for segment in segments if segment.marker in _FRAMES]
    scans = [_scan(data, segment) for segment in segments if segment.marker == _SOS]
    return Stream(data, tuple(segments), frames[0] if len(frames) == 1 else None, tuple(scans))


def _segments(data: bytes) -> Iterator[Segment]:
    marker, start, at = _NO_MARKER, 0, 0
    while marker != _EOI and (match := _MARKER.search(data, at)):
        if match.start() > start:
            yield Segment(marker, start, match.start())
        start = match.start()
        marker, at = data[start + 1], start + 2
        if marker not in _BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    if marker == _EOI:
        yield Segment(_EOI, start, at)
        marker, start = _NO_MARKER, at
    if start < len(data):
        yield Segment(marker, start, len(data))


def _parameters(data: bytes, segment: Segment) -> bytes:
    start = segment.start + 2
    length = int.from_bytes(data[start : start + 2], "big")
    return data[start + 2 : min(start + length, segment.end)]


def _frame(data: bytes, segment: Segment) -> Frame | None:
    """Precision, height, width, count, three bytes a component. None if the length is wrong."""
    header = _parameters(data, segment)
    if len(header) < 9 or len(header) != 6 + 3 * header[5]:
        return None
    height, width = (int.from_bytes(header[at : at + 2], "big") for at in (1, 3))
    factors = tuple((both >> 4, both & 15) for both in header[7::3])
    return Frame(segment.marker, width, height, tuple(header[6::3]), factors, tuple(header[8::3]))


def _scan(data: bytes, segment: Segment) -> Scan:
    """Count, two bytes a component, first, last, high and low. Empty if the length is wrong."""
    header = _parameters(data, segment)
    if not header or len(header) != 4 + 2 * header[0]:
        return Scan((), 0, 0, 0, 0)
    *components, first, last, bits = header[1:]
    return Scan(tuple(components[::2]), first, last, bits >> 4, bits & 15)
