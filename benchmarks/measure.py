"""A whole process, measured: wall, CPU of its tree, peak memory, and what else the machine did.

As a script it is the starter of that process: `python measure.py LOG COMMAND...`. A child begins
with its parent's memory on its own account, so the parent has to be small, and that is all the
starter is for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """One run. CPU is user and system time of the process and all its children, in seconds."""

    wall: float
    cpu: float
    peak_rss_mb: float  # of the largest process of the tree, MiB
    others: float | None  # cores that all else on the machine kept busy meanwhile
    exit_code: int


ROOT = Path(__file__).resolve().parents[1]  # of the clone: what runs is what lies here


def run(command: list[str], log: Path, env: dict[str, str]) -> Measured:
    """Run a command to its end, in the clone; its output goes to `log`."""
    starter = [sys.executable, "-S", "-E", __file__, str(log), *command]
    done = subprocess.run(
        starter,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measured(**json.loads(done.stdout))


def _start(log: str, command: list[str]) -> Measured:
    busy, began = _busy_seconds(), time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    after = _busy_seconds()
    others = None if busy is None or after is None else max(0.0, after - busy - cpu) / wall
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # bytes there, KiB elsewhere
    peak = usage.ru_maxrss / scale
    return Measured(wall, cpu, peak, others, os.waitstatus_to_exitcode(status))


def _busy_seconds() -> float | None:
    """CPU seconds that the whole machine has spent on anything; Linux alone tells."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    except OSError:
        return None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(asdict(_start(sys.argv[1], sys.argv[2:]))))
