"""A process that has imported everything, and forks for each run: the start is paid once.

    python -m benchmarks.crashes.warm        reads requests from stdin, as JSON lines

The kills are real processes. Undisturbed runs, and those in which a call fails, start here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.crashes.processes import Ended

PATIENCE = 120  # seconds until a run counts as hanging


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The `number`-th call at a border fails: before it does anything, or when it is `done`.
    Only paths that begin with `folder` count."""

    border: str
    number: int
    done: bool
    folder: str


@dataclass(frozen=True, kw_only=True)
class Ran(Ended):
    """`struck`: which call failed; empty where there were fewer calls."""

    struck: str


class Warm:
    """The process, as a context manager; `run` is for one thread."""

    def __enter__(self) -> Warm:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crashes.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
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

    def run(self, arguments: list[str], fault: Fault | None = None) -> Ran:
        """`clipindex ARGUMENTS`, to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "arguments": arguments,
            "folder": self._folder.name,
            "fault": None if fault is None else vars(fault),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        code = int(self._process.stdout.readline())
        out, err, struck = (
            (Path(self._folder.name) / name).read_text(errors="replace")
            for name in ("out", "err", "struck")
        )
        return Ran(code=code, out=out, err=err, struck=struck)


def serve() -> None:
    """Fork for each request; a line with the exit code is the answer."""
    import clipindex.cli.app
    import clipindex.model.onnxruntime_tower
    import clipindex.stores.edge  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                run(request)
            finally:
                os._exit(70)  # nothing comes back from there
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(request: dict[str, Any]) -> None:
    """One run, in a process of its own; it ends the process."""
    import signal

    folder = Path(request["folder"])
    for number, name in ((0, os.devnull), (1, folder / "out"), (2, folder / "err")):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    (folder / "struck").write_text("")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    if request["fault"] is not None:
        from benchmarks.crashes.faults import arm

        arm(Fault(**request["fault"]), folder / "struck")
    sys.argv = ["clipindex", *request["arguments"]]
    from clipindex.cli.app import main

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
