"""What an attacker found once, kept from coming back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.collection.catalogue import Catalogue
from clipindex.collection.lock import locked
from clipindex.collection.opening import Settings, open_for_ingest
from clipindex.errors import CollectionBusy, ContractMismatch, UsageError
from clipindex.ingest.events import RunPlanned
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Model
from conftest import TINY, ingest, make_pictures, picture_bytes, reconciles
from test_ingest import same_state, stored

RUNNER = CliRunner()


def summary_of(events: list[clipindex.Event]) -> clipindex.Summary:
    last = events[-1]
    assert isinstance(last, clipindex.RunFinished)
    return last.summary


def test_relocate_between_nested_paths_is_refused(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "a" / "b" / "b", 2)
    make_pictures(tmp_path / "a" / "b", 3, first_seed=5)
    ingest(index, tmp_path / "a")
    for old, new in (("a", "a/b"), ("a/b", "a"), ("a", "a")):
        with pytest.raises(UsageError, match="lies below"):
            index.relocate(tmp_path / old, tmp_path / new)
    assert len(stored(index)) == 5


def test_a_disk_unmounted_during_a_run_keeps_its_points(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "a", 4)
    make_pictures(tmp_path / "b", 1, first_seed=9)
    ingest(index, tmp_path / "a", tmp_path / "b")
    for path in paths:
        shutil.copy(path, tmp_path / "b" / f"copy-{path.name}")
    events = []
    for event in index.ingest_events([tmp_path / "a", tmp_path / "b"]):
        events.append(event)
        if isinstance(event, RunPlanned):
            (tmp_path / "a").rename(tmp_path / "away")
    summary = summary_of(events)
    assert (summary.unchanged, summary.duplicate, summary.moved, summary.points) == (5, 4, 0, 9)
    assert summary.vanished == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_a_changing_folder_ends_as_if_undisturbed(
    index: clipindex.Index, tmp_path: Path, seed: int
) -> None:
    """Edits, copies, renames and deletions between runs that die by SIGKILL at random moments."""
    chance = random.Random(seed)
    photos = tmp_path / "photos"
    make_pictures(photos, 30)
    for step in range(4):
        _change(photos, chance, step)
        options = ["--store", index.place.store, "--model", TINY, "--batch-size", "2", "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "clipindex", "ingest", photos, *options],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 30)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = ingest(index, photos).summary
    assert reconciles(last)
    fresh = clipindex.Index(tmp_path / "fresh", model=str(TINY))
    ingest(fresh, photos)
    ours, theirs = stored(index), stored(fresh)
    assert set(theirs) <= set(ours)
    gone = [path for path in ours if path not in theirs]
    assert all(not os.path.exists(path) for path in gone)
    assert all(ours[path].payload["sha256"] == theirs[path].payload["sha256"] for path in theirs)
    assert ingest(index, photos).summary.written == 0


def _change(photos: Path, chance: random.Random, step: int) -> None:
    names = sorted(photos.iterdir())
    for number, path in enumerate(chance.sample(names, 8)):
        if number < 3:
            path.rename(photos / f"moved-{step}-{number}.jpg")
        elif number < 5:
            path.write_bytes(picture_bytes(1000 + 10 * step + number))
        else:
            shutil.copy(path, photos / f"copy-{step}-{number}.jpg")


def test_a_kill_in_the_middle_of_a_move_is_finished_by_the_next_run(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    paths[0].rename(tmp_path / "photos" / "x.jpg")
    code = (
        "import os, clipindex\nfrom clipindex.stores.edge import EdgePoints\n"
        "EdgePoints.delete = lambda self, ids: os.kill(os.getpid(), 9)\n"
        f"clipindex.Index({str(index.place.store)!r}).ingest([{str(tmp_path / 'photos')!r}])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(stored(index)) == 4
    assert ingest(index, tmp_path / "photos").summary.points == 3


def test_a_tag_outlives_a_move_that_was_killed_after_its_deletion(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """Two copies move, the first is tagged: the next run must not take the other's lack of tags."""
    (path,) = make_pictures(tmp_path / "photos" / "d", 1)
    shutil.copy(path, path.with_name("000b.jpg"))
    ingest(index, tmp_path / "photos")
    index.tag({"owner": "ann"}, [path])
    (tmp_path / "photos" / "d").rename(tmp_path / "photos" / "e")
    code = (
        "import os, clipindex\nfrom clipindex.stores.edge import EdgePoints\n"
        "delete = EdgePoints.delete\n"
        "def killed(self, ids):\n"
        "    delete(self, ids)\n"
        "    self.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
        "EdgePoints.delete = killed\n"
        "options = clipindex.IngestOptions(batch_size=1, workers=1)\n"
        f"clipindex.Index({str(index.place.store)!r}).reindex(options)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    index.reindex()
    tags = {path: point.payload.get("tag_owner") for path, point in stored(index).items()}
    moved = tmp_path / "photos" / "e"
    assert tags == {str(moved / "000.jpg"): "ann", str(moved / "000b.jpg"): None}


def test_a_new_catalogue_that_no_run_finished_is_compared_with_the_points(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    for path in index.place.folder.glob("catalogue.sqlite*"):
        path.unlink()
    Catalogue(index.place.catalogue).close()  # made anew by a run that was killed right away
    summary = ingest(index, tmp_path / "photos").summary
    assert (summary.unchanged, summary.embedded) == (3, 0)


def test_nested_roots_each_keep_their_own_rules(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "a", 2)
    make_pictures(tmp_path / "a" / "b", 2, first_seed=5)
    picky = clipindex.WalkPolicy(include=("*.png",))
    index.ingest([tmp_path / "a"], policy=picky)
    index.ingest([tmp_path / "a"], policy=clipindex.WalkPolicy(follow=True), remember=True)
    index.ingest([tmp_path / "a" / "b"])
    for changed in (0, 4):
        for path in list((tmp_path / "a").rglob("*.jpg"))[:changed]:
            path.write_bytes(picture_bytes(hash(path.name) % 1000 + changed))
        summary = index.reindex()
        assert summary.found == 4
        assert reconciles(summary)


def test_what_a_new_exclusion_leaves_out_is_neither_vanished_nor_an_unmounted_disk(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    policy = clipindex.WalkPolicy(exclude=("*.jpg",))
    summary = index.ingest([tmp_path / "photos"], policy=policy)
    assert (summary.found, summary.vanished, summary.left_out, summary.points) == (0, 0, 3, 3)


def test_a_folder_that_became_a_file_does_not_upset_the_counts(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (inner,) = make_pictures(tmp_path / "photos" / "sub", 1)
    make_pictures(tmp_path / "photos", 1, first_seed=4)
    ingest(index, tmp_path / "photos")
    data = inner.read_bytes()
    shutil.rmtree(tmp_path / "photos" / "sub")
    (tmp_path / "photos" / "sub").write_bytes(data)
    summary = ingest(index, tmp_path / "photos").summary
    assert (summary.moved, summary.vanished, summary.points) == (1, 0, 2)


def test_an_indexed_file_that_cannot_be_read_once_stays_what_it_was(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipindex.pictures import content

    (path,) = make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    os.utime(path)
    open_file = os.open

    def failing(name, flags, *rest):  # type: ignore[no-untyped-def]
        if name == os.fsencode(path):
            raise OSError(5, "Input/output error")
        return open_file(name, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(content.os, "open", failing)
        assert ingest(index, tmp_path / "photos").summary.exit_code == 3
    path.rename(tmp_path / "photos" / "renamed.jpg")
    healed = ingest(index, tmp_path / "photos").summary
    assert (healed.moved, healed.embedded, healed.points) == (1, 0, 1)


def test_names_that_look_alike_are_counted_apart_when_the_time_is_up(
    index: clipindex.Index, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    for seed, name in enumerate([b"\xff.jpg", b"\\xff.jpg", b"a.jpg", b"b.jpg"]):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(picture_bytes(seed))
    summary = ingest(index, tmp_path / "photos", max_seconds=0.0, batch_size=1).summary
    assert reconciles(summary)


def test_relocated_notes_do_not_cover_what_is_indexed_there(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "old", 1)
    (tmp_path / "old" / "x.jpg").write_bytes(picture_bytes(7)[:300])
    make_pictures(tmp_path / "new", 1, first_seed=3)
    (tmp_path / "new" / "x.jpg").write_bytes(picture_bytes(7))
    ingest(index, tmp_path / "old", tmp_path / "new")
    index.relocate(tmp_path / "old", tmp_path / "new")
    assert index.status().quarantined == 0


def test_a_relocate_killed_before_its_last_step_is_finished_by_the_same_call(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "old", 2)
    (tmp_path / "old" / "bad.jpg").write_bytes(picture_bytes(7)[:300])
    ingest(index, tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    code = (
        "import os, clipindex\nfrom clipindex.upkeep import relocate as room\n"
        "room._move_notes = lambda *_: os.kill(os.getpid(), 9)\n"
        f"clipindex.Index({str(tmp_path / 'store')!r}).relocate("
        f"{str(tmp_path / 'old')!r}, {str(tmp_path / 'new')!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert index.relocate(tmp_path / "old", tmp_path / "new") == 0
    assert index.status().roots == [str(tmp_path / "new")]
    summary = ingest(index, tmp_path / "new").summary
    assert (summary.unchanged, summary.newly_quarantined, summary.written) == (2, 0, 0)


def test_a_remembered_root_is_written_once(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    policy = clipindex.WalkPolicy(exclude=("x",))
    index.ingest([tmp_path / "photos"], policy=policy, tags={"a": "b"})
    before = index.place.catalogue.stat().st_size, _rowid(index)
    index.ingest([tmp_path / "photos"], policy=policy, tags={"a": "b"})
    assert (index.place.catalogue.stat().st_size, _rowid(index)) == before


def _rowid(index: clipindex.Index) -> int:
    import sqlite3

    with sqlite3.connect(index.place.catalogue) as db:
        changes = db.execute("SELECT count(*) FROM roots").fetchone()[0]
    db.close()
    return int(changes)


def test_a_new_catalogue_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    failures: list[Exception] = []
    for attempt in range(10):

        def open_it(place: Path = tmp_path / f"{attempt}.sqlite") -> None:
            try:
                Catalogue(place).close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_tag_changed_by_hand_outlives_the_nightly_run(
    index: clipindex.Index, tmp_path: Path
) -> None:
    one, two = make_pictures(tmp_path / "photos", 2)
    index.ingest([tmp_path / "photos"], tags={"owner": "ann"})
    index.tag({"owner": "bob"}, [one])
    index.untag(["owner"], [two])
    (tmp_path / "photos" / "new.jpg").write_bytes(picture_bytes(8))
    index.reindex()
    tags = {path: point.payload.get("tag_owner") for path, point in stored(index).items()}
    assert tags == {str(one): "bob", str(two): None, str(tmp_path / "photos" / "new.jpg"): "ann"}


def test_single_files_are_not_remembered_and_do_not_stop_the_nightly_run(
    index: clipindex.Index, tmp_path: Path
) -> None:
    (single,) = make_pictures(tmp_path / "one", 1)
    make_pictures(tmp_path / "photos", 1, first_seed=2)
    ingest(index, single, tmp_path / "photos")
    single.unlink()
    assert index.reindex().unchanged == 1


def test_reindex_can_take_a_part(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 12)
    ingest(index, tmp_path / "photos")
    found = [index.reindex(part=clipindex.Part(number, 2)).found for number in (1, 2)]
    assert sum(found) == 12
    assert 0 < found[0] < 12


def test_a_list_of_files_may_come_from_windows_and_a_folder_in_it_is_told(tmp_path: Path) -> None:
    (one,) = make_pictures(tmp_path / "photos", 1)
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY)]
    listing = f"{one}\r\n{tmp_path / 'photos'}\r\n"
    result = RUNNER.invoke(app, ["ingest", "--files-from", "-", *options], input=listing)
    assert result.exit_code == 3
    assert "it is a folder, not a file" in result.stderr
    assert len(stored(clipindex.Index(tmp_path / "store"))) == 1


@pytest.mark.parametrize("text", ['stroe = "x"', '[ingest]\nexcldue = "x"', "[tags]\nlimit = 3"])
def test_a_misspelt_setting_is_refused_by_every_command(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    result = RUNNER.invoke(app, ["status", "--config", str(tmp_path / "config.toml")])
    assert result.exit_code == 2
    assert "there is no such option" in result.stderr


def test_one_glob_in_the_configuration_need_not_be_a_list(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 3)
    (tmp_path / "config.toml").write_text('[ingest]\nexclude = "001*"\n')
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY), "--json"]
    config = ["--config", str(tmp_path / "config.toml")]
    result = RUNNER.invoke(app, ["ingest", str(tmp_path / "photos"), *options, *config])
    assert '"new": 2,' in result.stdout


def test_two_undisturbed_indexes_of_one_folder_are_equal(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 7)
    other = clipindex.Index(tmp_path / "other", model=str(TINY))
    ingest(index, tmp_path / "photos", workers=4, batch_size=2)
    ingest(other, tmp_path / "photos", workers=1)
    assert same_state(index, other)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("mebibytes", [60, 110, 160, 210, 300, 900, 1020, 1100, 1300])
def test_under_a_limit_on_memory_a_command_ends_with_one_message(
    mebibytes: int, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "in", 8)
    limited = f"ulimit -v {mebibytes << 10}; exec {sys.executable} -m clipindex "
    for command in ("--version", f"ingest in --store store --workers 2 --model {TINY} --quiet"):
        done = subprocess.run(
            ["sh", "-c", limited + command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if command == "--version" or done.returncode == 0:
            assert (done.returncode, done.stderr) == (0, "")
            continue
        assert done.returncode in (1, 4, 6), done.stderr
        *remarks, message, hint = done.stderr.splitlines()
        assert all("it needs more memory than there is" in remark for remark in remarks)
        assert message.startswith("clipindex: the limit on memory")
        assert "ulimit -v" in message + hint
        assert "raise it" in hint


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("mebibytes", [640, 690, 740])
def test_too_little_address_space_ends_a_run_instead_of_hanging_it(
    tmp_path: Path, mebibytes: int
) -> None:
    """The engine fails inside the text of its own error there, and waits for ever."""
    make_pictures(tmp_path / "in", 1)
    run = [sys.executable, "-m", "clipindex", "ingest", str(tmp_path / "in"), "--model", str(TINY)]
    limited = ["bash", "-c", f'ulimit -v {mebibytes * 1024}; exec "$@"', "bash", *run]
    limited += ["--store", str(tmp_path / "store")]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    assert "of address space" in done.stderr
    assert "ulimit -v" in done.stderr


def test_a_collection_that_another_run_created_meanwhile_is_never_mixed(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """The other run is done between the first look and the lock, with another preprocessing."""
    make_pictures(tmp_path / "photos", 2)
    located = index.place.locate()

    def load(bundle: Bundle) -> Model:
        assert index.ingest([tmp_path / "photos"]).new == 2
        return Model(bundle)

    settings = Settings(str(TINY), clipindex.Preprocessing.EXACT)
    with (
        pytest.raises(ContractMismatch, match="preprocessing"),
        open_for_ingest(located, settings, load),
    ):
        pytest.fail("it was opened")
    assert index.status().preprocessing == "dct-scaled"
    with open_for_ingest(located, Settings(str(TINY)), Model) as (collection, _):
        assert collection.points.count() == 2


def test_an_export_waits_for_a_writer_that_does_not_answer_and_itself_answers_others(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    located = index.place.locate()
    with located.place.open_for_reading(located.require(), "export"):
        assert len(index.query("x")) == 1
        with pytest.raises(CollectionBusy, match="export"):
            clipindex.Index(index.place.store, wait=0).tag({"a": "b"}, [tmp_path / "photos"])
    with locked(index.place.lock, "ingest"):
        waiting = threading.Thread(target=index.export, args=(tmp_path / "export",))
        waiting.start()
        waiting.join(1.5)  # longer than a query waits
        assert waiting.is_alive()
    waiting.join(30)
    assert (tmp_path / "export" / "export.json").exists()
