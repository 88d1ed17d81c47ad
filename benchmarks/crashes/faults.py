"""Failing calls, put in at the borders of the libraries: clipindex's own code stays as it is.

store:     the engine's shard (load, create, update, flush, retrieve, scroll, count, query, close)
catalogue: SQLite's connection (connect, execute, executemany)
files:     the file system, below one folder (open, read, stat, scandir, rename, unlink, fsync, ...)
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.crashes.warm import Fault

BORDERS = ("store", "catalogue", "files")
SHARD_CALLS = {"update", "flush", "retrieve", "scroll", "count", "query", "close"}
PATH_CALLS = (
    "open",
    "stat",
    "lstat",
    "scandir",
    "listdir",
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "remove",
    "rmdir",
    "truncate",
    "link",
)
HANDLE_CALLS = ("read", "fsync", "fstat", "ftruncate", "write")
READING = {"retrieve", "scroll", "count", "query"}  # of the engine
READING |= {"read", "stat", "lstat", "fstat", "scandir", "listdir"}
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Counter:
    """Counts the calls of a border, and makes one of them fail.

    A call that only reads can fail before its work alone: to fail after it is the same, and to be
    killed there is to be killed at the next one that changes something.
    """

    def __init__(self, fault: Fault, note: Path, error: Callable[[], Exception]) -> None:
        self._fault, self._note, self._error = fault, str(note), error
        self._count = 0
        self._lock = threading.Lock()
        self._open = os.open, os.write, os.close  # the real ones, whatever is put in their place

    def call(
        self, name: str, reads: bool, function: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """The call, or its failure."""
        with self._lock:
            counts = self._fault.how == "before" or not reads
            self._count += counts
            strikes = counts and self._count == self._fault.number
        work = partial(function, *args, **options)
        return self._fail(name, work) if strikes else work()

    def _fail(self, name: str, work: Callable[[], Any]) -> NoReturn:
        open_, write, close = self._open
        handle = open_(self._note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        write(handle, name.encode())
        close(handle)
        if self._fault.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault.how == "after":
            work()  # it may fail by itself
        raise self._error()


def arm(fault: Fault, note: Path) -> None:
    """From now on the fault's call fails, and its name is written to `note`."""
    {"store": _arm_store, "catalogue": _arm_catalogue, "files": _arm_files}[fault.border](
        fault, note
    )


def _arm_store(fault: Fault, note: Path) -> None:
    import qdrant_edge

    engine: Any = qdrant_edge
    counter = Counter(fault, note, lambda: RuntimeError("Service error: injected (os error 5)"))
    real = engine.EdgeShard

    class FailingShard:
        def __init__(self, shard: Any) -> None:
            self._shard = shard

        @classmethod
        def load(cls, *args: Any) -> FailingShard:
            return cls(counter.call("load", False, real.load, *args))

        @classmethod
        def create(cls, *args: Any) -> FailingShard:
            return cls(counter.call("create", False, real.create, *args))

        def __getattr__(self, name: str) -> Any:
            function = getattr(self._shard, name)
            if name not in SHARD_CALLS:
                return function
            return partial(counter.call, name, name in READING, function)

    engine.EdgeShard = FailingShard


def _arm_catalogue(fault: Fault, note: Path) -> None:
    def error() -> sqlite3.OperationalError:
        raised = sqlite3.OperationalError("disk I/O error")
        raised.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raised.sqlite_errorname = "SQLITE_IOERR"
        return raised

    counter = Counter(fault, note, error)
    connect = sqlite3.connect

    class FailingConnection(sqlite3.Connection):
        def execute(self, text: str, *args: Any) -> Any:
            reads = text.startswith("SELECT")
            return counter.call(f"execute {text[:40]}", reads, super().execute, text, *args)

        def executemany(self, text: str, *args: Any) -> Any:
            return counter.call(f"executemany {text[:40]}", False, super().executemany, text, *args)

    def failing_connect(*args: Any, **options: Any) -> Any:
        options["factory"] = FailingConnection
        return counter.call("connect", False, connect, *args, **options)

    sqlite3.connect = failing_connect


def _arm_files(fault: Fault, note: Path) -> None:
    counter = Counter(fault, note, lambda: OSError(errno.EIO, os.strerror(errno.EIO)))
    below = os.fsencode(fault.folder)
    handles = set[int]()

    def of_interest(place: object) -> bool:
        if isinstance(place, int):
            return place in handles
        return isinstance(place, (str, bytes, os.PathLike)) and os.fsencode(place).startswith(below)

    def failing(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if not args or not of_interest(args[0]):
                return function(*args, **options)
            reads = name in READING or (
                name in ("open", "file") and _opens_to_read(*args, **options)
            )
            done = counter.call(name, reads, function, *args, **options)
            if name == "open" and isinstance(done, int):
                handles.add(done)
            return done

        return call

    for name in (*PATH_CALLS, *HANDLE_CALLS):
        setattr(os, name, failing(name, getattr(os, name)))
    real_open = io.open
    builtins.open = io.open = failing("file", real_open)


def _opens_to_read(_path: object, how: int | str = "r", *_: object, **options: object) -> bool:
    """Whether `os.open` or `open` can change nothing."""
    how = options.get("mode", how)  # type: ignore[assignment]
    return not how & CHANGING if isinstance(how, int) else not set(how) & set("wax+")
