"""A process that has imported everything, and forks for each run: the start is paid once.

    python -m benchmarks.crashes.warm        reads requests from stdin, as JSON lines

What it forks is a process as any other: it is killed, and its calls fail.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.crashes.processes import PATIENCE, Ended, Running, settle_after

HANGING = 120  # seconds until a run counts as hanging


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The `number`-th call at a border fails "before" it does anything, or "after" its work; or
    the process is "killed" before it. Only paths below `folder` count."""

    border: str
    number: int
    how: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Ran(Ended):
    """`struck`: which call failed; empty where there were fewer calls."""

    struck: str


class Forked:
    """A run that was forked. It stays a zombie until the next one, so that its number is its."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers
        self._code: int | None = None
        self.pid = int(answers.readline())

    def poll(self) -> int | None:
        """The exit code, once there is one."""
        return self._code if self._code is not None else self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutExpired."""
        code = self._code if self._code is not None else self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("clipindex", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def _read(self, timeout: float | None) -> int | None:
        if select.select([self._answers], [], [], timeout)[0]:
            self._code = int(self._answers.readline())
        return self._code


class Warm:
    """The process, as a context manager; one run at a time."""

    def __enter__(self) -> Warm:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crashes.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what was not read is seen by `select`
            start_new_session=True,  # Ctrl-C is for the harness alone
        )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
        self._folder.cleanup()

    @contextmanager
    def started(self, arguments: list[str], fault: Fault | None = None) -> Iterator[Running]:
        """`clipindex ARGUMENTS`, running; it is waited for."""
        assert self._process.stdin is not None
        request = {
            "arguments": arguments,
            "folder": self._folder.name,
            "fault": None if fault is None else vars(fault),
        }
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        forked = Forked(self._process.stdout)
        try:
            yield Running(forked, Path(self._folder.name))
        finally:
            forked.wait(PATIENCE)

    def run(self, arguments: list[str], fault: Fault | None = None) -> Ran:
        """`clipindex ARGUMENTS`, to its end."""
        with self.started(arguments, fault) as running:
            running.process.wait(PATIENCE)
            struck = (running.folder / "struck").read_text()
            ended = running.ended()
        settle_after(arguments)
        return Ran(**vars(ended), struck=struck)


def serve() -> None:
    """Fork for each request; the child's number is the answer, then its exit code."""
    import_everything()
    before = None
    for line in sys.stdin:
        request = json.loads(line)
        if before is not None:
            os.waitpid(before, 0)
        child = before = os.fork()
        if child == 0:
            try:
                run(request)
            finally:
                os._exit(70)  # nothing comes back from there
        print(child, flush=True)
        print(_code_of(child), flush=True)


def import_everything() -> None:
    """Whatever a run would import."""
    import clipindex

    for module in pkgutil.walk_packages(clipindex.__path__, "clipindex."):
        with suppress(ImportError):  # of an extra that is not installed
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _code_of(child: int) -> int:
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def run(request: dict[str, Any]) -> None:
    """One run, in a process of its own; it ends the process."""
    import signal

    from clipindex.cli.app import main
    from clipindex.stores import shard_size

    folder = Path(request["folder"])
    for number, name in ((0, os.devnull), (1, folder / "out"), (2, folder / "err")):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    (folder / "struck").write_text("")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(HANGING)
    if request["fault"] is not None:
        from benchmarks.crashes.faults import arm

        arm(Fault(**request["fault"]), folder / "struck")
    shard_size.WORTHWHILE = 1 << 30  # in memory, holes that were read take room: no waste of ours
    sys.argv = ["clipindex", *request["arguments"]]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
