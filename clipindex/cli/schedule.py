"""What a nightly run is written down as: a systemd user timer, or a line of a crontab. Pure text.

systemd: quoting, `%` and `$` after systemd.service(5) and systemd.syntax(7). cron: `%` ends a
command, after crontab(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipindex.errors import UsageError

PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


@dataclass(frozen=True, slots=True)
class At:
    """A time of day."""

    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{self.hour:02d}:{self.minute:02d}"


def parse_at(text: str) -> At:
    """Raises UsageError for what is no time of day.

    >>> str(parse_at("3:05"))
    '03:05'
    """
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", text.strip())
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise UsageError(f"'{text}' is no time of day", hint="write hours and minutes: 03:00")
    return At(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command that is to run every day."""

    name: str
    line: Sequence[str]  # the program's full path and its arguments
    at: At
    environment: Path | None = None  # a file of NAME=VALUE lines: the key of a server


def service_text(job: Job) -> str:
    """The service unit."""
    environment = f"EnvironmentFile={_for_unit(str(job.environment))}\n" if job.environment else ""
    return (
        "[Unit]\n"
        "Description=clipindex: bring the index of pictures up to date\n\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"{environment}"
        f"ExecStart={' '.join(map(_for_unit, job.line))}\n"
        "# 3: done, but files were newly quarantined or could not be read\n"
        "SuccessExitStatus=3\n"
        "Nice=19\n"
        "IOSchedulingClass=idle\n"
        "NoNewPrivileges=yes\n"
    )


def timer_text(job: Job) -> str:
    """The timer unit."""
    return (
        "[Unit]\n"
        f"Description=clipindex, every day at {job.at}\n\n"
        "[Timer]\n"
        f"OnCalendar=*-*-* {job.at}:00\n"
        "# after a night in which the machine was off\n"
        "Persistent=true\n\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )


def crontab_line(job: Job) -> str:
    """One line, with the job's name at its end. Raises UsageError for an argument with a line
    break, which no crontab can hold."""
    command = shlex.join(job.line)
    if job.environment is not None:
        command = f"set -a; . {shlex.quote(str(job.environment))}; {command}"
    if "\n" in command or "\r" in command:
        raise UsageError(
            "a line break in a name cannot stand in a crontab", hint="use --as systemd"
        )
    command = command.replace("%", r"\%")
    return f"{job.at.minute} {job.at.hour} * * * {command} {_mark(job.name)}"


def with_line(crontab: str, job: Job) -> str:
    """A crontab with the job's line in place of an earlier one of that name."""
    return f"{without_line(crontab, job.name)}{crontab_line(job)}\n"


def without_line(crontab: str, name: str) -> str:
    """A crontab without the job of that name; every other line stays as it is."""
    lines = crontab.split("\n")  # splitlines knows other line ends, which cron does not
    kept = "\n".join(line for line in lines if not line.rstrip("\r").endswith(" " + _mark(name)))
    return kept + ("\n" if kept and not kept.endswith("\n") else "")


def _mark(name: str) -> str:
    return f"# {name}"  # for the shell, a comment


def _for_unit(argument: str) -> str:
    """One argument as systemd reads it."""
    text = argument.replace("%", "%%").replace("$", "$$")
    if PLAIN.fullmatch(argument):
        return text
    for plain, escaped in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
