"""Pictures drawn in the terminal: in its own protocol where it has one, else with half blocks.

What a terminal speaks is read from its environment, never asked of it: an answer that does not
come would be waited for, and one that comes late would be typed into the shell.

kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol/
iTerm2: https://iterm2.com/documentation-images.html
sixel: DEC's VT330/VT340 programmer reference, chapter 14
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

from clipindex.cli import streams, values
from clipindex.cli.console import Terminal, half_blocks
from clipindex.cli.results import hit_text
from clipindex.cli.sixel import sixels
from clipindex.errors import FileFault, UsageError
from clipindex.pictures.thumbnails import samples, size_of, thumbnail_of_file
from clipindex.search.hits import Hit

LARGEST = (36, 12)  # a picture's columns and lines
CELL = (10, 20)  # pixels of a character, where the terminal does not say
LONGEST = 300  # pixels of a thumbnail: what is sent for each through an ssh connection
INDENT = 2
SHADES = " ░▒▓█"
CHUNK = 4096  # characters of a part of a picture, in kitty's protocol


class Protocol(StrEnum):
    """How pictures are drawn."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"


def why_not() -> str:
    """Why standard output can show no pictures; empty where it can."""
    if not sys.stdout.isatty():
        return "standard output is not a terminal"
    if os.environ.get("TERM", "") == "dumb":
        return "the terminal is dumb (TERM)"
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return f"the locale's encoding is {sys.stdout.encoding}, not UTF-8"
    return ""


def protocol_of(environment: Mapping[str, str]) -> Protocol:
    """What the terminal speaks, by the variables that terminals set.

    Raises UsageError for a choice that there is not.
    """
    if choice := environment.get(values.PICTURES, ""):
        if choice not in set(Protocol):
            raise UsageError(
                f"{values.PICTURES} is '{choice}'", hint=f"one of {', '.join(Protocol)}"
            )
        return Protocol(choice)
    terminal, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or "STY" in environment or terminal.startswith(("tmux", "screen")):
        return Protocol.BLOCKS  # a multiplexer keeps characters, and loses pictures
    if "KITTY_WINDOW_ID" in environment or terminal in ("xterm-kitty", "xterm-ghostty"):
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    if terminal.startswith(("foot", "mlterm", "contour")) or "sixel" in terminal:
        return Protocol.SIXEL
    return Protocol.BLOCKS


def draw_hits(hits: Sequence[Hit]) -> None:
    """Each hit as its line, and its picture below; why there is none where there is none."""
    protocol, terminal, width = protocol_of(os.environ), Terminal(), len(str(len(hits)))
    columns = max(1, min(LARGEST[0], shutil.get_terminal_size().columns - INDENT - 1))
    for hit in hits:
        terminal.print(hit_text(hit, width), soft_wrap=True)
        try:
            jpeg = thumbnail_of_file(hit.exact_path, hit.sha256, LONGEST)
        except FileFault as fault:
            terminal.print(f"{'':{INDENT}}no picture: {fault.reason}", soft_wrap=True)
            continue
        cells = fitted(size_of(jpeg), (columns, LARGEST[1]))
        if protocol is Protocol.BLOCKS:
            _draw_blocks(jpeg, cells, terminal)
        else:
            streams.write_bytes(b" " * INDENT + drawing(jpeg, cells, protocol) + b"\n")


def fitted(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Columns and lines for a picture of that size, a character being twice as high as wide.

    >>> fitted((400, 300), (36, 12)), fitted((100, 400), (36, 12)), fitted((400, 1), (36, 12))
    ((32, 12), (6, 12), (36, 1))
    """
    width, height = size
    share = min(most[0] / width, 2 * most[1] / height)
    return max(1, round(width * share)), max(1, round(height * share / 2))


def drawing(jpeg: bytes, cells: tuple[int, int], protocol: Protocol) -> bytes:
    """A picture in a terminal's protocol, over so many columns and lines."""
    if protocol is Protocol.ITERM2:
        size = f"size={len(jpeg)};width={cells[0]};height={cells[1]}"
        data = base64.b64encode(jpeg)
        return (
            b"\x1b]1337;File=inline=1;" + size.encode() + b";preserveAspectRatio=1:" + data + b"\a"
        )
    if protocol is Protocol.SIXEL:
        across, down = cells[0] * _cell()[0], cells[1] * _cell()[1]
        return sixels(samples(jpeg, across, down))
    return _kitty(jpeg, cells)


def _kitty(jpeg: bytes, cells: tuple[int, int]) -> bytes:
    """Compressed RGB in parts, without an answer from the terminal."""
    width, height = size_of(jpeg)
    data = base64.b64encode(zlib.compress(samples(jpeg, width, height).tobytes()))
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    keys = f"a=T,f=24,o=z,q=2,s={width},v={height},c={cells[0]},r={cells[1]},"
    drawn = b""
    for number, part in enumerate(parts, 1):
        more = f"m={int(number < len(parts))}"
        drawn += b"\x1b_G" + (keys + more).encode() + b";" + part + b"\x1b\\"
        keys = ""
    return drawn


def _draw_blocks(jpeg: bytes, cells: tuple[int, int], terminal: Terminal) -> None:
    columns, lines = cells
    if terminal.no_color:
        grey = samples(jpeg, columns, lines).mean(axis=2)
        for row in (grey * (len(SHADES) - 1) / 255).round().astype(int).tolist():
            terminal.print(" " * INDENT + "".join(SHADES[shade] for shade in row), no_wrap=True)
        return
    colours = samples(jpeg, columns, 2 * lines).tolist()
    terminal.print(half_blocks(colours, INDENT), no_wrap=True, end="")


def _cell() -> tuple[int, int]:
    """A character's width and height in pixels, if the system knows them."""
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        lines, columns, width, height = struct.unpack("HHHH", answer)
    except (ImportError, OSError, ValueError):
        return CELL
    if not (lines and columns and width // columns and height // lines):
        return CELL
    return width // columns, height // lines
