"""Disks that fill up at random moments, and limits on the size of files."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from benchmarks.crashes.checks import Examiner, Tally
from benchmarks.crashes.images import CannotMount, copy_image, make_image, mounted
from benchmarks.crashes.processes import Ended, Process, disturbed, random_moment, started
from benchmarks.crashes.scenes import Scene

MEGABYTES = 400
ENDS = {0, 3, 6, 9, -signal.SIGBUS, 128 + signal.SIGBUS}  # SIGBUS: the engine's, documented
Act = Callable[[Process], object]


def fill_all(scenes: list[Scene], count: int, examiner: Examiner, seed: int) -> Iterator[Tally]:
    """`count` full disks of three kinds; where nothing can be mounted, only the third."""
    chance = random.Random(seed)
    tally = Tally(kind="full disks")
    kinds = ["tmpfs", "ext4", "RLIMIT_FSIZE"]
    number = 0
    while tally.count < count:
        scene = scenes[number // len(kinds) % len(scenes)]
        kind = kinds[number % len(kinds)]
        number += 1
        try:
            fill(scene, kind, examiner, tally, chance)
        except CannotMount:
            kinds = ["RLIMIT_FSIZE"]
        yield tally


def fill(scene: Scene, kind: str, examiner: Examiner, tally: Tally, chance: random.Random) -> None:
    """Fill the disk during one run; then there is room again."""
    disk = scene.folder / "small"
    moment = random_moment(chance, scene.fresh_timing)
    size = int(2 ** chance.uniform(8, 26))
    with _disk(kind, scene.folder / "small.img", disk):
        stage = disk / "stage"
        scene.reset(stage)
        filler = disk / "filler"
        act: Act = partial(_limit, size) if kind == "RLIMIT_FSIZE" else partial(_fill, filler)
        ended = disturbed(started, scene.command(stage), scene.lock(stage), moment, act)
        filler.unlink(missing_ok=True)
        tally.add(scene, f"{kind}: {_ending(ended)}")
        how = f"{kind} full at {moment} (limit {size} bytes)"
        if ended.code not in ENDS or "Traceback" in ended.err:
            tally.faults.append(f"{scene.name}, {how}: exit {ended.code}: {ended.err[-400:]}")
        examiner.examine(scene, stage, ended.reported, tally, how, said_all=ended.said_all)


def _disk(kind: str, image: Path, disk: Path) -> AbstractContextManager[Path]:
    if kind == "tmpfs":
        return mounted(None, disk, f"size={MEGABYTES}m")
    if kind == "ext4":
        if not image.exists():
            make_image(image, MEGABYTES)
        copy_image(image, image.with_suffix(".run"))
        return mounted(image.with_suffix(".run"), disk)
    disk.mkdir(exist_ok=True)
    return nullcontext(disk)


def _fill(filler: Path, _process: Process) -> None:
    """Take all room there is, in ever smaller pieces."""
    with open(filler, "wb") as file:
        size, end = MEGABYTES << 20, 0
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), end, size)
                end += size
            except OSError:
                size //= 2


def _limit(size: int, process: Process) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))


def _ending(ended: Ended) -> str:
    return f"exit {ended.code}" if ended.code >= 0 else signal.Signals(-ended.code).name
