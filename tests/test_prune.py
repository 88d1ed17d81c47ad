"""Nothing vanishes in silence, and nothing leaves the index but what is proved to be gone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import clipindex
from clipindex.collection.catalogue import Catalogue
from clipindex.errors import Refused, UsageError, VerificationFailed
from clipindex.ingest.reasons import grouped
from clipindex.stores.address import Server
from clipindex.stores.edge import EdgePoints
from conftest import (
    TINY,
    ingest,
    make_pictures,
    picture_bytes,
    reconciles,
    run_clipindex,
    unprivileged,
)
from copies import copied
from qdrant_double import Double
from test_cli import clip, in_terminal
from test_ingest import same_state, stored

ALL = clipindex.PruneOptions(max_files=1000)


@pytest.fixture
def photos(index: clipindex.Index, tmp_path: Path) -> Path:
    """a/000.jpg to a/005.jpg and b/000.jpg to b/002.jpg, indexed."""
    root = tmp_path / "in"
    make_pictures(root / "a", 6)
    make_pictures(root / "b", 3, first_seed=50)
    ingest(index, root)
    return root


def names(index: clipindex.Index, root: Path) -> set[str]:
    """What has a point, below the root."""
    return {str(Path(path).relative_to(root)) for path in stored(index)}


def place_of(index: clipindex.Index) -> list[str]:
    return ["--store", str(index.place.name)]


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


# --- nothing vanishes in silence -------------------------------------------------------------


def test_vanished_pictures_are_named_in_the_log_and_counted_everywhere(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    remove(*sorted((photos / "a").iterdir())[:4])
    log = tmp_path / "log"
    done = clip("reindex", "--quiet", "--log-file", log, *place_of(index))
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("4 remembered pictures not found any more: ")
    assert f"{photos / 'a' / '000.jpg'}" in done.err
    text = log.read_text()
    for number in range(4):
        assert f"not found: {photos / 'a'}/00{number}.jpg (since " in text
    last = text.splitlines()[-2]  # before that of the exit code
    assert "5 unchanged; 4 remembered but not found; exit code 0" in last
    assert "not found     4 of the pictures" in clip("status", *place_of(index)).out
    status = clip("status", "--json", *place_of(index)).lines[-1]
    assert status["vanished"] == 4
    again = clip("reindex", "--quiet", *place_of(index))
    assert (again.code, again.err) == (0, "")  # said once, counted always
    assert "(4 of them not found)" in clip("reindex", *place_of(index)).out.splitlines()[-1]


def test_vanished_pictures_are_objects_of_their_own_in_json(
    index: clipindex.Index, photos: Path
) -> None:
    remove(photos / "a" / "000.jpg")
    lines = clip("reindex", "--json", *place_of(index)).lines
    (gone,) = [line for line in lines if line["type"] == "vanished"]
    assert gone["path"] == str(photos / "a" / "000.jpg")
    assert gone["id"] == str(stored(index)[str(gone["path"])].id)
    assert (lines[-1]["vanished"], lines[-1]["newly_vanished"]) == (1, 1)
    assert clip("reindex", "--json", *place_of(index)).lines[-1]["newly_vanished"] == 0


def test_a_picture_that_moved_has_not_vanished(index: clipindex.Index, photos: Path) -> None:
    (photos / "b").rename(photos / "c")
    done = clip("reindex", *place_of(index))
    assert "3  moved or renamed" in done.out
    assert "not found" not in done.out + done.err
    assert index.status().vanished == 0


def test_a_picture_that_comes_back_is_no_longer_missing(
    index: clipindex.Index, photos: Path
) -> None:
    (photos / "b").rename(photos.parent / "away")
    assert index.reindex().vanished == 3
    (photos.parent / "away").rename(photos / "b")
    assert index.reindex().vanished == 0
    assert index.status().vanished == 0


def test_an_excluded_picture_has_not_vanished(index: clipindex.Index, photos: Path) -> None:
    summary = index.ingest([photos], policy=clipindex.WalkPolicy(exclude=("b", "a/000.jpg")))
    assert (summary.unchanged, summary.vanished) == (5, 0)


def test_the_second_run_that_misses_a_picture_writes_no_row(
    index: clipindex.Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(photos / "a" / "000.jpg")
    index.reindex()
    noted: list[object] = []
    note = Catalogue.note_missing

    def counted(self: Catalogue, missing: dict[bytes, object], returned: list[bytes]) -> None:
        noted.extend([*missing, *returned])
        note(self, missing, returned)  # type: ignore[arg-type]

    monkeypatch.setattr(Catalogue, "note_missing", counted)
    assert index.reindex().vanished == 1
    assert noted == []


def test_fail_on_vanished_is_exit_code_3_as_long_as_one_is_missing(
    index: clipindex.Index, photos: Path
) -> None:
    run = ["reindex", "--quiet", "--fail-on-vanished", *place_of(index)]
    assert clip(*run).code == 0
    remove(photos / "a" / "000.jpg")
    assert [clip(*run).code, clip(*run).code] == [3, 3]
    assert clip("ingest", photos, "--fail-on-vanished", *place_of(index)).code == 3
    assert clip(*run, "--prune", "--yes").code == 0
    assert clip(*run).code == 0


def test_a_renamed_root_that_is_ingested_anew_hints_at_relocate(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    index.tag({"album": "best"}, [photos / "a"])
    photos.rename(tmp_path / "new name")
    refused = clip("reindex", *place_of(index))
    assert (refused.code, "clipindex relocate" in refused.err) == (2, True)
    done = clip("ingest", tmp_path / "new name", *place_of(index))
    command = f"clipindex relocate {photos} '{tmp_path / 'new name'}'"
    assert f"{photos} is gone, and {tmp_path / 'new name'} holds 9 pictures of it" in done.err
    assert command in done.err
    index.relocate(photos, tmp_path / "new name")
    points = stored(index)
    assert len(points) == 9
    assert sum("tag_album" in point.payload for point in points.values()) == 6
    assert "relocate" not in clip("reindex", *place_of(index)).err


def test_another_new_root_hints_at_nothing(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    photos.rename(tmp_path / "away")
    make_pictures(tmp_path / "other", 3, first_seed=90)
    assert "relocate" not in clip("ingest", tmp_path / "other", *place_of(index)).err


# --- what prune removes ----------------------------------------------------------------------


def test_prune_removes_points_and_rows_of_what_vanished_and_nothing_else(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    (photos / "a" / "cut.jpg").write_bytes(picture_bytes(1)[:2000])
    (photos / "a" / "notes.txt").write_text("hello")
    index.reindex()
    before = stored(index)
    remove(photos / "a" / "000.jpg", photos / "a" / "cut.jpg", photos / "a" / "notes.txt")
    shutil.rmtree(photos / "b")
    report = index.prune()
    assert len(report.removed) == 6
    assert names(index, photos) == {f"a/00{number}.jpg" for number in range(1, 6)}
    after = stored(index)
    assert all(after[path].payload == before[path].payload for path in after)
    status = index.status()
    assert (status.indexed, status.quarantined, status.skipped, status.vanished) == (5, 0, 0, 0)
    fresh = clipindex.Index(tmp_path / "fresh", model=str(TINY))
    ingest(fresh, photos)
    assert same_state(index, fresh)
    summary = index.reindex()
    assert (summary.unchanged, summary.embedded, summary.vanished) == (5, 0, 0)


def test_nothing_is_removed_by_default(index: clipindex.Index, photos: Path) -> None:
    remove(photos / "a" / "000.jpg")
    index.ingest([photos])
    index.reindex()
    assert len(stored(index)) == 9


def test_prune_keeps_to_the_folders_that_are_named(index: clipindex.Index, photos: Path) -> None:
    remove(photos / "a" / "000.jpg", photos / "b" / "000.jpg")
    assert len(index.prune([photos / "b"]).removed) == 1
    assert names(index, photos) >= {"a/000.jpg"}
    with pytest.raises(UsageError, match="no remembered folder"):
        index.prune([photos.parent / "elsewhere"])


def test_a_renamed_picture_that_was_not_read_yet_keeps_its_point_and_its_tags(
    index: clipindex.Index, photos: Path
) -> None:
    index.tag({"album": "best"}, [photos / "b"])
    (photos / "b").rename(photos / "c")
    report = index.prune(options=ALL)
    assert report.removed == []
    assert {kept.reason for kept in report.plan.kept} == {
        "it may have moved: a new file has its size. Run `clipindex reindex` first"
    }
    index.ingest([photos], clipindex.IngestOptions(limit=1))  # one moved, two are still deferred
    assert index.prune(options=ALL).removed == []
    index.reindex()
    assert sum("tag_album" in point.payload for point in stored(index).values()) == 3
    assert index.prune().removed == []
    assert len(stored(index)) == 9


def test_a_move_to_another_root_is_no_deletion_when_only_one_root_is_pruned(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "archive", 1, first_seed=80)
    ingest(index, tmp_path / "archive")
    (photos / "b" / "000.jpg").rename(tmp_path / "archive" / "old.jpg")
    report = index.prune([photos])
    assert (report.removed, len(report.plan.kept)) == ([], 1)
    assert index.reindex().moved == 1


def test_a_picture_that_returns_between_the_question_and_the_deletion_stays(
    index: clipindex.Index, photos: Path
) -> None:
    gone = sorted((photos / "b").iterdir())
    data = [path.read_bytes() for path in gone]
    remove(*gone)

    def agree(plan: clipindex.PrunePlan) -> bool:
        assert len(plan.prunable) == 3
        gone[0].write_bytes(data[0])
        remove(photos / "a" / "000.jpg")  # and what goes meanwhile was not agreed to
        return True

    report = index.prune(agree=agree)
    assert [Path(os.fsdecode(file.row.path)) for file in report.removed] == gone[1:]
    assert names(index, photos) >= {"b/000.jpg", "a/000.jpg"}


def test_prune_asks_nobody_and_locks_nothing_when_the_answer_is_no(
    index: clipindex.Index, photos: Path
) -> None:
    remove(photos / "a" / "000.jpg")
    busy = []

    def agree(_plan: clipindex.PrunePlan) -> bool:
        busy.append(run_clipindex("status", *place_of(index)).code)
        busy.append(run_clipindex("reindex", "--quiet", *place_of(index)).code)
        return False

    report = index.prune(agree=agree)
    assert (report.removed, report.points, busy) == ([], None, [0, 0])
    assert len(stored(index)) == 9


def test_a_folder_that_cannot_be_read_proves_nothing(reachable: Path) -> None:
    index = clipindex.Index(reachable / "store", model=str(TINY))
    root = reachable / "in"
    make_pictures(root / "open", 3)
    make_pictures(root / "closed", 3, first_seed=10)
    ingest(index, root)
    for path in [reachable, *reachable.rglob("*")]:
        os.chown(path, 65534, 65534) if os.geteuid() == 0 else None
    remove(root / "open" / "000.jpg")
    (root / "closed").chmod(0)
    with unprivileged():
        report = index.prune()
    assert (report.removed, len(report.plan.kept)) == ([], 1)
    assert "was not walked to its end" in report.plan.kept[0].reason
    (root / "closed").chmod(0o755)
    with unprivileged():
        assert len(index.prune().removed) == 1


# --- when nothing may go ---------------------------------------------------------------------


@pytest.mark.parametrize("left", ["missing", "empty"])
def test_a_root_that_is_missing_or_empty_refuses_the_prune(
    index: clipindex.Index, photos: Path, left: str
) -> None:
    photos.rename(photos.parent / "away")
    if left == "empty":
        photos.mkdir()
    for options in (ALL, clipindex.PruneOptions(excluded=True)):
        with pytest.raises(Refused, match="is the disk mounted"):
            index.prune(options=options)
    done = clip("prune", "--yes", *place_of(index))
    assert (done.code, "forget --prune" in done.err) == (8, True)
    assert len(stored(index)) == 9


def test_a_root_that_is_away_does_not_keep_others_from_being_pruned(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    for root in ("gone", "void"):
        make_pictures(tmp_path / root, 1, first_seed=80)
        ingest(index, tmp_path / root)
        shutil.rmtree(tmp_path / root)
    (tmp_path / "void").mkdir()
    remove(photos / "a" / "000.jpg")
    with pytest.raises(Refused):
        index.prune()
    assert len(index.prune([photos]).removed) == 1


def test_an_empty_folder_in_place_of_the_one_that_was_indexed_proves_nothing(
    index: clipindex.Index, photos: Path
) -> None:
    """As an unmounted disk leaves it, that an earlier version did not know as one."""
    (photos / "b").rename(photos.parent / "away")
    (photos / "b").mkdir()
    report = index.prune(options=ALL)
    assert report.removed == []
    assert {kept.reason for kept in report.plan.kept} == {
        f"this is not the folder that was indexed: {photos / 'b'}"
    }


def test_what_an_emptied_folder_held_is_gone(index: clipindex.Index, photos: Path) -> None:
    remove(*(photos / "b").iterdir())
    assert len(index.prune().removed) == 3


def test_another_card_in_the_reader_never_makes_the_first_ones_pictures_prunable(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """Its own pictures are indexed, so the place looks familiar in the next night."""
    reader, drawer = tmp_path / "reader", tmp_path / "drawer"
    make_pictures(reader, 3, first_seed=1)
    make_pictures(tmp_path / "home", 1, first_seed=9)
    ingest(index, reader, tmp_path / "home")
    reader.rename(drawer)
    make_pictures(reader, 1, first_seed=20)
    (reader / "000.jpg").rename(reader / "other.jpg")
    for _night in range(3):
        done = clip("reindex", "--prune", "--yes", "--max-delete", "100", *place_of(index))
        assert (done.code, index.status().vanished) == (0, 3)
    assert len(stored(index)) == 5
    shutil.rmtree(reader)
    drawer.rename(reader)
    remove(reader / "000.jpg")
    done = clip("reindex", "--prune", "--yes", "--max-delete", "100", *place_of(index))
    assert done.code == 0
    assert names(index, tmp_path) == {
        "home/000.jpg",
        "reader/001.jpg",
        "reader/002.jpg",
        "reader/other.jpg",  # it is on the other card
    }
    index.prune(options=ALL)
    assert len(stored(index)) == 4


def test_prune_alone_keeps_what_is_on_the_other_card(
    index: clipindex.Index, tmp_path: Path
) -> None:
    reader, drawer = tmp_path / "reader", tmp_path / "drawer"
    make_pictures(reader, 3, first_seed=1)
    ingest(index, reader)
    reader.rename(drawer)
    make_pictures(reader, 1, first_seed=20)
    (reader / "000.jpg").rename(reader / "other.jpg")
    ingest(index, reader)
    reader.rename(tmp_path / "second")
    drawer.rename(reader)
    report = index.prune(options=ALL)
    assert (report.removed, len(report.plan.kept)) == ([], 1)
    assert "it may be another disk" in report.plan.kept[0].reason


@pytest.mark.parametrize(
    ("limits", "goes"),
    [
        ({}, True),
        ({"max_files": 25}, True),
        ({"max_files": 24}, False),
        ({"max_percent": 0.0}, True),  # never fewer than 25
    ],
    ids=str,
)
def test_at_most_so_many_pictures_of_a_root_leave_at_once(
    index: clipindex.Index, tmp_path: Path, limits: dict[str, float], goes: bool
) -> None:
    paths = make_pictures(tmp_path / "in", 30)
    ingest(index, tmp_path / "in")
    remove(*paths[:25])
    options = clipindex.PruneOptions(**limits)  # type: ignore[arg-type]
    if goes:
        assert len(index.prune(options=options).removed) == 25
        return
    with pytest.raises(Refused, match="25 of 30 pictures would leave the index, more than 24"):
        index.prune(options=options)
    assert len(stored(index)) == 30


def test_more_than_a_tenth_and_more_than_25_is_refused_with_the_list_in_a_dry_run(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "in", 30)
    ingest(index, tmp_path / "in")
    remove(*paths[:26])
    done = clip("prune", "--yes", *place_of(index))
    assert (done.code, "--max-delete 26" in done.err) == (8, True)
    listed = clip("prune", "--dry-run", *place_of(index))
    assert (listed.code, listed.out.count("not found: ")) == (8, 26)
    nightly = clip("reindex", "--prune", "--yes", "--json", *place_of(index))
    assert nightly.code == 8
    assert (nightly.lines[-1]["type"], nightly.lines[-1]["kind"]) == ("error", "Refused")
    assert [line["exit_code"] for line in nightly.lines if line["type"] == "summary"] == [8]
    assert len(stored(index)) == 30
    assert clip("prune", "--yes", "--max-delete", "90%", *place_of(index)).code == 0
    assert len(stored(index)) == 4


@pytest.mark.parametrize("text", ["-1", "1.5", "101%", "x", "", "%"])
def test_a_limit_that_is_none_is_a_usage_error(text: str, tmp_path: Path) -> None:
    done = clip("prune", "--yes", "--max-delete", text, "--store", tmp_path)
    assert (done.code, "max-delete" in done.err) == (2, True)


may_mount = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root may mount"
)


@may_mount
@pytest.mark.parametrize("stub", ["empty", "marked", "missing", "root"])
def test_a_real_disk_that_is_away_keeps_its_pictures(
    index: clipindex.Index, tmp_path: Path, stub: str
) -> None:
    root = tmp_path / "in"
    usb = root if stub == "root" else root / "usb"
    usb.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", usb], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        make_pictures(usb / "d", 3, first_seed=70)
        make_pictures(root / "home", 2, first_seed=80)
        ingest(index, root)
    finally:
        subprocess.run(["umount", usb], check=True)
    if stub == "marked":
        (usb / "not-mounted.txt").touch()
    elif stub == "missing":
        usb.rmdir()
    remove(*(root / "home").glob("000.jpg"))
    nightly = ["reindex", "--prune", "--yes", *place_of(index)]
    codes = [clip(*nightly).code, clip(*nightly).code]
    assert codes == ([2, 2] if stub == "root" else [8, 8])
    assert clip("prune", "--yes", *place_of(index)).code == 8
    assert len(stored(index)) == 5
    if stub != "root":  # the rest can be pruned, and what is gone for good forgotten
        assert clip("prune", root / "home", "--yes", *place_of(index)).code == 0
        assert clip("forget", "--prune", "--yes", usb, *place_of(index)).code == 0
        assert names(index, root) == {"home/001.jpg"}
        assert clip(*nightly).code == 0


@may_mount
def test_a_file_deleted_on_a_disk_that_is_there_is_pruned(
    index: clipindex.Index, tmp_path: Path
) -> None:
    usb = tmp_path / "in" / "usb"
    usb.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", usb], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        paths = make_pictures(usb / "d", 3, first_seed=70)
        ingest(index, tmp_path / "in")
        remove(paths[0])
        assert clip("reindex", "--prune", "--yes", *place_of(index)).code == 0
        assert len(stored(index)) == 2
    finally:
        subprocess.run(["umount", usb], check=True)


# --- what an option hides --------------------------------------------------------------------


def test_prune_excluded_removes_what_a_later_option_hides(
    index: clipindex.Index, photos: Path
) -> None:
    (photos / "b" / "deep").mkdir()
    (photos / "b" / "deep" / "x.jpg").write_bytes(picture_bytes(77))
    (photos / "a" / "bad.jpg").write_bytes(b"no picture")
    index.reindex()
    policy = clipindex.WalkPolicy(exclude=("b", "000.jpg", "bad.jpg"))
    index.ingest([photos], policy=policy)
    assert index.prune(options=clipindex.PruneOptions(excluded=True)).removed == []
    index.ingest([photos], policy=policy, remember=True)
    assert index.prune(options=ALL).removed == []
    done = clip("prune", "--excluded", "--dry-run", *place_of(index))
    assert done.out.count("excluded: ") == 6
    report = index.prune(options=clipindex.PruneOptions(excluded=True))
    assert {file.why for file in report.removed} == {"excluded"}
    assert names(index, photos) == {f"a/00{number}.jpg" for number in range(1, 6)}
    assert index.status().quarantined == 0
    assert (photos / "b" / "000.jpg").exists()


def test_what_another_root_reaches_is_not_excluded(index: clipindex.Index, photos: Path) -> None:
    index.ingest([photos], policy=clipindex.WalkPolicy(exclude=("b",)), remember=True)
    index.ingest([photos / "b"])
    assert index.prune(options=clipindex.PruneOptions(excluded=True)).removed == []


def test_a_link_whose_target_is_away_is_not_excluded(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "x.jpg").write_bytes(picture_bytes(77))
    (photos / "link.jpg").symlink_to(tmp_path / "disk" / "x.jpg")
    index.reindex()
    (tmp_path / "disk").rename(tmp_path / "away")
    assert index.prune(options=clipindex.PruneOptions(excluded=True)).removed == []
    assert len(stored(index)) == 10


# --- a whole root ----------------------------------------------------------------------------


def test_forget_prune_removes_a_root_with_all_that_was_below(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "in-other", 2, first_seed=90)
    ingest(index, tmp_path / "in-other")
    (photos / "a" / "bad.jpg").write_bytes(b"no picture")
    index.reindex()
    assert index.remembered_below(photos).pictures == 9
    assert index.forget_and_prune(photos) == 10
    status = index.status()
    assert (status.roots, status.indexed, status.quarantined) == (
        [str(tmp_path / "in-other")],
        2,
        0,
    )
    assert len(stored(index)) == 2
    assert len(list((photos / "a").iterdir())) == 7
    with pytest.raises(UsageError, match="nothing is remembered"):
        index.forget_and_prune(photos)


def test_forget_without_prune_keeps_the_points(index: clipindex.Index, photos: Path) -> None:
    assert clip("forget", photos, *place_of(index)).out == "1 forgotten\n"
    assert len(stored(index)) == 9
    assert clip("forget", "--prune", photos, *place_of(index)).code == 2
    assert clip("forget", photos, "--yes", *place_of(index)).code == 2
    assert clip("forget", "--prune", "--yes", photos, *place_of(index)).out == "9 pruned\n"


# --- kills, faults ---------------------------------------------------------------------------

# Forks for each store and number that it reads: Python and the engine start once.
DYING = """
import json, os, sys
import clipindex
from clipindex.collection.catalogue import Catalogue
from clipindex.stores.edge import EdgePoints
from clipindex.upkeep import prune as room

