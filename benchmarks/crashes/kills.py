"""SIGKILL at random moments."""

from __future__ import annotations

import random
import signal
import uuid
from collections.abc import Iterator

from benchmarks.crashes.checks import Examiner, Tally, when
from benchmarks.crashes.processes import Start, Timing, disturbed, random_moment, started
from benchmarks.crashes.scenes import Scene
from benchmarks.crashes.warm import Warm

AGAIN = 1 / 3  # the chance that the run after a killed one is killed too
FRESH = 10  # every so many turns the process is one that imports everything itself


def kill(
    scene: Scene,
    start: Start,
    timing: Timing,
    examiner: Examiner,
    tally: Tally,
    chance: random.Random,
) -> None:
    """Kill a run; then perhaps the one that goes on with what it left, and so on."""
    stage = scene.folder / "stage"
    scene.reset(stage)
    reported = set[uuid.UUID]()
    kills = 0
    while kills == 0 or chance.random() < AGAIN:
        seed = chance.randrange(1 << 30)
        moment = random_moment(random.Random(seed), timing)
        ended = disturbed(
            start,
            scene.command(stage),
            scene.lock(stage),
            moment,
            lambda process: process.send_signal(signal.SIGKILL),
        )
        if ended.code != -signal.SIGKILL:  # it ended before: this one does not count
            if kills:
                return
            scene.reset(stage)
            continue
        kills += 1
        reported |= ended.reported
        tally.add(scene, when(ended, moment) if kills == 1 else "in a run after a kill")
        how = f"kill {kills} at {moment}"
        examiner.examine(scene, stage, reported, tally, how, said_all=ended.said_all)


def kill_all(
    scenes: list[Scene], count: int, warm: Warm, examiner: Examiner, seed: int
) -> Iterator[Tally]:
    """`count` kills or a few more, each command in its turn; yields the tally after each turn."""
    chance = random.Random(seed)
    tally = Tally(kind="kills")
    number = 0
    while tally.count < count:
        turn, place = divmod(number, len(scenes))
        scene = scenes[place]
        if (turn + place) % FRESH == 0:
            kill(scene, started, scene.fresh_timing, examiner, tally, chance)
        else:
            kill(scene, warm.started, scene.timing, examiner, tally, chance)
        number += 1
        yield tally
