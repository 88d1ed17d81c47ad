"""Fenced blocks of a Markdown page, and the comments above them that say how they run.

<!-- not run: REASON -->     the block below does not run here
<!-- exit: 3 -->             the block below ends with this exit code
<!-- setup: COMMAND -->      a command that the page's later blocks need, not shown
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

COMMENT = re.compile(r"<!-- ([a-z -]+?)(?:: (.*))? -->")
FENCE = "```"
RUNNABLE = {"sh", "console"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `first` and `last` are the lines between the fences, counted from 0;
    `last` is exclusive. A setup command is a block of language `setup` with no lines."""

    language: str
    text: str
    first: int = 0
    last: int = 0
    not_run: str | None = None
    exit_code: int = 0
    marks: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether a reader could type it, and the tests do."""
        return self.not_run is None and self.language in RUNNABLE | {"setup"}


def pages(root: Path) -> list[Path]:
    """Every page whose commands are checked."""
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    lines = page.splitlines()
    marks: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        if comment := COMMENT.fullmatch(line.strip()):
            name, value = comment[1], comment[2] or ""
            if name == "setup":
                yield Block(language="setup", text=value)
            else:
                marks[name] = value
        elif line.startswith(FENCE):
            body = list(takewhile(lambda inside: inside != FENCE, lines[number + 1 :]))
            yield Block(
                language=line.removeprefix(FENCE),
                text="\n".join(body),
                first=number + 1,
                last=number + 1 + len(body),
                not_run=marks.get("not run"),
                exit_code=int(marks.get("exit", 0)),
                marks=tuple(marks),
            )
            number += len(body) + 1
            marks = {}
        elif line.strip():
            marks = {}
        number += 1


def session(text: str) -> list[tuple[str, list[str]]]:
    """A console block as pairs of command and output; a command may go on over lines that
    end with a backslash."""
    turns: list[tuple[str, list[str]]] = []
    unfinished = False
    for line in text.splitlines():
        if unfinished:
            turns[-1] = (f"{turns[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            turns.append((line.removeprefix("$ "), []))
        elif turns:
            turns[-1][1].append(line)
        unfinished = line.endswith("\\")
    return turns
