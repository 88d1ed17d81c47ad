"""The door to rich: tables for a terminal. Loaded when there is one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text


class Terminal(Console):
    """Standard output. Names are shown as they are: no markup, no emoji codes, no highlighting."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)


def plain_table() -> Table:
    """Columns without lines, for the caller to add."""
    return Table(show_header=False, box=None, pad_edge=False)


def heading(text: str) -> Text:
    """A line above a list."""
    return Text(text, style="bold")


def hit_line(number: str, score: str, path: str, end: str, link: str | None) -> Text:
    """A hit: its number and what follows its path are less important than the path."""
    style = Style(link=link) if link else Style()
    return Text.assemble((number, "dim"), f"  {score}  ", (path, style), (end, "dim"))


def half_blocks(samples: Sequence[Sequence[tuple[int, int, int]]], indent: int) -> Text:
    """Rows of RGB samples, two rows to a line: the upper half of each character has the colour of
    the one, its background that of the other. rich finds the nearest colours that there are."""
    text = Text(no_wrap=True)
    for upper, lower in zip(samples[::2], samples[1::2], strict=True):
        text.append(" " * indent)
        for above, below in zip(upper, lower, strict=True):
            text.append(
                "\u2580", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            )
        text.append("\n")
    return text
