"""The help of a command, laid out for the width at hand: options in panels, examples verbatim.

Typer's own tables leave six letters for a word at 40 columns. Here an option stands beside its
words where there is room for both, and above them where there is not.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from clipindex.cli.options import MODEL, OUTPUT, SPEED, WHERE

HELP = "Help"
WIDEST = 100  # columns: longer lines are hard to read
STICKY = "\xa0"  # a space at which no line is broken
NARROW = 72  # columns; below, words stand under their option
LONGEST_NAME = 26  # of an option that has its words beside it
ARGUMENT = re.compile(r'"[^"]*"|\S+')


def help_text(context: typer.Context) -> str:
    """All of it, no line longer than the terminal unless a single word is."""
    command: Any = context.command
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines = [*_wrapped("Usage: " + _usage(context), width, "    "), ""]
    lines += _prose(command.help or "", width)
    for panel, rows in panels_of(command, command.get_params(context)).items():
        lines += ["", typer.style(panel, bold=True)]
        for name, words in rows:
            lines += _row(name, words, width)
    if command.epilog:
        lines += ["", *_prose(command.epilog, width)]
    return "\n".join(lines) + "\n"


def _usage(context: typer.Context) -> str:
    command: Any = context.command
    arguments = [p.metavar for p in command.params if p.param_type_name == "argument"]
    if hasattr(command, "commands"):
        arguments = ["COMMAND", "[ARGUMENTS]"]
    return " ".join([context.command_path, "[OPTIONS]", *arguments])


def _prose(text: str, width: int) -> Iterator[str]:
    """Paragraphs, filled; indented lines are commands to type and keep their line ends."""
    for number, paragraph in enumerate(text.strip("\n").split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith(" "):
            for line in paragraph.splitlines():
                yield from _typed(line.strip(), width)
        else:
            yield from _wrapped(" ".join(paragraph.split()), width, "")


def _typed(line: str, width: int) -> Iterator[str]:
    """A command to type: continued with a backslash where it is too long, quotes kept whole."""
    current = "  "
    for word in ARGUMENT.findall(line):
        if len(current) + len(word) + 2 > width and current.strip():
            yield current + "\\"
            current = "      "
        current += word + " "
    yield current.rstrip()


def panels_of(command: Any, parameters: Sequence[Any]) -> dict[str, list[tuple[str, str]]]:
    """Panel -> its rows (an option or argument, and its help) for parameters of a command: its own
    panels as they name them, then the shared."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for name, other in getattr(command, "commands", {}).items():
        panel = getattr(other, "rich_help_panel", None) or "Commands"
        panels.setdefault(panel, []).append((name, other.get_short_help_str(200)))
    for parameter in parameters:
        if not getattr(parameter, "hidden", False):
            panel = getattr(parameter, "rich_help_panel", None) or HELP
            panels.setdefault(panel, []).append(_record(parameter))
    last = (WHERE, MODEL, SPEED, OUTPUT, HELP)
    order = sorted(panels, key=lambda panel: last.index(panel) if panel in last else -1)
    return {panel: panels[panel] for panel in order}


def _record(parameter: Any) -> tuple[str, str]:
    words = parameter.help or ""
    if parameter.param_type_name == "argument":
        return parameter.metavar, words
    names = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
    if not parameter.is_flag:
        choices = [*map(str, getattr(parameter.type, "choices", ()))]
        kind = "|".join(choices) if choices else parameter.type.name.upper()
        if len(kind) > LONGEST_NAME:  # a word that no line could be broken in
            words, kind = f"One of {', '.join(choices)}. {words}", "CHOICE"
        names += f" {parameter.metavar or kind}"
    facts = [f"env {parameter.envvar}"] if parameter.envvar else []
    default = parameter.default
    if parameter.show_default and not parameter.is_flag and default not in (None, ()):
        facts.append(f"default {getattr(default, 'value', default)}")
    if facts:
        words += f" [{'; '.join(facts)}]".replace(" ", STICKY).replace(STICKY, " ", 1)
        words = words.replace(f";{STICKY}", "; ")
    return names, words


def _row(name: str, words: str, width: int) -> Iterator[str]:
    beside = 2 + LONGEST_NAME + 2
    if width < NARROW:
        yield from _wrapped(name, width, "    ", first="  ")
        yield from _wrapped(words, width, "      ", first="      ")
    elif len(name) > LONGEST_NAME:
        yield from _wrapped(name, width, "    ", first="  ")
        yield from _wrapped(words, width, " " * beside, first=" " * beside)
    else:
        yield from _wrapped(words, width, " " * beside, first=f"  {name:<{LONGEST_NAME}}  ")


def _wrapped(text: str, width: int, rest: str, first: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(STICKY, " ") for line in lines]
