"""The man page, made from the help: docs/clipindex.1, which the wheel installs for `man clipindex`.

PYTHONPATH=scripts python -m handbook.manual
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

import typer

from clipindex._version import __version__
from clipindex.cli.app import app
from clipindex.cli.help import panels_of
from clipindex.cli.shared_options import Shared
from handbook.sandbox import ROOT

PAGE = ROOT / "docs" / "clipindex.1"
REFERENCE = ROOT / "docs" / "reference.md"
COMMON = set(get_type_hints(Shared))
SEE_ALSO = "The documentation is in the folder docs of the source."


@dataclass(frozen=True, slots=True)
class Section:
    """A table of docs/reference.md that the page repeats."""

    heading: str
    source: str  # the heading there


TABLES = (Section("EXIT STATUS", "Exit codes"), Section("ENVIRONMENT", "Environment"))


def manual() -> str:
    """The page as man(7) source."""
    program: Any = typer.main.get_command(app)
    lines = [
        f'.TH CLIPINDEX 1 "" "clipindex {__version__}" "User Commands"',
        ".SH NAME",
        "clipindex \\- search photographs by words and by example",
        ".SH SYNOPSIS",
        ".B clipindex",
        ".I COMMAND",
        "[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_prose(program.help),
        ".SH COMMANDS",
    ]
    commands = {name: program.commands[name] for name in program.commands}
    for name, command in commands.items():
        lines += _command(name, command)
    lines += [".SH COMMON OPTIONS", "Every command has these, unless it has no use for them."]
    seen: set[str] = set()
    for command in commands["query"], commands["ingest"]:  # between them they have all
        shared = [p for p in command.params if p.name in COMMON and p.name not in seen]
        seen |= {str(parameter.name) for parameter in shared}
        lines += _rows(panels_of(command, shared))
    for section in TABLES:
        lines += [f".SH {section.heading}", *_table(section.source)]
    lines += [".SH SEE ALSO", _escaped(SEE_ALSO)]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p.metavar for p in command.params if p.param_type_name == "argument"]
    yield f'.SS "{_escaped(" ".join(["clipindex", name, *arguments]))}"'
    yield from _prose(command.help)
    own = [parameter for parameter in command.params if parameter.name not in COMMON]
    yield from _rows(panels_of(command, own))


def _rows(panels: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    for rows in panels.values():
        for name, words in rows:
            yield from (".TP", f"\\fB{_escaped(name)}\\fR", _escaped(words))


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; indented lines are commands to type."""
    for number, paragraph in enumerate(text.strip("\n").split("\n\n")):
        if paragraph.startswith(" "):
            lines = [_escaped(line.strip()) for line in paragraph.splitlines()]
            yield from (".PP", ".RS 4", ".nf", *lines, ".fi", ".RE")
        else:
            yield from ((".PP",) if number else ())
            yield _escaped(" ".join(paragraph.split()))


def _table(heading: str) -> Iterator[str]:
    """The rows of a table of the reference: its first cell, then the others."""
    section = REFERENCE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", section, re.M)
    for name, words in rows[2:]:  # the head and the line below it
        yield from (".TP", f"\\fB{_escaped(_plain(name))}\\fR", _escaped(_plain(words)))


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def _escaped(text: str) -> str:
    """As roff takes it literally: a hyphen that is typed, no request at the start of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("~", "\\(ti")
    text = text.replace("^", "\\(ha").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    PAGE.write_text(manual(), "utf-8")
