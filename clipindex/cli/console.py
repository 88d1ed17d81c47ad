"""The door to rich: what is laid out for a person's eyes. Loaded when there is such a thing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


class Terminal(Console):
    """Standard output; a closed pipe is ours to answer (rich itself would exit with code 1)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def plain_table() -> Table:
    """Columns without lines, for the caller to add."""
    return Table(show_header=False, box=None, pad_edge=False)


def headed_table() -> Table:
    """The same with the columns' names above."""
    return Table(box=None, pad_edge=False)
