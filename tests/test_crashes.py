"""Nothing reported is lost, and the next run ends as ever: the small part of benchmarks.crashes.

`python -m benchmarks.crashes --kills 500 --cuts 60 --disks 72 --calls` is the whole of it.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("kills at moments of processor time, mounts: Linux", allow_module_level=True)

import clipindex
from benchmarks.crashes.calls import HOW, fail_all, strike
from benchmarks.crashes.checks import Examiner, Tally
from benchmarks.crashes.disks import fill_all
from benchmarks.crashes.faults import BORDERS
from benchmarks.crashes.images import CannotMount
from benchmarks.crashes.kills import kill_all
from benchmarks.crashes.power import cut_all
from benchmarks.crashes.processes import Ended, environment
from benchmarks.crashes.scenes import SMALL, Scene, Size, make_scene, scene_names
from benchmarks.crashes.state import State, differences, lost, read_state
from benchmarks.crashes.warm import Warm
from clipindex.errors import StoreError
from clipindex.files.durable import free_space
from clipindex.files.replacing import size_on_disk
from clipindex.stores.edge import EdgePoints

SEED = 20
KILLS = 30
EVERY = {"store": 11, "catalogue": 47, "files": 97}  # so many calls apart
WAYS = 4  # each fourth of scene, border and way to fail: all of each
SIZE = Size(few=12, many=30)
ROOM = 2 << 30  # bytes in memory that make it the place for what needs no disk
Make = Callable[..., list[Scene]]


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where nothing waits for a disk, if there is one: a kill takes no file away."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or free_space(shared) < ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="clipindex-test-", dir=shared) as name:
        yield Path(name)


@pytest.fixture
def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warm]:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with Warm() as process:
        yield process


@pytest.fixture
def make(in_memory: Path, warm: Warm) -> Make:
    """Prepares commands to be disturbed."""
    return lambda *names, size=SIZE: [
        make_scene(name, in_memory / name, size, warm) for name in names
    ]


def harmless(steps: Iterator[Tally]) -> Tally:
    """The tally at the end; nothing was lost, nothing ended differently."""
    *_, tally = steps
    assert not tally.faults, "\n".join(tally.faults)
    assert (tally.lost, tally.different) == (0, 0)
    return tally


# --- the crashes -------------------------------------------------------------------------------


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(make: Make, warm: Warm) -> None:
    names = scene_names()
    tally = harmless(kill_all(make(*names), KILLS, warm, Examiner(warm), SEED))
    assert tally.count >= KILLS
    assert set(tally.crashes) == set(names)
    assert tally.reported > 0
    assert {"before the lock", "under the lock, nothing reported"} <= set(tally.moments)


@pytest.mark.slow
def test_what_was_reported_is_on_the_disk_when_the_power_goes(make: Make, warm: Warm) -> None:
    try:
        tally = harmless(cut_all(make("ingest", "relocate"), 4, Examiner(warm), SEED))
    except CannotMount as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    assert tally.count == 4


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(make: Make, warm: Warm) -> None:
    tally = harmless(fill_all(make("reindex"), 3, Examiner(warm), SEED))
    assert tally.count == 3


@pytest.mark.slow
def test_calls_of_engine_catalogue_and_file_system_may_fail(make: Make, warm: Warm) -> None:
    """Some of each border of each command; `--calls` is all of them."""
    scenes = make(*scene_names(), size=SMALL)
    failures = fail_all(scenes, warm, Examiner(warm), every=EVERY, first=3, ways=WAYS)
    tally = harmless(failures)
    assert set(tally.crashes) == set(scene_names())
    assert {moment.split(",")[0] for moment in tally.moments} == set(BORDERS)
    assert all(any(words in moment for moment in tally.moments) for words in HOW.values())


def test_a_disk_that_fails_when_asked_for_its_space_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an unexpected error without the folder's name, and exit code 1."""

    def failing(_path: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "statvfs", failing)
    with pytest.raises(StoreError, match="how much space is free") as raised:
        free_space(tmp_path)
    assert raised.value.path == str(tmp_path)


def test_what_cannot_be_listed_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was done ended with 1 because its size could not be taken."""
    (tmp_path / "file").write_bytes(bytes(10_000))
    assert size_on_disk(tmp_path) >= 10_000

    def failing(_path: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", failing)
    assert size_on_disk(tmp_path) == 0


# --- the harness itself ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_point_that_is_taken_away_is_noticed(make: Make, warm: Warm) -> None:
    """The examination can fail: a reported point is deleted, a row changed, behind its back."""
    (scene,) = make("ingest")
    stage = scene.folder / "stage"
    scene.reset(stage)
    warm.run(scene.command(stage))
    place = clipindex.Index(stage / "store").place
    victim = min(scene.after.points)
    points = EdgePoints(place.shard, 512)
    points.delete([victim])
    points.flush()
    points.close()
    tally = Tally(kind="test")
    Examiner(warm).examine(scene, stage, {victim}, tally, "by hand")
    assert tally.lost == 1
    assert f"not there as reported: {victim}" in tally.faults[0]


@pytest.mark.slow
def test_a_call_that_fails_is_named_and_there_is_a_last_one(make: Make, warm: Warm) -> None:
    (scene,) = make("ingest")
    tally = Tally(kind="test")
    examiner = Examiner(warm)
    for border in BORDERS:
        assert strike(scene, border, 1, warm, examiner, tally, how="before")
        assert not strike(scene, border, 10_000, warm, examiner, tally, how="before")
    assert tally.count == len(BORDERS)
    assert not any("exit 0" in moment for moment in tally.moments if "files" not in moment)


ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)
OLD = (b"old", {"sha256": "a"})
NEW = (b"new", {"sha256": "a"})
HALF = (b"new", {"sha256": "a", "tag_x": "half"})


@pytest.mark.parametrize(
    ("now", "reported", "fault"),
    [
        ({ONE: OLD}, set(), None),
        ({ONE: NEW}, {ONE}, None),
        ({ONE: OLD}, {ONE}, "reported"),
        ({}, {ONE}, "reported"),
        ({ONE: HALF}, set(), "neither"),
        ({TWO: NEW}, set(), "neither"),
        ({}, set(), "gone"),
        ({TWO: OLD}, set(), "neither"),
    ],
)
def test_a_point_is_as_before_or_as_after_and_never_gone(
    now: dict[uuid.UUID, object], reported: set[uuid.UUID], fault: str | None
) -> None:
    before, after = State(points={ONE: OLD}), State(points={ONE: NEW})
    faults = lost(before, after, reported, State(points=now))  # type: ignore[arg-type]
    assert bool(faults) is (fault is not None)
    assert fault is None or faults[0].startswith(fault)


def test_every_part_of_a_state_is_compared() -> None:
    full = State(
        points={ONE: OLD},
        rows={b"/a": (1,)},
        roots={b"/": {}},
        begun_moves={b"/a": b"/b"},
        folders={b"/": 1},
        names={"store/left": True},
    )
    assert differences(full, full) == []
    for part in vars(full):
        assert differences(full, replace(full, **{part: {}}))[0].startswith(part)


def test_half_a_line_reports_nothing() -> None:
    whole = f'{{"type": "batch", "ids": ["{ONE}"]}}\n'
    assert Ended(code=-9, out=whole + whole.replace("1", "2")[:-1], err="").reported == {ONE}


def test_a_store_without_a_collection_holds_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path / "missing") == State()
    (tmp_path / "store" / "image_embeddings").mkdir(parents=True)
    assert read_state(tmp_path / "store") == State()
