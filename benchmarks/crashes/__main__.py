"""`python -m benchmarks.crashes`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import benchmarks.crashes
from benchmarks.crashes.calls import fail_all
from benchmarks.crashes.checks import Examiner, Tally
from benchmarks.crashes.disks import fill_all
from benchmarks.crashes.images import CannotMount
from benchmarks.crashes.kills import kill_all
from benchmarks.crashes.power import cut_all
from benchmarks.crashes.processes import environment
from benchmarks.crashes.scenes import SMALL, Scene, Size, make_scene, scene_names
from benchmarks.crashes.warm import Warm
from benchmarks.report import rows_table


def main() -> None:
    """Exit code 1 when something was lost, or ended differently."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.crashes",
        description=benchmarks.crashes.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--cuts", type=int, default=0)
    parser.add_argument("--disks", type=int, default=0)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument(
        "--pictures",
        type=int,
        default=600,
        help="of commands that write 250 at once; for --calls there are 6",
    )
    parser.add_argument("--commands", nargs="+", default=scene_names(), choices=scene_names())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="for each kind of crash")
    parser.add_argument("--memory", action="store_true", help="kills and calls in /dev/shm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crashes-home-") as home:
        os.environ.update(environment(Path(home)))
        with Warm() as warm:
            tallies = list(crashes(warm, options))
    print(rows_table([tally.row() for tally in tallies]))
    for tally in tallies:
        print(f"\n{tally.kind}: {dict(tally.crashes)}\n{dict(sorted(tally.moments.items()))}")
        print(*tally.faults, sep="\n")
    sys.exit(any(tally.faults for tally in tallies))


def crashes(warm: Warm, options: argparse.Namespace) -> Iterator[Tally]:
    """What was asked for, one kind after the other."""
    examiner, seed, minutes = Examiner(warm), options.seed, options.minutes
    memory = "/dev/shm" if options.memory else None
    if options.kills:
        with scenes(warm, options, Size(many=options.pictures), memory) as made:
            yield last(kill_all(made, options.kills, warm, examiner, seed), minutes)
    if options.cuts or options.disks:
        with scenes(warm, options, Size(many=options.pictures), None) as made:
            if options.cuts:
                try:
                    yield last(cut_all(made, options.cuts, examiner, seed), minutes)
                except CannotMount as error:
                    print(f"no power cuts: nothing can be mounted here ({error})")
            if options.disks:
                yield last(fill_all(made, options.disks, examiner, seed), minutes)
    if options.calls:
        with scenes(warm, options, SMALL, memory) as made:
            yield last(fail_all(made, warm, examiner), minutes)


@contextmanager
def scenes(
    warm: Warm, options: argparse.Namespace, size: Size, place: str | None
) -> Iterator[list[Scene]]:
    """The commands, ready to be disturbed, below a temporary folder in `place`."""
    with tempfile.TemporaryDirectory(prefix="crashes-", dir=place) as name:
        folder = Path(name).resolve()
        yield [make_scene(name, folder / name, size, warm) for name in options.commands]


def last(steps: Iterator[Tally], minutes: float) -> Tally:
    """The tally at the end, or when the time is over; progress goes to stderr."""
    end = time.monotonic() + 60 * minutes
    tally = Tally(kind="nothing")
    known = 0
    with suppress(KeyboardInterrupt):  # what was seen until then is shown
        for number, tally in enumerate(steps, 1):
            if number % 10 == 0 or len(tally.faults) > known:
                known = len(tally.faults)
                print(tally.row(), *tally.faults[-1:], file=sys.stderr, flush=True)
            if time.monotonic() > end:
                break
    return tally


if __name__ == "__main__":
    main()
