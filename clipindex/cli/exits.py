"""How a command ends: errors, interrupts and closed pipes become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from clipindex.errors import ClipIndexError, ClipIndexWarning, ExitCode

if TYPE_CHECKING:
    from clipindex.cli.results import Output

FAREWELL = "finished batches are safe, the next run goes on from there"


class _Terminated(BaseException):
    """SIGTERM arrived; raised where the program stands, as Ctrl-C is."""


@contextmanager
def ending(
    json: bool, quiet: bool, verbose: bool, log_file: Path | None = None
) -> Iterator[Output]:
    """Around the body of every command; the only place that exits."""
    from clipindex.cli import results

    pressed: list[int] = []

    def press(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, press)
    output = results.Output(json, quiet, verbose, log_file)
    signal.signal(signal.SIGTERM, _terminate)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: results.print_message(f"note: {message}")
        warnings.simplefilter("always", ClipIndexWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on odd metadata
        try:
            yield output
        except ClipIndexError as error:
            results.show_error(error, output)
            raise typer.Exit(int(error.exit_code)) from None
        except KeyboardInterrupt:
            raise _interrupted() from None
        except _Terminated:
            results.print_message(f"terminated; {FAREWELL}")
            raise typer.Exit(int(ExitCode.TERMINATED)) from None
        except BrokenPipeError:  # `clipindex query ... | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(int(ExitCode.DONE)) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if pressed:  # while a library was loading, which made an error of its own of it
                raise _interrupted() from None
            if verbose:
                raise
            unexpected = ClipIndexError(
                f"unexpected {type(error).__name__}: {error}",
                hint="this should not happen: please report it with the output of --verbose",
            )
            results.show_error(unexpected, output)
            raise typer.Exit(int(ExitCode.FAILED)) from None


def _interrupted() -> typer.Exit:
    from clipindex.cli import results

    results.print_message(f"interrupted; {FAREWELL}")
    return typer.Exit(int(ExitCode.INTERRUPTED))


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated
