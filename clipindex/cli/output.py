"""The one channel for everything a command says: results, notes, problems, errors and the log.

Results go to standard output, everything else to standard error. Nothing else in the package
prints. The channel knows --json, --quiet, --verbose and --log-file, so that no command has to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from clipindex.cli.words import printable, printable_json, quotes
from clipindex.errors import ClipIndexError, UsageError
from clipindex.files.user_folders import expand_user


class LogFile:
    """A file to which lines are appended, each with its time."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError when the file cannot be opened for writing."""
        self.path = expand_user(path)
        self.fault: OSError | None = None
        try:
            # held open for the whole command: each line is flushed by itself
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"the log file cannot be written: {reason}",
                path=str(self.path),
                hint="name another one with --log-file",
            ) from error

    def write(self, text: str) -> None:
        """One line. After a first failure, which is kept as `fault`, nothing more is tried."""
        if self.fault is not None:
            return
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            self._file.write(f"{now} {printable(text)}\n")
            self._file.flush()
        except OSError as error:
            self.fault = error
            with suppress(OSError):  # its buffer is still full and cannot be written
                self._file.close()


class Output:
    """How much is said, in which form, and where."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        log: LogFile | None = None,
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.log_file = log
        self._write_line: Callable[[str], object] = _write_line
        self._at_end: list[Callable[[int], int]] = []
        self._reason = ""
        self.done: object = ""  # as text: what the command did so far, for the log's last line

    def at_end(self, step: Callable[[int], int]) -> None:
        """Call `step` with the exit code however the command ends; it returns the exit code."""
        self._at_end.append(step)

    def end(self, code: int) -> int:
        """The last line of the log, and what else belongs to every ending; returns the exit
        code. The line says what was done so far, and why the command did not end well."""
        for step in self._at_end:
            code = step(code)
        said = [f"exit code {code}", str(self.done), self._reason if code else ""]
        self.log(f"ended: {'; '.join(filter(None, said))}")
        return code

    def ended_by(self, reason: str) -> None:
        """Why the command did not end well, for the last line of the log."""
        self._reason = reason

    def write_lines_with(self, write_line: Callable[[str], object] | None) -> None:
        """Let a progress bar write the lines, so that they appear above it; None: no longer."""
        self._write_line = write_line or _write_line

    def result(self, text: str) -> None:
        """A line of a result, on standard output."""
        print(printable(text))

    def fields(self, *texts: str) -> None:
        """A line of a result for programs: fields parted by tabs."""
        print("\t".join(map(printable, texts)))

    def record(self, value: dict[str, object]) -> None:
        """One JSON object, on a line of its own on standard output, flushed at once."""
        stream = sys.stdout
        ascii_only = (getattr(stream, "encoding", None) or "").lower() not in ("utf-8", "utf8")
        line = json.dumps(value, ensure_ascii=ascii_only)
        print(printable_json(line), flush=True)

    def say(self, text: str) -> None:
        """A line on the progress of the work; not with --quiet."""
        if not self.quiet:
            self._write_line(printable(text))

    def event(self, text: str) -> None:
        """A line on something that happened; not with --quiet, but logged."""
        self.log(text)
        self.say(text)

    def note(self, text: str) -> None:
        """What the user should know although nothing is wrong; not with --quiet, but logged."""
        self.event(f"note: {text}")

    def problem(self, text: str) -> None:
        """What went wrong with one thing while the work goes on; said with --quiet too."""
        self._write_line(printable(text))

    @property
    def can_ask(self) -> bool:
        """Whether a person sits there: a terminal on both sides, and no program reads along."""
        if self.json or sys.stdin is None or sys.stdin.closed:
            return False
        return sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> bool:
        """A question on the terminal. Whatever is not a yes is a no, also the end of input."""
        print(printable(question), "[y/N]", end=" ", file=sys.stderr, flush=True)
        try:
            answer = sys.stdin.readline()
        except OSError:  # the terminal is gone
            answer = ""
        if not answer.endswith("\n"):
            print(file=sys.stderr)
        return answer.strip().lower() in ("y", "yes")

    def error(self, error: ClipIndexError) -> None:
        """What ended the command: what happened, to which file, what to do next."""
        if self.json:
            self.record({"type": "error", **error_fields(error)})
        where = f" ({error.path})" if error.path and not quotes(error.message, error.path) else ""
        self.problem(f"clipindex: {error.message}{where}")
        if error.hint:
            self.problem(f"  {error.hint}")
        self.log(f"failed: {error.message}{where}")
        self.ended_by(f"{error.message}{where}")

    def log(self, text: str) -> None:
        """A line in the log file, where there is one; should that fail, it is said once."""
        log = self.log_file
        if log is None or log.fault is not None:
            return
        log.write(text)
        if log.fault is not None:
            self.problem(
                f"the log file cannot be written any more: {log.fault.strerror} ({log.path}); "
                "the work goes on without it"
            )


def error_fields(error: ClipIndexError) -> dict[str, object]:
    """An error as JSON says it."""
    return {
        "code": int(error.exit_code),
        "kind": error.kind,
        "message": error.message,
        "path": error.path,
        "hint": error.hint,
    }


def _write_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
