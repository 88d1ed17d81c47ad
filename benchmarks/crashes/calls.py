"""The n-th call fails, n = 1, 2, ... until a run has fewer calls."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.crashes.checks import Examiner, Tally
from benchmarks.crashes.faults import BORDERS
from benchmarks.crashes.scenes import Scene
from benchmarks.crashes.warm import Fault, Warm

UNEXPECTED = 1  # exit code of an error that no code was made for


def fail_all(
    scenes: list[Scene], warm: Warm, examiner: Examiner, *, every: int = 1, first: int = 1
) -> Iterator[Tally]:
    """Each border of each command; of its calls each, or every so many from `first` on."""
    tally = Tally(kind="failing calls")
    for scene in scenes:
        for border in BORDERS:
            for done in (False, True):
                number = first
                while strike(scene, border, number, warm, examiner, tally, done=done):
                    number += every
                    yield tally


def strike(
    scene: Scene,
    border: str,
    number: int,
    warm: Warm,
    examiner: Examiner,
    tally: Tally,
    *,
    done: bool,
) -> bool:
    """Let one call fail; whether there was such a call."""
    store = scene.folder / "store"
    scene.reset(store)
    folder = os.path.join(scene.folder, "")
    fault = Fault(border=border, number=number, done=done, folder=folder)
    ended = warm.run(scene.command(store), fault)
    if not ended.struck:
        return False
    when = "after its work" if done else "before its work"
    how = f"call {number} of {border} fails {when}: {ended.struck}"
    tally.add(scene, f"{border}, {when}: exit {ended.code}")
    if ended.code == UNEXPECTED or ended.code < 0 or "Traceback" in ended.err:
        tally.faults.append(f"{scene.name}, {how}: exit {ended.code}: {ended.err[-600:]}")
    said_all = ended.said_all and border != "files"  # a picture that cannot be read is no point
    examiner.examine(scene, store, ended.reported, tally, how, said_all=said_all)
    return True
