"""SIGKILL at random moments."""

from __future__ import annotations

import random
import signal
import uuid
from collections.abc import Iterator

from benchmarks.crashes.checks import Examiner, Tally, when
from benchmarks.crashes.processes import disturbed, random_moment
from benchmarks.crashes.scenes import Scene

AGAIN = 1 / 3  # the chance that the run after a killed one is killed too


def kill(scene: Scene, examiner: Examiner, tally: Tally, chance: random.Random) -> None:
    """Kill a run; then perhaps the one that goes on with what it left, and so on."""
    store = scene.folder / "store"
    scene.reset(store)
    reported = set[uuid.UUID]()
    kills = 0
    while kills == 0 or chance.random() < AGAIN:
        seed = chance.randrange(1 << 30)
        moment = random_moment(random.Random(seed), scene.timing)
        ended = disturbed(
            scene.command(store),
            scene.lock(store),
            moment,
            lambda process: process.send_signal(signal.SIGKILL),
        )
        if ended.code != -signal.SIGKILL:  # it ended before: this one does not count
            if kills:
                return
            scene.reset(store)
            continue
        kills += 1
        reported |= ended.reported
        tally.add(scene, when(ended, moment) if kills == 1 else "in a run after a kill")
        how = f"kill {kills} at {moment}"
        examiner.examine(scene, store, reported, tally, how, said_all=ended.said_all)


def kill_all(scenes: list[Scene], count: int, examiner: Examiner, seed: int) -> Iterator[Tally]:
    """`count` kills or a few more, each command in its turn; yields the tally after each turn."""
    chance = random.Random(seed)
    tally = Tally(kind="kills")
    number = 0
    while tally.count < count:
        kill(scenes[number % len(scenes)], examiner, tally, chance)
        number += 1
        yield tally
