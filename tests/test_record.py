"""What is remembered of each run: how it ended, what it did, and which run is under way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clipindex
from clipindex.collection.lock import locked
from clipindex.collection.root_options import root_options
from clipindex.errors import CollectionBusy, DiskNotMounted
from conftest import TINY, ingest, make_pictures, picture_bytes, run_clipindex

Start = Callable[..., "subprocess.Popen[str]"]
COUNT = 60


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    make_pictures(folder, COUNT)
    return folder


def started(start: Start, index: clipindex.Index, photos: Path, *options: object) -> Any:
    """A run in small batches, which has reported one of them."""
    run = ["ingest", photos, "--store", index.place.name, "--model", TINY, "--json"]
    process = start(*run, "--batch-size", 2, "--workers", 1, *options)
    assert process.stdout is not None
    assert any('"batch"' in line for line in process.stdout)
    return process


def ended_line(log: Path) -> str:
    return log.read_text().splitlines()[-1].split(" ", 1)[1]


def test_a_run_under_way_is_shown_with_its_process_and_its_progress(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    process = started(start_clipindex, index, photos)
    process.send_signal(signal.SIGSTOP)  # so that it is surely still at it
    try:
        running = index.status().running
        assert running is not None
        assert (running["command"], running["pid"]) == ("ingest", process.pid)
        assert running["host"] == socket.gethostname()
        counts: Any = running["counts"]
        assert counts["to_read"] == COUNT
        assert 2 <= counts["done"] == counts["written"] == index.status().indexed < COUNT
        shown = run_clipindex("status", "--store", index.place.name).out
        assert f"ingest, process {process.pid}, since " in shown
        assert f"{counts['done']} of 60 files done" in shown
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate(timeout=60)


def test_a_killed_run_has_no_end_and_is_not_taken_for_one_under_way(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    process = started(start_clipindex, index, photos)
    process.kill()
    process.communicate(timeout=60)
    status = index.status()
    assert status.running is None
    assert status.last_success is None
    run: Any = status.last_run
    assert (run["ended"], run["exit_code"], run["pid"]) == (None, None, process.pid)
    assert 2 <= run["counts"]["done"] == status.indexed < COUNT
    assert "killed" in run_clipindex("status", "--store", index.place.name).out

    ingest(index, photos)
    after = index.status()
    assert after.last_run == after.last_success
    assert after.last_success is not None
    assert after.last_success["exit_code"] == 0


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_stopped_run_says_in_the_log_and_in_status_what_was_done(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    tmp_path: Path,
    number: int,
    code: int,
    reason: str,
) -> None:
    process = started(start_clipindex, index, photos, "--log-file", tmp_path / "log")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    status = index.status()
    run: Any = status.last_run
    assert (run["exit_code"], run["reason"], run["finished"]) == (code, reason, None)
    assert run["ended"] is not None
    done = run["counts"]["done"]
    assert done == run["counts"]["written"] == status.indexed
    assert ended_line(tmp_path / "log") == (
        f"ended: exit code {code}; {done} of {COUNT} files done, {done} points written; {reason}"
    )


def test_a_run_that_is_turned_away_is_noted_and_the_last_success_stays(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    make_pictures(tmp_path / "in", 2)
    ingest(index, tmp_path / "in")
    (tmp_path / "in").rename(tmp_path / "away")
    log, store = tmp_path / "log", index.place.name
    done = run_clipindex("reindex", "--store", store, "--model", TINY, "--log-file", log)
    assert done.code == 2
    assert "exit code 2; nothing is there, but" in ended_line(log)
    with pytest.raises(DiskNotMounted):
        index.ingest(tmp_path / "in")
    status = index.status()
    last: Any = status.last_run
    assert (last["command"], last["exit_code"], last["refused"]) == ("ingest", 2, True)
    assert "2 pictures below it" in last["reason"]
    success: Any = status.last_success
    assert (success["command"], success["summary"]["new"]) == ("ingest", 2)
    shown = run_clipindex("status", "--store", store).out
    assert "could not begin, exit code 2: nothing is there" in shown
    assert "2 found: 2 new" in shown
    (tmp_path / "away").rename(tmp_path / "in")
    assert index.reindex().unchanged == 2


@pytest.mark.slow
def test_a_busy_run_is_noted_while_the_other_one_goes_on(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "in", 2)
    ingest(index, tmp_path / "in")
    with locked(index.place.lock, "test"):
        busy = run_clipindex("reindex", "--store", index.place.name, "--model", TINY, "--wait", 0)
        assert busy.code == 11
    last: Any = index.status().last_run
    assert (last["command"], last["exit_code"]) == ("reindex", 11)
    assert "in use" in last["reason"]


CHANGES: dict[str, Callable[[clipindex.Index, Path], object]] = {
    "tag": lambda index, aside: index.tag({"a": "b"}, [aside / "in"]),
    "untag": lambda index, aside: index.untag(["a"], [aside / "in"]),
    "prune": lambda index, _: index.prune(),
    "relocate": lambda index, aside: index.relocate(aside / "in", aside / "elsewhere"),
    "forget": lambda index, aside: index.forget(aside / "in"),
    "quarantine clear": lambda index, _: index.clear_quarantine(),
    "import": lambda index, aside: index.import_(aside / "export"),
    "compact": lambda index, _: index.compact(),
    "backup": lambda index, aside: index.backup(aside / "backups"),
    "restore": lambda index, aside: index.restore(aside / "backup", replace=True),
}


def test_every_change_that_is_refused_as_busy_is_noted(tmp_path: Path) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY), wait=0)
    make_pictures(tmp_path / "in", 1)
    ingest(index, tmp_path / "in")
    (tmp_path / "elsewhere").mkdir()
    index.export(tmp_path / "export")
    index.backup(tmp_path / "backup")
    for command, act in CHANGES.items():
        with locked(index.place.lock, "test"), pytest.raises(CollectionBusy):
            act(index, tmp_path)
        last: Any = index.status().last_run
        assert (last["command"], last["exit_code"], last["refused"]) == (command, 11, True)
        assert "in use: test" in last["reason"]
    status = index.status()
    success: Any = status.last_success
    assert success["command"] == "ingest"
    assert status.running is None
    with locked(index.place.lock, "test"), pytest.raises(CollectionBusy):
        index.compact(only_if_worthwhile=True)  # after a run, by itself: nobody waits for it
    assert index.status().last_run == status.last_run


def test_a_run_that_its_caller_gives_up_has_an_end_and_no_exit_code(
    index: clipindex.Index, photos: Path
) -> None:
    events = index.ingest_events([photos], clipindex.IngestOptions(batch_size=2, workers=1))
    for event in events:
        if isinstance(event, clipindex.BatchVerified):
            running = index.status().running
            assert running is not None
            assert running["pid"] == os.getpid()
            break
    events.close()
    last: Any = index.status().last_run
    assert (last["exit_code"], last["reason"]) == (None, "given up")
    assert last["ended"] is not None


def test_refused_pictures_are_counted_as_done(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 3)
    (tmp_path / "in" / "cut.jpg").write_bytes(picture_bytes(9)[:900])
    (tmp_path / "in" / "notes.txt").write_text("hello")
    ingest(index, tmp_path / "in")
    last: Any = index.status().last_success
    assert last["counts"] == {"found": 5, "to_read": 5, "done": 5, "written": 3}
    assert last["exit_code"] == 3


def test_a_prune_notes_how_many_files_left(index: clipindex.Index, tmp_path: Path) -> None:
    first, *_ = make_pictures(tmp_path / "in", 3)
    ingest(index, tmp_path / "in")
    first.unlink()
    log = tmp_path / "log"
    done = run_clipindex("prune", "--yes", "--store", index.place.name, "--log-file", log)
    assert done.code == 0
    assert ended_line(log) == "ended: exit code 0; 1 pruned"
    success: Any = index.status().last_success
    assert success["command"] == "ingest"  # a prune does not hide it


# --- the options of a root -------------------------------------------------------------------


def options_of(index: clipindex.Index) -> str:
    (root,) = index.status().root_options
    return str(root)


@pytest.fixture
def tagged(index: clipindex.Index, tmp_path: Path) -> Path:
    """A folder that is remembered with a tag and a pattern."""
    folder = tmp_path / "in"
    make_pictures(folder, 2)
    policy = clipindex.WalkPolicy(exclude=("*.tmp",))
    index.ingest(folder, policy=policy, tags={"owner": "ann"})
    (folder / "late.jpg").write_bytes(picture_bytes(50))
    (folder / "late.tmp").write_bytes(picture_bytes(51))
    return folder


def run_ingest(index: clipindex.Index, folder: Path, *options: object) -> Any:
    return run_clipindex("ingest", folder, "--store", index.place.name, "--model", TINY, *options)


def test_an_ingest_without_options_uses_those_that_the_folder_is_remembered_with(
    index: clipindex.Index, tagged: Path
) -> None:
    assert index.dry_run(tagged).to_read == 1
    done = run_ingest(index, tagged)
    assert "1  new" in done.out
    assert f"{tagged}: --exclude '*.tmp' --tag owner=ann, as remembered" in done.err
    (hit,) = [hit for hit in index.query(tagged / "late.jpg") if hit.path.endswith("late.jpg")]
    assert hit.tags == {"owner": "ann"}
    assert options_of(index) == "--exclude '*.tmp' --tag owner=ann"


def test_remembered_tags_do_not_undo_what_was_changed_by_hand(
    index: clipindex.Index, tagged: Path
) -> None:
    index.tag({"owner": "bob"}, [tagged / "000.jpg"])
    index.ingest(tagged)
    assert index.query(tagged / "000.jpg")[0].tags == {"owner": "bob"}


def test_options_given_by_hand_apply_to_this_run_alone_and_it_says_so(
    index: clipindex.Index, tagged: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options = ["--exclude", "*.jpg", "--tag", "year=2026", "--log-file", log, "--quiet"]
    done = run_ingest(index, tagged, *options)
    assert done.err == ""
    (line,) = [line for line in log.read_text().splitlines() if "--remember" in line]
    assert line.endswith(
        f"options of {tagged}: remembered: --exclude '*.tmp' --tag owner=ann; "
        "this run: --exclude '*.jpg' --tag year=2026; --remember stores them"
    )
    assert index.status().indexed == 3  # late.tmp is a picture
    assert options_of(index) == "--exclude '*.tmp' --tag owner=ann"


def test_remember_stores_exactly_the_options_of_the_run(
    index: clipindex.Index, tagged: Path
) -> None:
    done = run_ingest(index, tagged, "--hidden", "--remember")
    assert f"{tagged}: remembered before: --exclude '*.tmp'" in done.err
    assert options_of(index) == "--hidden"
    assert run_ingest(index, tagged, "--remember").code == 0
    assert options_of(index) == ""
    assert tagged in [Path(root) for root in index.status().roots]


def test_a_nightly_ingest_with_the_same_options_has_nothing_to_say(
    index: clipindex.Index, tagged: Path
) -> None:
    done = run_ingest(index, tagged, "--exclude", "*.tmp", "--tag", "owner=ann")
    assert "options of" not in done.err
    assert run_ingest(index, tagged, "--no-hidden").err.count("this run: --tag owner=ann;") == 1


def test_status_shows_the_options_of_each_folder(index: clipindex.Index, tagged: Path) -> None:
    shown = run_clipindex("status", "--store", index.place.name)
    assert f"{tagged} (--exclude '*.tmp' --tag owner=ann)" in shown.out
    (line,) = run_clipindex("status", "--store", index.place.name, "--json").lines
    assert line["root_options"] == [
        {
            "path": str(tagged),
            "exclude": ["*.tmp"],
            "include": [],
            "hidden": False,
            "follow": False,
            "one_file_system": False,
            "tags": {"owner": "ann"},
        }
    ]


def test_options_are_shown_as_they_are_typed_and_what_is_not_remembered_is_the_default() -> None:
    policy = {"include": ["a b"], "hidden": True, "one_file_system": True}
    shown = str(root_options("/p", {"policy": policy, "tags": {"of": "two words"}}))
    assert shown == "--include 'a b' --hidden --one-file-system --tag 'of=two words'"
    assert str(root_options("/p", {})) == ""


def test_remember_without_a_folder_or_with_a_dry_run_is_refused(
    index: clipindex.Index, tagged: Path
) -> None:
    assert run_ingest(index, tagged, "--remember", "--dry-run").code == 2
    done = run_clipindex("ingest", "--files-from", "-", "--remember", "--store", index.place.name)
    assert done.code == 2
    assert "only with a folder" in done.err
