"""How the program ends: every error, interrupt and lost stream becomes words and an exit code.

The only place that decides on an exit code. A command returns one or raises.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import typer

from clipindex.cli import streams
from clipindex.cli.output import Output
from clipindex.errors import ClipIndexError, ClipIndexWarning, ExitCode, UsageError

FAREWELL = "finished batches are safe, the next run goes on from there"
CONFIG_FILE = "clipindex.config_file"  # in a context's `meta`: the configuration file in use
TRUE = {"1", "true", "t", "yes", "y", "on"}  # as click reads a flag's variable

# click's own, from whichever click typer brings (newer ones carry a copy)
_ClickUsageError = cast("type[Any]", typer.BadParameter.__base__)


class _Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; raised where the program stands, as Ctrl-C is."""


class Ending:
    """Runs a command to its end. `output` is the command's own once its options are read."""

    def __init__(self, arguments: Sequence[str]) -> None:
        before_dashes = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
        asked = os.environ.get("CLIPINDEX_JSON", "").strip().lower() in TRUE
        self.output = Output(json="--json" in before_dashes or asked)
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
                self.output.problem(f"terminated; {FAREWELL}")
                self.output.log(f"terminated; {FAREWELL}")
                code = ExitCode.TERMINATED
        return self.output.end(self._with_lost_output(int(code)))

    def _outcome(self, command: Callable[[], object]) -> int:
        try:
            result = command()
        except typer.Exit as end:  # --help, --version
            return end.exit_code
        except ClipIndexError as error:
            return self._failed(error)
        except _ClickUsageError as error:
            return self._failed(usage_error(error))
        except Exception as error:
            if self._interrupts:  # while a library was loading, which made its own error of it
                return self._interrupted()
            if self.output.verbose:
                import traceback

                for line in traceback.format_exc().splitlines():
                    self.output.problem(line)
            return self._failed(
                ClipIndexError(
                    f"unexpected {type(error).__name__}: {error}",
                    hint="this should not happen: please report it with the output of --verbose",
                )
            )
        return result if isinstance(result, int) else ExitCode.DONE

    def _failed(self, error: ClipIndexError) -> int:
        self.output.error(error)
        return error.exit_code

    def _interrupted(self) -> int:
        self.output.problem(f"interrupted; {FAREWELL}")
        self.output.log(f"interrupted; {FAREWELL}")
        return ExitCode.INTERRUPTED

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


def usage_error(error: Any) -> UsageError:
    """click's usage error as ours: it names what is wrong and where that was written."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    command = context.command_path if context is not None else "clipindex"
    message = error.format_message().rstrip(".")
    message, path = message[:1].lower() + message[1:], ""
    hint = f"'{command} --help' lists what it takes"
    if context is not None and parameter is not None and error.message:
        source = getattr(context.get_parameter_source(parameter.name), "name", "")
        if source == "DEFAULT_MAP":
            where, path = f"the configuration file's '{parameter.name}'", context.meta[CONFIG_FILE]
            hint = "correct the file, or override it on the command line"
        elif source == "ENVIRONMENT":
            where = f"the environment's {parameter.envvar}"
            hint = "correct the variable, or override it on the command line"
        else:
            where = parameter.metavar or ""
            if parameter.param_type_name == "option":
                where = max((*parameter.opts, *parameter.secondary_opts), key=len)
        message = f"{where}: {_plain(error.message)}"
    return UsageError(message, path=path, hint=hint)


def _plain(words: str) -> str:
    """click's message about a value, in plain words."""
    words = re.sub(r"(\S+)<=x<=(\S+?)\.?$", r"\1 to \2", words.rstrip("."))
    words = re.sub(r"a valid int(eger)?( range)?\b", "a whole number", words)
    words = re.sub(r"a valid float( range)?\b", "a number", words)
    return words.partition(". Recognized values")[0]


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