left = [0]
room.POINTS_AT_ONCE = 2

def dying(method):
    def called(*args, **named):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)
        return method(*args, **named)
    return called

for name in ("delete", "flush", "retrieve", "count"):
    setattr(EdgePoints, name, dying(getattr(EdgePoints, name)))
for name in ("write", "finish_run", "forget_root", "forget_folders"):
    setattr(Catalogue, name, dying(getattr(Catalogue, name)))

def run(store, call, nth):
    left[0] = nth
    index = clipindex.Index(store)
    index.prune() if call == "prune" else index.forget_and_prune(call)

for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            run(*json.loads(line))
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def dies() -> Iterator[Callable[..., int]]:
    """Prunes or forgets, killed at a step; the exit code."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", DYING], **pipes) as process:  # type: ignore[call-overload]

        def run(store: Path, call: str, step: int) -> int:
            process.stdin.write(json.dumps([str(store), call, step]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run


@pytest.mark.slow
@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("call", ["prune", "forget"])
def test_a_kill_at_any_step_loses_nothing_and_a_second_call_finishes(
    photos: Path, tmp_path: Path, call: str, dies: Callable[..., int]
) -> None:
    if call == "prune":
        remove(*sorted((photos / "a").iterdir())[:5])
    target = "prune" if call == "prune" else str(photos / "a")
    expected = {"a/005.jpg"} if call == "prune" else set()
    expected |= {f"b/00{number}.jpg" for number in range(3)}
    steps = 0
    for steps in range(1, 60):
        copy = tmp_path / f"store-{steps}"
        copied(tmp_path / "store", copy)
        code = dies(copy, target, steps)
        killed = clipindex.Index(copy, model=str(TINY))
        assert names(killed, photos) >= expected
        if code == 0:
            break
        assert code == -9
        if call == "prune":
            killed.prune()
        elif killed.status().indexed > 3 or killed.status().roots:
            with contextlib.suppress(UsageError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the points that were deleted before the rows
                killed.forget_and_prune(photos / "a")
        assert names(killed, photos) == expected
        assert killed.status().indexed == len(expected)
    assert steps > 15
    assert names(killed, photos) == expected


def test_a_point_that_outlives_its_deletion_is_noticed_and_keeps_its_row(
    index: clipindex.Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(photos / "a" / "000.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(EdgePoints, "delete", lambda _self, _ids: None)
        with pytest.raises(VerificationFailed, match="can still be read"):
            index.prune()
    assert index.status().indexed == 9
    assert len(index.prune().removed) == 1


def test_a_deletion_that_takes_others_along_is_noticed(
    index: clipindex.Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(photos / "a" / "000.jpg")
    other = stored(index)[str(photos / "a" / "001.jpg")].id
    delete = EdgePoints.delete
    with monkeypatch.context() as patch:
        patch.setattr(EdgePoints, "delete", lambda self, ids: delete(self, [*ids, other]))
        with pytest.raises(VerificationFailed, match="2 points are gone where 1 were deleted"):
            index.prune()
    summary = index.reindex()
    assert (summary.points, summary.embedded, summary.unchanged) == (8, 1, 7)


# --- the command -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [["prune"], ["reindex", "--prune"], ["ingest", "PHOTOS", "--prune"], ["prune", "--json"]],
    ids=" ".join,
)
def test_without_a_terminal_nothing_is_removed_unless_that_is_said(
    index: clipindex.Index, photos: Path, line: list[str]
) -> None:
    remove(photos / "a" / "000.jpg")
    args = [str(photos) if word == "PHOTOS" else word for word in line]
    done = clip(*args, *place_of(index))
    assert (done.code, "--dry-run` first, then add --yes" in done.err) == (2, True)
    assert len(stored(index)) == 9
    assert clip(*args, "--yes", *place_of(index)).code == 0
    assert len(stored(index)) == 8


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 9), (b"\n", 9), (b"\x04", 9), (b"y\n", 8)])
def test_on_a_terminal_it_lists_and_asks(
    index: clipindex.Index, photos: Path, answer: bytes, left: int
) -> None:
    remove(photos / "a" / "000.jpg")
    code, seen = in_terminal("prune", *place_of(index), columns=40, answer=answer)
    assert code == 0
    assert "000.jpg" in seen
    assert "Remove 1 file from the index? [y/N]" in seen
    assert ("1 pruned; 8 pictures left" if left == 8 else "nothing was removed") in seen
    assert len(stored(index)) == left


def test_control_c_at_the_question_removes_nothing(index: clipindex.Index, photos: Path) -> None:
    remove(photos / "a" / "000.jpg")
    code, seen = in_terminal("prune", *place_of(index), answer=b"\x03")
    assert (code, "Traceback" in seen) == (130, False)
    assert len(stored(index)) == 9


def test_reindex_on_a_terminal_asks_when_the_run_is_done(
    index: clipindex.Index, photos: Path
) -> None:
    remove(photos / "a" / "000.jpg")
    (photos / "a" / "new.jpg").write_bytes(picture_bytes(90))
    code, seen = in_terminal("reindex", "--prune", *place_of(index), answer=b"y\n")
    assert code == 0
    assert seen.index("Remove 1 file") < seen.index("1 pruned; 1 written and verified")
    assert names(index, photos) >= {"a/new.jpg"}
    assert len(stored(index)) == 9


def test_a_long_list_is_cut_before_the_question(index: clipindex.Index, tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", 25)
    ingest(index, tmp_path / "in")
    remove(*paths[:22])
    _, seen = in_terminal("prune", *place_of(index), answer=b"n\n", columns=200)
    assert seen.count("not found: ") == 20
    assert "... and 2 more" in seen


def test_json_lines_of_a_prune(index: clipindex.Index, photos: Path) -> None:
    remove(photos / "a" / "000.jpg")
    foreseen = clip("prune", "--dry-run", "--json", *place_of(index)).lines
    lines = clip("prune", "--yes", "--json", *place_of(index)).lines
    for line, status in ((foreseen[0], "prunable"), (lines[0], "pruned")):
        assert line["path"] == str(photos / "a" / "000.jpg")
        assert (line["type"], line["status"], line["reason"]) == ("file", status, "not found")
    counts = {"type": "prune", "prunable": 1, "kept": 0}
    assert foreseen[1:] == [{**counts, "pruned": 0, "dry_run": True, "points": None}]
    assert lines[1:] == [{**counts, "pruned": 1, "dry_run": False, "points": 8}]


def test_the_summary_is_the_last_line_of_a_run_that_prunes(
    index: clipindex.Index, photos: Path, tmp_path: Path
) -> None:
    remove(photos / "a" / "000.jpg")
    log = tmp_path / "log"
    run = ["reindex", "--prune", "--yes", "--json", "--log-file", log, *place_of(index)]
    lines = clip(*run).lines
    assert [line["type"] for line in lines] == ["vanished", "file", "summary"]
    summary = lines[-1]
    assert (summary["vanished"], summary["pruned"], summary["points"]) == (0, 1, 8)
    assert summary["newly_vanished"] == 1
    text = log.read_text()
    assert f"pruned: {photos / 'a' / '000.jpg'}: not found" in text
    assert "8 found: 8 unchanged; 1 pruned; exit code 0" in text.splitlines()[-2]


def test_a_quiet_nightly_prune_says_nothing(index: clipindex.Index, photos: Path) -> None:
    remove(photos / "a" / "000.jpg")
    done = clip("reindex", "--prune", "--yes", "--quiet", *place_of(index))
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("reindex --yes", "--yes: only with --prune"),
        ("reindex --max-delete 5", "--max-delete: only with --prune"),
        ("ingest in --prune --yes --dry-run", "clipindex prune --dry-run"),
        ("ingest --files-from - --prune --yes", "--prune: only with a folder"),
        ("quarantine accept", "--all"),
        ("quarantine accept x --all", "not both"),
        ("quarantine list --all", "shows all anyway"),
    ],
)
def test_what_would_be_ignored_is_a_usage_error(line: str, words: str, tmp_path: Path) -> None:
    done = clip(*line.split(), "--store", tmp_path)
    assert (done.code, words in done.err) == (2, True)


def test_a_part_prunes_only_its_own_files(index: clipindex.Index, photos: Path) -> None:
    remove(*(photos / "a").iterdir())
    removed = [len(index.prune(part=clipindex.Part(number, 3)).removed) for number in (1, 2, 3)]
    assert sum(removed) == 6
    assert max(removed) < 6
    assert names(index, photos) == {f"b/00{number}.jpg" for number in range(3)}


# --- a server --------------------------------------------------------------------------------


def test_on_a_server_the_source_must_be_named(double: Double, tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", 3)
    guessed = clipindex.Index(server=Server(double.url), model=str(TINY))
    ingest(guessed, tmp_path / "in")
    remove(paths[0])
    for call in (guessed.prune, guessed.foresee_prune):
        with pytest.raises(UsageError, match="a source that you name"):
            call()
    with pytest.raises(UsageError, match="a source that you name"):
        guessed.forget_and_prune(tmp_path / "in")
    run = ["reindex", "--prune", "--yes", "--url", double.url]
    done = clip(*run)
    assert (done.code, f"--source {guessed.place.source}" in done.err.replace("'", "")) == (
        2,
        False,
    )
    assert f"'{guessed.place.source}'" in done.err
    assert clip(*run, "--source", guessed.place.source).code == 0
    assert len(stored(guessed)) == 2


def test_on_a_server_only_the_own_sources_files_go(double: Double, tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", 3)
    one, two = (
        clipindex.Index(server=Server(double.url), source=source, model=str(TINY))
        for source in ("one", "two")
    )
    ingest(one, tmp_path / "in")
    ingest(two, tmp_path / "in")
    remove(paths[0])
    report = one.prune()
    assert (len(report.removed), report.points) == (1, 5)


# --- quarantine ------------------------------------------------------------------------------


@pytest.fixture
def damaged(index: clipindex.Index, photos: Path) -> Path:
    """Three pictures cut short in `bad`, one of them by itself in `a`."""
    for number, name in enumerate(("bad/1.jpg", "bad/2.jpg", "a/3.jpg")):
        path = photos / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture_bytes(number)[:2000])
    assert index.reindex().newly_quarantined == 3
    return photos


def test_quarantine_lists_reason_size_and_since_when(index: clipindex.Index, damaged: Path) -> None:
    listed = index.quarantine()
    assert [file.path for file in listed] == [
        str(damaged / name) for name in ("a/3.jpg", "bad/1.jpg", "bad/2.jpg")
    ]
    assert all("truncated" in file.reason and file.bytes == 2000 for file in listed)
    first = [file.first_seen for file in listed]
    index.reindex()
    os.utime(damaged / "bad" / "1.jpg", ns=(1, 1))  # touched: refused anew
    index.reindex()
    assert [file.first_seen for file in index.quarantine([damaged / "a"])] == first[:1]
    lines = clip("quarantine", "--json", *place_of(index)).lines
    assert {tuple(line) for line in lines} == {
        ("type", "path", "reason", "bytes", "first_seen", "accepted", "retried")
    }
    text = clip("quarantine", "list", damaged / "bad", *place_of(index)).out
    assert [line.split("\t")[1] for line in text.splitlines()] == ["2000", "2000"]
    code, seen = in_terminal("quarantine", *place_of(index), columns=40)
    assert (code, "2,000 bytes; since 20" in seen.replace("\r\n", "")) == (0, True)


def test_what_is_accepted_is_counted_and_not_reported_until_it_changes(
    index: clipindex.Index, damaged: Path
) -> None:
    assert index.accept_quarantine([damaged / "bad"]) == 2
    assert index.status().accepted == 2
    summary = index.reindex()
    assert (summary.quarantined, summary.accepted, summary.exit_code) == (3, 2, 0)
    index.retry_quarantine()  # as an update of the decoders does: refused once more
    done = clip("reindex", *place_of(index))
    assert (done.code, "quarantined:" in done.err) == (0, True)  # the one that nobody accepted
    assert "bad/" not in done.err
    assert "3  in quarantine (0 of them new, 2 accepted)" in done.out
    (damaged / "bad" / "1.jpg").write_bytes(picture_bytes(5)[:2500])
    changed = clip("reindex", *place_of(index))
    assert changed.code == 3
    assert f"quarantined: {damaged / 'bad' / '1.jpg'}" in changed.err
    assert [file.accepted for file in index.quarantine([damaged / "bad"])] == [False, True]


def test_an_accepted_file_that_may_not_be_read_ends_no_run_with_3(reachable: Path) -> None:
    index = clipindex.Index(reachable / "store", model=str(TINY))
    paths = make_pictures(reachable / "in", 2)
    for path in [reachable, reachable / "in", *paths]:
        os.chown(path, 65534, 65534) if os.geteuid() == 0 else None
    paths[0].chmod(0)
    with unprivileged():
        assert ingest(index, reachable / "in").summary.exit_code == 3
        assert index.reindex().exit_code == 3  # every night
        index.accept_quarantine()
        summary = index.reindex()
    assert (summary.exit_code, summary.quarantined, summary.accepted) == (0, 1, 1)
    assert reconciles(summary)


def test_retry_reads_again_and_clear_forgets(index: clipindex.Index, damaged: Path) -> None:
    assert clip("reindex", "--json", *place_of(index)).lines[-1]["quarantined"] == 3
    done = clip("quarantine", "retry", "--all", *place_of(index))
    assert done.out == "3 to be read again by the next run\n"
    run = ingest(index, damaged)
    assert [file.status.value for file in run.files.values()] == ["quarantined"] * 3
    assert (run.summary.newly_quarantined, run.summary.exit_code) == (0, 0)
    cleared = clip("quarantine", "clear", damaged / "bad", "--json", *place_of(index))
    assert cleared.lines == [{"type": "cleared", "count": 2}]
    assert index.status().quarantined == 1
    assert index.reindex().newly_quarantined == 2
    with pytest.raises(UsageError, match="in quarantine"):
        index.accept_quarantine([damaged / "b"])


def test_acceptance_goes_along_when_a_folder_is_relocated(
    index: clipindex.Index, damaged: Path
) -> None:
    index.accept_quarantine([damaged / "bad"])
    before = index.quarantine()
    damaged.rename(damaged.parent / "new")
    index.relocate(damaged, damaged.parent / "new")
    after = index.quarantine()
    assert [(file.first_seen, file.accepted) for file in after] == [
        (file.first_seen, file.accepted) for file in before
    ]
    assert index.reindex().exit_code == 0


# --- reasons, in groups ----------------------------------------------------------------------


def test_the_summary_groups_by_reason(index: clipindex.Index, damaged: Path) -> None:
    (damaged / "empty.jpg").touch()
    (damaged / "notes.txt").write_text("hello")
    done = clip("ingest", damaged, *place_of(index))
    assert "3 cut short\n" in done.out
    assert "1 empty\n" in done.out
    summary = clip("reindex", "--json", *place_of(index)).lines[-1]
    assert summary["quarantine_reasons"] == {"cut short": 3, "empty": 1}
    assert summary["skip_reasons"] == {"not a picture": 1}
    run = index.status().last_run
    assert run is not None
    assert json.loads(json.dumps(run))["summary"]["quarantine_reasons"]["cut short"] == 3


def test_reasons_that_differ_in_numbers_are_one_group_and_unknown_ones_their_own() -> None:
    reasons = [
        "a camera raw file: install clipindex[raw] to read its preview",
        "damaged: its data ends before the picture does",
        "damaged or not decodable: image file is truncated (6 bytes not processed)",
        "damaged or not decodable: image file is truncated (7 bytes not processed)",
        "damaged or not decodable: cannot identify image file",
        "90000x90000 pixels are over the budget of 250 megapixels",
        "something that a later version says",
        None,
    ]
    assert grouped(reasons) == {
        "cut short": 3,
        "damaged": 2,
        "camera raw files: install clipindex[raw]": 1,
        "something that a later version says": 1,
        "too large to decode": 1,
    }
