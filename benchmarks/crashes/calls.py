"""The n-th call fails, n = 1, 2, ... until a run has fewer calls."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from itertools import islice, product

from benchmarks.crashes.checks import Examiner, Tally
from benchmarks.crashes.faults import BORDERS
from benchmarks.crashes.scenes import Scene
from benchmarks.crashes.warm import Fault, Warm

UNEXPECTED = 1  # exit code of an error that no code was made for
HOW = {
    "before": "fails before its work",
    "after": "fails after its work",
    "killed": "is where the process is killed",
}
ALL = dict.fromkeys(BORDERS, 1)


def fail_all(
    scenes: list[Scene],
    warm: Warm,
    examiner: Examiner,
    *,
    every: Mapping[str, int] = ALL,
    first: int = 1,
    ways: int = 1,
) -> Iterator[Tally]:
    """Each border of each command, in each way; of its calls each, or every so many from `first`
    on. With `ways` only each so many-th of these takes place."""
    tally = Tally(kind="failing calls")
    for scene, border, how in islice(product(scenes, BORDERS, HOW), 0, None, ways):
        number = first
        while strike(scene, border, number, warm, examiner, tally, how=how):
            number += every[border]
            yield tally


def strike(
    scene: Scene,
    border: str,
    number: int,
    warm: Warm,
    examiner: Examiner,
    tally: Tally,
    *,
    how: str,
) -> bool:
    """Let one call fail, or kill the process there; whether there was such a call."""
    stage = scene.folder / "stage"
    scene.reset(stage)
    folder = os.path.join(scene.folder, "")
    fault = Fault(border=border, number=number, how=how, folder=folder)
    ended = warm.run(scene.command(stage), fault)
    if not ended.struck:
        return False
    case = f"call {number} of {border} {HOW[how]}: {ended.struck}"
    tally.add(scene, f"{border}, {HOW[how]}: exit {ended.code}")
    bad = ended.code < 0 if how != "killed" else ended.code != -signal.SIGKILL
    if ended.code == UNEXPECTED or bad or "Traceback" in ended.err:
        tally.faults.append(f"{scene.name}, {case}: exit {ended.code}: {ended.err[-600:]}")
    read = border != "files"  # else some picture or folder may not have been
    said_all = ended.said_all and read
    examiner.examine(scene, stage, ended.reported, tally, case, said_all=said_all, walked=read)
    return True
