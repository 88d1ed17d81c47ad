"""A download on a terminal: a bar of bytes. Without a terminal a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from clipindex.cli.bar import Bar
from clipindex.cli.output import Output
from clipindex.cli.words import megabytes

SECONDS_BETWEEN_LINES = 30.0  # without a terminal


class DownloadBar:
    """Shows what `model.pulling` reports; a context, at whose end the bar goes."""

    def __init__(self, output: Output, title: str) -> None:
        self._output = output
        self._title = title
        self._bar: Any = None
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        self._output.write_lines_with(None)

    def moved(self, done: int, total: int) -> None:
        """So many of so many bytes are here."""
        self._output.done = f"{megabytes(done)} of {megabytes(total)} downloaded"
        if self._output.json or self._output.quiet:
            return
        if not sys.stderr.isatty():
            self._line()
            return
        if self._bar is None:
            self._bar = Bar(
                desc=self._title,
                total=total,
                initial=done,
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                leave=False,
            )
            self._output.write_lines_with(lambda line: self._bar.write(line, file=sys.stderr))
        self._bar.update(done - self._bar.n)

    def said(self, text: str) -> None:
        """What is being done now."""
        self._output.say(text)

    def noted(self, text: str) -> None:
        """What the user should know."""
        self._output.note(text)

    def _line(self) -> None:
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + SECONDS_BETWEEN_LINES
            self._output.say(f"{self._title}: {self._output.done}")
