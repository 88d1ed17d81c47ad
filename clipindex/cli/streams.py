"""Standard streams that never end the work.

A reader may go away (a pipe, a terminal that hangs up), a disk may fill up, a caller may have
closed a descriptor, and a locale may not have the letters of a file's name. None of these is a
reason to stop indexing: what cannot be written is dropped from then on, the cause is kept, and
`output_fault` hands it to the exit code. Letters that the encoding lacks appear as escapes.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from clipindex.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The reader is gone, or was never there: not writing is no fault then.
NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ENOTCONN, errno.ECONNRESET}


class _Tolerant(io.BufferedWriter):
    """A descriptor to write to; the first error is kept, and everything after it dropped.

    The descriptor itself is written to by Python's own file: a signal that arrives then is handled
    once the buffer knows what was written. Below a `write` of ours it would not, and write again.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "w", closefd=False))
        self.fault: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Raises nothing; a signal handler's exception passes through."""
        rest = memoryview(data)
        size = len(rest)
        while self.fault is None:
            try:
                super().write(rest)
                break
            except BlockingIOError as error:
                rest = rest[error.characters_written :]
                self._wait()
            except OSError as error:
                self.fault = error
        return size

    def flush(self) -> None:
        """As `write`."""
        while self.fault is None:
            try:
                super().flush()
                break
            except BlockingIOError:
                self._wait()
            except OSError as error:
                self.fault = error

    def _wait(self) -> None:
        """Wait for a descriptor that another program made non-blocking."""
        import select

        try:
            select.select((), (self.fileno(),), ())
        except OSError as error:
            self.fault = error


_buffers: dict[int, _Tolerant] = {}


def prepare() -> None:
    """Put tolerant streams in the place of standard output and standard error."""
    _occupy_closed_descriptors()
    sys.stdout = _tolerant(sys.stdout, 1)
    sys.stderr = _tolerant(sys.stderr, 2)


def _occupy_closed_descriptors() -> None:
    """No file of ours gets number 0, 1 or 2, where a library's words would end in it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _tolerant(stream: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
    if os.name == "nt" and isinstance(stream, io.TextIOWrapper) and stream.isatty():
        stream.reconfigure(errors="backslashreplace")  # Windows' console is no plain descriptor
        return stream
    buffer = _buffers[descriptor] = _Tolerant(descriptor)
    return io.TextIOWrapper(
        buffer,
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == 2 or buffer.isatty(),
    )


def flush() -> None:
    """Write what is still in Python's hands."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def output_fault() -> OSError | None:
    """Why results are missing from standard output; None where all arrived, or nobody reads."""
    flush()
    fault = _buffers[1].fault if 1 in _buffers else None
    return None if fault is None or fault.errno in NOBODY_READS else fault


def read_input() -> bytes:
    """All of standard input. Raises UsageError where there is none."""
    try:
        if sys.stdin is not None:
            return sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from error
    raise UsageError("standard input is closed", hint="'-' reads it: pipe something into clipindex")


def write_bytes(data: bytes) -> None:
    """Bytes on standard output as they are, after what was printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
