"""The door to rich: tables for a terminal. Loaded when there is one."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Terminal(Console):
    """Standard output. Names are shown as they are: no markup, no emoji codes, no highlighting."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)


def plain_table() -> Table:
    """Columns without lines, for the caller to add."""
    return Table(show_header=False, box=None, pad_edge=False)


def headed_table() -> Table:
    """The same with the columns' names above."""
    return Table(box=None, pad_edge=False)


def with_dim_end(text: str, end: str) -> Text:
    """A text whose end is less important."""
    return Text.assemble(text, (end, "dim"))
