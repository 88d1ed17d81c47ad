"""A command on a terminal of its own, and what is left on the screen when it ends."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROWS = 40
TAB = 8
TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|(.)", re.DOTALL)
WEB_FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)  # a picture that loads nothing


def run_on_terminal(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], columns: int
) -> tuple[int, str]:
    """Run it to its end; returns its exit code and all that it wrote, escapes and all."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    written = bytearray()
    try:
        while data := os.read(control, 65536):
            written += data
    except OSError:  # Linux's way to say that the last writer is gone
        pass
    os.close(control)
    return process.wait(), written.decode("utf-8", "replace")


class Screen:
    """What a terminal shows: carriage returns, erased lines and colours are carried out; no
    line is folded, and links are their text."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[str, str]]] = [[]]  # of characters with their style
        self.row = self.column = 0
        self.style = ""

    def feed(self, text: str) -> None:
        """Carry out what a program wrote."""
        for numbers, letter, character in TOKEN.findall(text):
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self._go(self.row + 1)
            elif character == "\t":
                for _ in range(TAB - self.column % TAB):
                    self._put(" ")
            elif character and character.isprintable():
                self._put(character)
            elif letter == "m":
                self.style = "" if numbers in ("", "0") else f"{self.style}\x1b[{numbers}m"
            elif letter == "K":
                del self.rows[self.row][self.column :]
            elif letter == "A":
                self._go(max(0, self.row - int(numbers or 1)))

    def text(self) -> list[str]:
        """The lines, without colours and without the spaces at their ends."""
        lines = ["".join(character for character, _ in row).rstrip() for row in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def coloured(self) -> list[Text]:
        """The lines with their colours."""
        return [
            Text.from_ansi("".join(f"\x1b[0m{style}{char}" for char, style in row))
            for row in self.rows[: len(self.text())]
        ]

    def _go(self, row: int) -> None:
        self.row = row
        while len(self.rows) <= row:
            self.rows.append([])

    def _put(self, character: str) -> None:
        row = self.rows[self.row]
        row.extend([(" ", "")] * (self.column + 1 - len(row)))
        row[self.column] = (character, self.style)
        self.column += 1


def draw(lines: Sequence[Text], title: str, columns: int) -> str:
    """A screen as SVG: no script, no font and no other file is loaded by it."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line)
    return console.export_svg(
        title=title, code_format=WEB_FONTS.sub("", CONSOLE_SVG_FORMAT), unique_id="terminal"
    )
