"""The doctor's report: a line for each check as it is made, or one JSON object."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from clipindex.cli.output import Output
from clipindex.cli.settings import Setting
from clipindex.cli.words import count_of, printable
from clipindex.errors import ExitCode
from clipindex.upkeep.doctor.checks import Check, State

WIDTH = max(map(len, State))


def show_report(settings: Iterable[Setting], checks: Iterable[Check], output: Output) -> int:
    """Show everything; returns 1 when something must be done, else 0."""
    listed = list(settings)
    problems = 0
    made: list[Check] = []
    for check in map(_as_check, listed):
        problems += _show(check, output)
    for check in checks:
        made.append(check)
        problems += _show(check, output)
    code = int(ExitCode.FAILED if problems else ExitCode.DONE)
    if output.json:
        fields = {
            "checks": [asdict(check) for check in made],
            "settings": [asdict(setting) for setting in listed],
        }
        output.record({"type": "doctor", **fields, "problems": problems, "exit_code": code})
    elif problems or not output.quiet:
        things = count_of(problems, "problem")
        output.result(f"{things}: see 'problem' above" if problems else "all is well")
    return code


def _as_check(setting: Setting) -> Check:
    text = f"{setting.value} ({setting.origin})"
    if setting.fault:
        return Check(setting.name, State.PROBLEM, f"{setting.fault}: {text}", setting.hint)
    return Check(setting.name, State.OK, text)


def _show(check: Check, output: Output) -> bool:
    """Print a check, unless it goes into an object, or is no problem and --quiet is given; whether
    it is a problem."""
    is_problem = check.state is State.PROBLEM
    if not output.json and (is_problem or not output.quiet):
        for line in _lines(check):
            output.result(line)
    return is_problem


def _lines(check: Check) -> Iterator[str]:
    """A line for the state, one below for what to do; broken to a terminal's width, never where
    there is none."""
    first = f"{check.state:<{WIDTH}}  {check.name}: {printable(check.text)}"
    indent = " " * (WIDTH + 2)
    lines = [first, *([f"{indent}{printable(check.hint)}"] if check.hint else [])]
    if not sys.stdout.isatty():
        yield from lines
        return
    width = max(20, shutil.get_terminal_size().columns)
    for line in lines:
        yield from textwrap.wrap(
            line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=False
        ) or [line]
