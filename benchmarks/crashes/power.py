"""The power goes: what the disk holds at that moment is copied and mounted as after a reboot.

The disk is an image behind a loop device. While the process stands still (SIGSTOP) the image is
copied, without `sync`: what only the page cache knew is gone, the journal is replayed at the next
mount. The image keeps what it was given in order; a disk that loses what it promised at a flush
is not modelled.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.crashes.checks import Examiner, Tally, when
from benchmarks.crashes.images import copy_image, make_image, mounted, writes_to
from benchmarks.crashes.processes import Process, disturbed, random_moment, started
from benchmarks.crashes.scenes import Scene

MEGABYTES = 700  # the store wants 256 MiB of free space
TRIES = 20  # of a copy that no write came between


def cut_all(scenes: list[Scene], count: int, examiner: Examiner, seed: int) -> Iterator[Tally]:
    """`count` cuts, each command in its turn. Raises CannotMount."""
    chance = random.Random(seed)
    tally = Tally(kind="power cuts")
    number = 0
    while tally.count < count:
        scene = scenes[number % len(scenes)]
        number += 1
        image = scene.folder / "base.img"
        if not image.exists():
            make_image(image, MEGABYTES)
            with mounted(image, scene.folder / "disk") as disk:
                scene.reset(disk / "stage")
        cut(scene, examiner, tally, chance)
        yield tally


def cut(scene: Scene, examiner: Examiner, tally: Tally, chance: random.Random) -> None:
    """Cut the power during one run, and look at the disk afterwards."""
    image, after, disk = (scene.folder / name for name in ("run.img", "cut.img", "disk"))
    copy_image(scene.folder / "base.img", image)
    moment = random_moment(chance, scene.fresh_timing)
    after.unlink(missing_ok=True)
    with mounted(image, disk):
        ended = disturbed(
            started,
            scene.command(disk / "stage"),
            scene.lock(disk / "stage"),
            moment,
            partial(_cut, image, after, disk),
        )
    if not after.exists():  # the run ended before
        return
    tally.add(scene, when(ended, moment))
    with mounted(after, disk):
        how = f"cut at {moment}"
        examiner.examine(scene, disk / "stage", ended.reported, tally, how, said_all=ended.said_all)


def _cut(image: Path, after: Path, disk: Path, process: Process) -> None:
    process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(TRIES):
            before = writes_to(disk)
            copy_image(image, after)
            if writes_to(disk) == before:
                return
        after.unlink()
    finally:
        process.send_signal(signal.SIGKILL)
