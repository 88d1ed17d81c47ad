"""What is asked after each crash, and the tally of the answers."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.crashes.processes import Ended, Moment
from benchmarks.crashes.scenes import Scene
from benchmarks.crashes.state import State, copy_stage, differences, lost
from benchmarks.crashes.warm import Warm


@dataclass(kw_only=True)
class Tally:
    """Figures of one kind of crash. `faults` says what went wrong, and how to see it again."""

    kind: str
    crashes: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    reported: int = 0
    lost: int = 0
    different: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All crashes of this kind."""
        return sum(self.crashes.values())

    def row(self) -> dict[str, object]:
        """One line of a table."""
        return {
            "what": self.kind,
            "times": self.count,
            "points reported": self.reported,
            "lost": self.lost,
            "ended differently": self.different,
            "other faults": len(self.faults) - self.lost - self.different,
        }

    def add(self, scene: Scene, when: str) -> None:
        """A crash of a command."""
        self.crashes[scene.name] += 1
        self.moments[when] += 1


class Examiner:
    """Looks at what a crash left: on copies, so that looking mends nothing."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm

    def examine(
        self,
        scene: Scene,
        stage: Path,
        reported: Iterable[uuid.UUID],
        tally: Tally,
        how: str,
        *,
        said_all: bool = False,
        walked: bool = True,
    ) -> None:
        """What was reported must be there, and the undisturbed command must end as ever.
        `stage` stays as it is. `how` repeats the case. Where the disturbed run could not walk
        everything (not `walked`) a move counts as a copy: the old point may stay as it was."""
        ids = set(scene.after.points) if said_all else set(reported)
        tally.reported += len(ids)
        copy = scene.folder / "copy"
        copy_stage(stage, copy)
        where = f"{tally.kind}, {scene.name}, {how}"
        if gone := _gone(scene, copy, ids, said_all=said_all):
            tally.lost += 1
            tally.faults.append(f"{where}: lost: {gone[:3]}")
        copy_stage(stage, copy)
        done = self._warm.run(scene.command(copy))
        wrong = [] if scene.may_end(done.code) else [f"exit {done.code}: {done.err[-600:]}"]
        state = scene.read(copy)
        expected = scene.after if walked else with_old_points(scene, state)
        wrong = wrong or differences(expected, state)
        if wrong:
            tally.different += 1
            tally.faults.append(f"{where}: {len(wrong)} differ: {wrong[:3]}")


def with_old_points(scene: Scene, state: State) -> State:
    """The state at the end, with the points and rows of `state` that are only in the one before."""
    old = {
        part: {
            key: value
            for key, value in getattr(scene.before, part).items()
            if key not in getattr(scene.after, part) and getattr(state, part).get(key) == value
        }
        for part in ("points", "rows")
    }
    points, rows = scene.after.points, scene.after.rows
    return replace(scene.after, points={**points, **old["points"]}, rows={**rows, **old["rows"]})


def _gone(scene: Scene, copy: Path, ids: set[Any], *, said_all: bool) -> list[str]:
    """What is lost, half done, or was announced too early."""
    try:
        state = scene.read(copy)
    except Exception as error:
        return [f"cannot be read: {error!r}"]
    gone = lost(scene.before, scene.after, ids, state)
    if said_all and state.points.keys() != scene.after.points.keys():
        gone.append("the run said it was done, and it is not")
    if scene.play.is_whole and not any(map(state.holds_the_same, (scene.before, scene.after))):
        gone += ["neither all as before nor all as after", *differences(scene.after, state)]
    return gone


def when(ended: Ended, moment: Moment) -> str:
    """The part of the run in which it was disturbed."""
    if ended.said_all:
        return "after the last line"
    if ended.reported:
        return "between and within batches"
    return "under the lock, nothing reported" if moment.locked else "before the lock"
