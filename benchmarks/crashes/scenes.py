"""The commands that are disturbed: what each starts from, and where it ends undisturbed.

A scene plays on a stage: a folder with the store, and the backups where there are any. A copy of
the stage is as good: a link leads to the one in use, so that the store's path stays the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import clipindex
from benchmarks.crashes.photographs import changed, photographs
from benchmarks.crashes.processes import Timing, started, timed
from benchmarks.crashes.state import State, copy_stage, names_in, read_state, side_by_side
from benchmarks.crashes.warm import Warm
from clipindex.errors import StoreError

TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny"
SMALL_BATCHES = ["--batch-size", "3"]
COLLECTION = "image_embeddings"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many pictures there are."""

    few: int = 24  # of commands that can write small batches
    many: int = 600  # of commands that write 250 points at once


SMALL = Size(few=6, many=6)


@dataclass(frozen=True, kw_only=True)
class Play:
    """What a maker prepared: the command, and what is special about it."""

    arguments: tuple[str, ...]
    ends: frozenset[int] = frozenset({0})  # of an undisturbed run on what a disturbed one left
    is_whole: bool = False  # all is as before or all is as after, nothing in between
    lock: str = f"store/{COLLECTION}/lock"  # on the stage; its holder signs it


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One command on one stage. Photographs stay as they are while it runs."""

    name: str
    folder: Path
    play: Play
    before: State
    after: State
    timing: Timing  # of a process that has imported everything

    @cached_property
    def fresh_timing(self) -> Timing:
        """Of a process that imports everything itself."""
        stage = self.folder / "timed"
        self.reset(stage)
        return timed(started, self.command(stage), self.lock(stage))

    @property
    def base(self) -> Path:
        """The stage that the command starts from; it may be missing."""
        return self.folder / "base"

    def command(self, stage: Path) -> list[str]:
        """The command line, on a copy of the stage."""
        return on_stage(self.folder, stage, *self.play.arguments)

    def lock(self, stage: Path) -> Path:
        """The file in which the lock's holder notes itself."""
        return stage / self.play.lock

    def reset(self, stage: Path) -> None:
        """`stage` as before the command."""
        copy_stage(self.base, stage)

    def read(self, stage: Path) -> State:
        """What is on the stage, which no process uses."""
        return read_stage(stage, self.folder / "restored")

    def may_end(self, code: int) -> bool:
        """Whether an undisturbed run may end so."""
        return code in self.play.ends


def on_stage(folder: Path, stage: Path, *arguments: str) -> list[str]:
    """A command line on the stage, which the link `here` leads to from now on."""
    link = folder / "here"
    link.unlink(missing_ok=True)
    link.symlink_to(stage)
    place = [argument.replace("STAGE", str(link)) for argument in arguments]
    return [*place, "--store", str(link / "store"), "--json"]


def read_stage(stage: Path, aside: Path) -> State:
    """The store; and the store that is restored, into the folder `aside`, from the backups."""
    store, backups = stage / "store", stage / "backups"
    names = names_in(store, store / COLLECTION, backups)
    state = read_state(store)
    if backups.exists():
        state = side_by_side(store=state, backup=read_backup(backups, aside))
    return replace(state, names=names)


