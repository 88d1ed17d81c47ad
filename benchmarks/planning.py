"""Memory and time of planning many files: what a driver, or any run, holds before it reads one.

    python -m benchmarks.planning [--files 1000000,5000000,10000000]

Made listings of 1,000 files a folder are planned as new and cut into slices, each size in a process
of its own. The walk is not part of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clipindex.files.file_system import FileRecord
from clipindex.ingest.on_ray.slices import slices_of
from clipindex.ingest.plan import Plan, plan_folder

PER_FOLDER = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description="Memory and time of planning many files.")
    parser.add_argument("--files", default="1000000,5000000,10000000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(plan(options.one))
        return 0
    print("| files | CPU s | memory for them, MB |")
    print("| --- | --- | --- |")
    for count in options.files.split(","):
        command = [sys.executable, "-m", "benchmarks.planning", "--one", count]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    return 0


def plan(count: int) -> str:
    """One row of the table."""
    before, began, result = resident(), time.process_time(), Plan()
    for folder in range(count // PER_FOLDER):
        path = b"/archive/photographs/%06d" % folder
        files = [
            FileRecord(path + b"/IMG_%04d.JPG" % n, 4_000_000 + n, 17 * 10**17 + n, 17 * 10**17 + n)
            for n in range(PER_FOLDER)
        ]
        plan_folder(result, files, {}, "")
    sliced = sum(len(slice_.records) for slice_ in slices_of(result.to_read, 25, {}, ()))
    assert sliced == len(result.to_read) == count // PER_FOLDER * PER_FOLDER
    used = time.process_time() - began
    return f"| {sliced:,} | {used:.1f} | {(resident() - before) / 1e6:.0f} |"


def resident() -> int:
    """The most memory that this process has had, in bytes; Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    raise SystemExit(main())
