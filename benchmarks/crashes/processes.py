"""`clipindex` as a process that something happens to at a chosen moment.

A moment is processor time, not time on the clock: it hits the same spot on a busy machine.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROGRAM = [sys.executable, "-m", "clipindex"]
PATIENCE = 300.0  # seconds a process may take on a busy machine
LAST_LINES = {
    "summary",
    "tagged",
    "relocated",
    "imported",
    "prune",
    "compacted",
    "backup",
    "restored",
}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Processor seconds of an undisturbed process: until it takes the lock, and from then on."""

    early: float
    late: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended, and what it had said until then."""

    code: int
    out: str
    err: str

    @property
    def reported(self) -> set[uuid.UUID]:
        """The points of the batches that were reported. A line cut short counts for nothing."""
        return {uuid.UUID(name) for line in self.lines() for name in line.get("ids", ())}

    @property
    def said_all(self) -> bool:
        """Whether the last line of a whole run was among them."""
        return any(line["type"] in LAST_LINES for line in self.lines())

    def lines(self) -> list[dict[str, Any]]:
        """Whole lines of standard output."""
        whole = [line for line in self.out.splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in whole]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """`cpu` seconds of processor time into the run, or after it took the lock, and then a pause,
    for waits on the disk."""

    locked: bool
    cpu: float
    pause: float


def random_moment(chance: random.Random, timing: Timing) -> Moment:
    """One in six before the lock is taken; the others up to a little after the end."""
    locked = chance.random() > 1 / 6
    most = 1.1 * timing.late if locked else timing.early
    return Moment(locked=locked, cpu=chance.uniform(0, most), pause=chance.uniform(0, 0.02))


class Process(Protocol):
    """What is asked of a process, whoever started it."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """The exit code, once there is one; a signal's number is negative."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal."""


@dataclass(frozen=True)
class Running:
    """A `clipindex` at work. Its lines go to files, which hold what a pipe would have brought until
    it ended, and do not fill up."""

    process: Process
    folder: Path

    def ended(self) -> Ended:
        """How it ended."""
        out, err = ((self.folder / name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(code=self.process.wait(0), out=out, err=err)


Start = Callable[[list[str]], AbstractContextManager[Running]]


@contextmanager
def started(arguments: list[str]) -> Iterator[Running]:
    """`clipindex ARGUMENTS` as a process of its own, which imports everything itself."""
    with tempfile.TemporaryDirectory(prefix="crashed-") as name:
        folder = Path(name)
        with (
            open(folder / "out", "w") as out,
            open(folder / "err", "w") as err,
            subprocess.Popen([*PROGRAM, *arguments], stdout=out, stderr=err) as process,
        ):
            try:
                yield Running(process, folder)
            finally:
                process.kill()


class Watch:
    """The processor time of a process, and when it took the lock: its holder notes that."""

    def __init__(self, pid: int, lock: Path) -> None:
        self._pid, self._lock, self._noted = pid, lock, _written(lock)
        self.locked_at: float | None = None

    def cpu(self) -> float:
        """Processor seconds so far; 0 for a process that has ended."""
        used = cpu_of(self._pid)
        if used and self.locked_at is None and _written(self._lock) != self._noted:
            self.locked_at = used
        return used

    def reached(self, moment: Moment) -> bool:
        """Whether it is time."""
        used = self.cpu()
        if not moment.locked:
            return used >= moment.cpu
        return self.locked_at is not None and used - self.locked_at >= moment.cpu


def disturbed(
    start: Start,
    arguments: list[str],
    lock: Path,
    moment: Moment,
    act: Callable[[Process], object],
) -> Ended:
    """Start `clipindex ARGUMENTS`, call `act` with the process at the moment, wait for its end."""
    with start(arguments) as running:
        process = running.process
        watch = Watch(process.pid, lock)
        while process.poll() is None and not watch.reached(moment):
            time.sleep(0.001)
        if process.poll() is None:
            time.sleep(moment.pause)
            act(process)
        process.wait(PATIENCE)
        ended = running.ended()
    settle_after(arguments)
    return ended


def settle_after(arguments: list[str]) -> None:
    """Wait for the compaction that a finished run may leave to a process of its own."""
    settle(Path(arguments[arguments.index("--store") + 1]))


def settle(store: Path) -> None:
    """Wait until no process compacts the store."""
    deadline = time.monotonic() + PATIENCE
    while _is_compacted_now(os.fsencode(store)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_compacted_now(store: bytes) -> bool:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            arguments = process.read_bytes().split(b"\0")
            if store in arguments and b"--if-worthwhile" in arguments:
                return True
    return False


def timed(start: Start, arguments: list[str], lock: Path) -> Timing:
    """The timing of an undisturbed run; the lock's holder writes a note into the file `lock`.
    Raises RuntimeError where the run fails."""
    total = 0.0
    with start(arguments) as running:
        watch = Watch(running.process.pid, lock)
        while running.process.poll() is None:
            total = watch.cpu() or total
            time.sleep(0.001)
        ended = running.ended()
    settle_after(arguments)
    if ended.code not in (0, 3):
        raise RuntimeError(f"clipindex {arguments}: exit code {ended.code}: {ended.err[-600:]}")
    early = watch.locked_at or total / 2  # on a busy machine, a lock of a moment passes unseen
    return Timing(early=early, late=total - early)


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def cpu_of(pid: int) -> float:
    """Processor seconds that a process has used; 0 for one that has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # Linux: its CPU clock, to the nanosecond
    except OSError:
        return 0.0


def environment(folder: Path) -> dict[str, str]:
    """Variables under which no setting of the person reaches the processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPINDEX_")}
    folders = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    return {**kept, **dict.fromkeys(folders, str(folder))}