def read_backup(backups: Path, aside: Path) -> State:
    """What a backup is worth; nothing where it is refused as incomplete."""
    shutil.rmtree(aside, ignore_errors=True)
    try:
        clipindex.Index(aside).restore(backups)
    except StoreError as error:
        if "there is no backup" in error.message:
            return State()
        raise
    return read_state(aside)


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Prepares one scene below its folder."""

    folder: Path
    size: Size
    warm: Warm

    def run(self, *arguments: str) -> None:
        """A command on the stage, to its end. Raises RuntimeError where it fails."""
        done = self.warm.run(on_stage(self.folder, self.folder / "base", *arguments))
        if done.code not in (0, 3):
            raise RuntimeError(f"clipindex {arguments}: exit code {done.code}: {done.err[-600:]}")

    def indexed(self, count: int) -> None:
        """Photographs, and a store that knows them; one folder is tagged."""
        photographs(self.photos, count)
        self.run("ingest", str(self.photos), "--model", str(TINY))
        self.run("tag", "place=home", str(self.photos / "1"))

    @property
    def photos(self) -> Path:
        """The folder of photographs."""
        return self.folder / "photos"

    def ingest(self) -> Play:
        photographs(self.photos, self.size.few)
        arguments = ("ingest", str(self.photos), "--model", str(TINY), *SMALL_BATCHES)
        return Play(arguments=arguments, ends=frozenset({0, 3}))  # 3: a damaged picture is new

    def reindex(self) -> Play:
        self.indexed(self.size.few)
        changed(self.folder)
        return Play(arguments=("reindex", *SMALL_BATCHES))

    def relocate(self) -> Play:
        self.indexed(self.size.many)
        moved = self.photos.rename(self.folder / "moved")
        arguments = ("relocate", str(self.photos), str(moved))
        return Play(arguments=arguments, ends=frozenset({0, 2}))  # 2: all had been moved

    def tag(self) -> Play:
        self.indexed(self.size.many)
        return Play(arguments=("tag", "owner=ann", str(self.photos)))

    def import_(self) -> Play:
        self.indexed(self.size.many)
        self.run("export", str(self.folder / "export"))
        shutil.rmtree(self.folder / "base" / "store")
        return Play(arguments=("import", str(self.folder / "export")))

    def prune(self) -> Play:
        self.indexed(4 * self.size.few)
        for path in sorted(self.photos.rglob("*.jpg"))[::4]:
            path.unlink()
        return Play(arguments=("prune", "--yes", "--max-delete", "50%"))

    def compact(self) -> Play:
        self.indexed(self.size.many)
        return Play(arguments=("compact",), is_whole=True)

    def backup(self) -> Play:
        """In place of an earlier one."""
        self.indexed(self.size.many)
        self.run("backup", "STAGE/backups")
        self.run("tag", "owner=ann", str(self.photos))
        return Play(arguments=("backup", "STAGE/backups"), is_whole=True)

    def restore(self) -> Play:
        """Into an empty store. 8: what was killed had restored it."""
        self._restorable()
        shutil.rmtree(self.folder / "base" / "store")
        return self._restoring(frozenset({0, 8}))

    def replace(self) -> Play:
        """In place of a collection."""
        self._restorable()
        return self._restoring(frozenset({0}), "--replace")

    def _restorable(self) -> None:
        self.indexed(self.size.many)
        self.run("backup", str(self.folder / "backups"))
        self.run("tag", "owner=ann", str(self.photos))

    def _restoring(self, ends: frozenset[int], *options: str) -> Play:
        return Play(
            arguments=("restore", str(self.folder / "backups"), *options),
            ends=ends,
            is_whole=True,
            lock=f"store/.restoring-{COLLECTION}/lock",
        )


MAKERS: dict[str, Callable[[Maker], Play]] = {
    "ingest": Maker.ingest,
    "reindex": Maker.reindex,
    "relocate": Maker.relocate,
    "tag": Maker.tag,
    "import": Maker.import_,
    "prune": Maker.prune,
    "compact": Maker.compact,
    "backup": Maker.backup,
    "restore": Maker.restore,
    "restore-replace": Maker.replace,
}


def scene_names() -> list[str]:
    """The commands, in the order in which they take turns."""
    return list(MAKERS)


def make_scene(name: str, folder: Path, size: Size, warm: Warm) -> Scene:
    """Prepare a command below `folder`, and run it once undisturbed."""
    (folder / "base").mkdir(parents=True)
    play = MAKERS[name](Maker(folder=folder, size=size, warm=warm))
    stage, aside = folder / "stage", folder / "restored"
    copy_stage(folder / "base", stage)
    before = read_stage(stage, aside)
    copy_stage(folder / "base", stage)
    arguments = on_stage(folder, stage, *play.arguments)
    timing = timed(warm.started, arguments, stage / play.lock)
    return Scene(
        name=name,
        folder=folder,
        play=play,
        before=before,
        after=read_stage(stage, aside),
        timing=timing,
    )
