"""How the program ends: every error, interrupt and lost stream becomes words and an exit code.

The only place that decides on an exit code. A command returns one or raises.
"""

from __future__ import annotations

import errno
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import typer

from clipindex.cli import memory, streams
from clipindex.cli.origins import usage_error, with_origins
from clipindex.cli.output import Output
from clipindex.errors import ClipIndexError, ClipIndexWarning, DiskFull, ExitCode
from clipindex.files.durable import MORE_ROOM, NO_ROOM

# commands that leave nothing unfinished
ONLY_READ = ("doctor", "embed", "mcp", "query", "serve", "status", "tags")
FAREWELL = "finished batches are safe, the next run goes on from there"
FAREWELLS = {"models": "what has arrived is kept, the same command goes on from there"}
TRUE = {"1", "true", "t", "yes", "y", "on"}  # as click reads a flag's variable

# click's own, from whichever click typer brings (newer ones carry a copy)
_ClickUsageError = cast("type[Any]", typer.BadParameter.__base__)


class _Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; raised where the program stands, as Ctrl-C is."""

    exit_code = ExitCode.TERMINATED


class Ending:
    """Runs a command to its end. `output` and `context` are the command's own once its options are
    read."""

    def __init__(self, arguments: Sequence[str]) -> None:
        before_dashes = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
        asked = os.environ.get("CLIPINDEX_JSON", "").strip().lower() in TRUE
        self.output = Output(json="--json" in before_dashes or asked)
        self.context: typer.Context | None = None
        self._interrupts = 0

    def run(self, command: Callable[[], object]) -> int:
        """Run a command and report its error; returns the exit code."""
        with self._signals(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: self.output.note(str(message))
            warnings.simplefilter("always", ClipIndexWarning)
            warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on odd metadata
            try:
                code = self._outcome(command)
            except KeyboardInterrupt:
                code = self._interrupted()
            except _Terminated:
                code = self._stopped("terminated", ExitCode.TERMINATED)
        return self.output.end(self._with_lost_output(int(code)))

    def _outcome(self, command: Callable[[], object]) -> int:
        try:
            result = command()
        except typer.Exit as end:  # --help, --version
            return end.exit_code
        except ClipIndexError as error:
            return self._failed(memory.explained(error) or error)
        except _ClickUsageError as error:
            return self._failed(usage_error(error))
        except Exception as error:
            if self._interrupts:  # while a library was loading, which made its own error of it
                return self._interrupted()
            if self.output.verbose:
                import traceback

                for line in traceback.format_exc().splitlines():
                    self.output.problem(line)
            return self._failed(memory.explained(error) or _unexpected(error))
        return result if isinstance(result, int) else ExitCode.DONE

    def _failed(self, error: ClipIndexError) -> int:
        self.output.error(with_origins(error, self.context))
        return error.exit_code

    def _interrupted(self) -> int:
        return self._stopped("interrupted", ExitCode.INTERRUPTED)

    def _stopped(self, how: str, code: int) -> int:
        command = (self.context.command.name or "") if self.context is not None else ""
        words = how if command in ONLY_READ else f"{how}; {FAREWELLS.get(command, FAREWELL)}"
        self.output.problem(words)
        self.output.log(words)
        self.output.ended_by(how)
        return code

    def _with_lost_output(self, code: int) -> int:
        """The exit code, raised when results or log lines could not be written."""
        log = self.output.log_file
        for what, fault in (
            ("standard output", streams.output_fault()),
            ("the log file", log.fault if log is not None else None),
        ):
            if fault is not None and code in (ExitCode.DONE, ExitCode.ATTENTION):
                full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
                code = ExitCode.DISK_FULL if full else ExitCode.FAILED
                self.output.problem(
                    f"clipindex: {what} could not be written: {fault.strerror}; what was indexed "
                    "is safe, what was to be shown there is incomplete"
                )
        return int(code)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a hang-up end the command in order; one that the caller ignores
        (nohup, a shell's background job) stays ignored."""
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: _terminate}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = _terminate
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler_before in before.items():
                signal.signal(number, handler_before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        raise KeyboardInterrupt


def _unexpected(error: Exception) -> ClipIndexError:
    """An error for which nothing had better words: of the system, or a fault of ours."""
    if not isinstance(error, OSError) or not error.strerror:
        return ClipIndexError(
            f"unexpected {type(error).__name__}: {error}",
            hint="this should not happen: please report it with the output of --verbose",
        )
    full = error.errno in NO_ROOM
    kind = DiskFull if full else ClipIndexError
    return kind(
        error.strerror,
        path=os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "",
        hint=MORE_ROOM
        if full
        else "correct the path, its permissions or the disk; --verbose shows where it happened",
    )


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
