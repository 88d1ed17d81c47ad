"""Changing a collection to another model: filled beside the live one, switched, and back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import clipindex
from benchmarks.crashes.warm import Fault, Warm
from clipindex.cli.app import app
from clipindex.collection.contract import read_contract
from clipindex.collection.lock import locked
from clipindex.collection.model_users import collections_made_with
from clipindex.collection.opening import Settings, open_for_ingest
from clipindex.errors import (
    CollectionBusy,
    ContractMismatch,
    DiskFull,
    ModelError,
    Refused,
    StoreError,
    Switched,
    UsageError,
)
from clipindex.files.identity import point_id
from clipindex.model.bundle import open_bundle
from clipindex.model.installed import Installed
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.filter import Filter
from clipindex.upkeep.switch import filling, run
from clipindex.upkeep.switch.rehearse import RehearseOptions
from clipindex.upkeep.switch.report import SwitchOptions
from conftest import OTHER_DIMENSION, TINY, ingest, loaded, make_other, make_pictures, picture_bytes
from copies import copied

pytestmark = pytest.mark.usefixtures("one_load")


# --- a collection ------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return make_pictures(tmp_path / "pictures", 5)


@pytest.fixture
def index(tmp_path: Path, pictures: list[Path]) -> clipindex.Index:
    """Five pictures, embedded with the tiny model; the index itself names no model."""
    ingest(clipindex.Index(tmp_path / "store", model=str(TINY)), pictures[0].parent)
    return clipindex.Index(tmp_path / "store")


NOT_NOW = SwitchOptions(max_seconds=0)


def tags_of(index: clipindex.Index, path: Path) -> dict[str, str]:
    return index.query(path)[0].tags


def paths_in(index: clipindex.Index) -> set[str]:
    hits = index.query("cat", clipindex.QueryOptions(limit=99))
    return {path for hit in hits for path in hit.paths}


def model_of(index: clipindex.Index) -> str:
    return index.status().model


# --- filled, verified, switched ----------------------------------------------------------------


def test_a_collection_changes_its_model_and_keeps_every_picture(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    report = index.switch_model(other)
    assert (report.state, report.model, report.before) == ("switched", "other-clip", "tiny-clip")
    assert (report.pictures, report.of, report.embedded, report.missing) == (5, 5, 5, [])
    assert [(root.before, root.after) for root in report.roots] == [(5, 5)]
    status = index.status()
    assert (status.model, status.dimension, status.indexed) == ("other-clip", OTHER_DIMENSION, 5)
    for path in pictures:
        hit = index.query(path)[0]
        assert (hit.path, hit.score) == (str(path), 1.0)
    assert index.reindex().unchanged == 5
    result = index.verify(clipindex.VerifyOptions(embed=True))
    assert (result.wrong, result.checked, result.bit_equal) == (0, 5, 5)


def test_it_is_filled_night_after_night_and_nothing_is_embedded_twice(
    index: clipindex.Index, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([0.0, 0.0])  # two pages, then the time is over
    clock = SimpleNamespace(monotonic=lambda: next(ticks, 1e9))
    monkeypatch.setattr(filling, "PAGE", 2)
    monkeypatch.setattr(filling, "time", clock)
    first = index.switch_model(other, SwitchOptions(max_seconds=3600))
    assert (first.state, first.pictures, first.of, first.embedded) == ("filling", 4, 5, 4)
    switch = index.status().switch
    assert switch is not None
    assert (switch.state, switch.model, switch.pictures, switch.of) == (
        ("filling", "other-clip", 4, 5)
    )
    assert model_of(index) == "tiny-clip"
    second = index.switch_model(other)
    assert (second.state, second.pictures, second.embedded) == ("switched", 5, 1)


def test_an_interrupted_filling_goes_on_with_the_same_command(
    index: clipindex.Index, pictures: list[Path], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(done: int, _total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(filling, "PAGE", 2)
    with pytest.raises(KeyboardInterrupt):
        index.switch_model(other, progress=interrupted)
    assert index.query(pictures[0])[0].path == str(pictures[0])
    report = index.switch_model(other)
    assert (report.state, report.embedded) == ("switched", 3)


def test_tags_and_queries_go_on_while_it_is_filled(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    seen = []

    def meanwhile(done: int, _total: int) -> None:
        if done == 5 and not seen:
            index.tag({"while": "filling"}, [pictures[1]])
            seen.append(index.query(pictures[2])[0].path)

    assert index.switch_model(other, progress=meanwhile).state == "switched"
    assert seen == [str(pictures[2])]
    assert tags_of(index, pictures[1]) == {"while": "filling"}


def test_what_is_done_by_hand_between_the_nights_comes_along(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    """Tags, pruned pictures, new paths, forgotten roots, new pictures, accepted quarantine."""
    index.tag({"who": "ann", "old": "x"}, [pictures[0]])
    index.switch_model(other)
    index.switch_back()  # the new one is full, and not the live one
    make_pictures(tmp_path / "second", 2, first_seed=50)
    damaged = tmp_path / "second" / "damaged.jpg"
    damaged.write_bytes(picture_bytes(77)[:900])
    index.ingest(tmp_path / "second", tags={"root": "second"})
    index.accept_quarantine([damaged])
    index.untag(["old"], [pictures[0]])
    index.tag({"who": "bob"}, [pictures[1]])
    pictures[2].unlink()
    index.prune(options=clipindex.PruneOptions(max_percent=100))
    pictures[0].parent.rename(tmp_path / "moved")
    index.relocate(pictures[0].parent, tmp_path / "moved")
    assert index.switch_model(other).state == "switched"
    moved = tmp_path / "moved"
    assert tags_of(index, moved / "000.jpg") == {"who": "ann"}
    assert tags_of(index, moved / "001.jpg") == {"who": "bob"}
    assert paths_in(index) == {
        *(str(moved / f"00{number}.jpg") for number in (0, 1, 3, 4)),
        *(str(tmp_path / "second" / f"00{number}.jpg") for number in (0, 1)),
    }
    status = index.status()
    assert [(root.path, root.tags) for root in status.root_options] == [
        (str(moved), {}),
        (str(tmp_path / "second"), {"root": "second"}),
    ]
    assert (status.quarantined, status.accepted) == (1, 1)
    summary = index.reindex()
    assert (summary.unchanged, summary.embedded, summary.newly_quarantined) == (6, 0, 0)


# --- until the old one is dropped --------------------------------------------------------------


def test_going_back_loses_nothing_that_came_since_the_switch(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    index.switch_model(other)
    index.tag({"since": "then"}, [pictures[0]])
    make_pictures(pictures[0].parent / "more", 2, first_seed=60)
    pictures[4].rename(pictures[4].with_name("renamed.jpg"))
    index.reindex()
    switch = index.status().switch
    assert switch is not None
    assert (switch.state, switch.pictures, switch.of) == ("switched", 7, 7)
    report = index.switch_back()
    assert (report.state, report.pictures, report.of, report.embedded) == ("back", 7, 7, 0)
    assert model_of(index) == "tiny-clip"
    assert tags_of(index, pictures[0]) == {"since": "then"}
    assert len(paths_in(index)) == 7
    assert str(pictures[4]) not in paths_in(index)
    summary = index.reindex()
    assert (summary.unchanged, summary.written) == (7, 0)
    assert index.switch_model(other).embedded == 0  # and forth again
    assert model_of(index) == "other-clip"


def test_a_tag_is_in_both_collections_at_once(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    index.switch_model(other)
    index.tag({"in": "both"}, [pictures[0]])
    beside = index.place.locate().beside
    assert beside is not None
    assert not beside.is_new
    with closing(beside.place.open(beside.stored, create=False).points) as points:
        only = Filter(equals=(("tag_in", "both"),))
        tagged = [payload["path"] for _, payload in points.scroll(only)]
    assert tagged == [str(pictures[0])]


def test_both_models_are_in_use_until_the_old_collection_is_dropped(
    index: clipindex.Index, other: str, tmp_path: Path
) -> None:
    def users(folder: str | Path) -> list[str]:
        model = Installed("any", Path(folder), open_bundle(Path(folder)))
        return collections_made_with(model, tmp_path / "store")

    index.switch_model(other)
    assert users(TINY) == users(other) == ["image_embeddings"]
    index.drop_old()
    assert (users(TINY), users(other)) == ([], ["image_embeddings"])


def test_a_run_goes_on_when_the_old_model_is_gone_and_says_so(
    tmp_path: Path, pictures: list[Path]
) -> None:
    index = clipindex.Index(tmp_path / "store")
    mine = make_other(tmp_path / "mine", "mine-clip", seed=9)
    ingest(clipindex.Index(tmp_path / "store", model=str(mine)), pictures[0].parent)
    index.switch_model(str(TINY))
    shutil.rmtree(mine)
    make_pictures(pictures[0].parent / "more", 1, first_seed=60)
    with pytest.warns(clipindex.ClipIndexWarning, match="mine-clip could not be brought in step"):
        assert index.reindex().new == 1
    assert len(paths_in(index)) == 6


def test_points_that_the_live_collection_lost_are_not_deleted_from_the_old_one(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    """The one that is gone back to may be the only one that still has them."""
    index.switch_model(other)
    located = index.place.locate()
    with closing(located.place.open(located.require(), create=False).points) as points:
        points.delete([point_id("local", os.fsencode(pictures[0]))])
    index.switch_back()
    assert str(pictures[0]) in paths_in(index)


# --- the end -----------------------------------------------------------------------------------


def test_dropping_the_old_collection_frees_its_place_and_ends_the_switch(
    index: clipindex.Index, tmp_path: Path, other: str, pictures: list[Path]
) -> None:
    folder = tmp_path / "store" / "image_embeddings"
    index.switch_model(other)
    assert (index.drop_old().model, index.status().switch) == ("tiny-clip", None)
    names = {path.name for path in folder.iterdir()}
    assert names <= {"contract.json", "generation-2", "lock", "switch-lock"}
    clipindex.Index(tmp_path / "elsewhere", model=str(TINY)).ingest(tmp_path)  # walks past it
    assert clipindex.Index(tmp_path / "elsewhere").status().indexed == 5
    assert clipindex.Index(tmp_path / "elsewhere").status().skipped == 0
    assert index.query(pictures[0])[0].path == str(pictures[0])
    with pytest.raises(UsageError, match="nothing to go back to"):
        index.switch_back()
    assert index.switch_model(str(TINY)).state == "switched"  # a third one
    assert index.drop_old().model == "other-clip"
    assert not (folder / "generation-2").exists()
    assert (model_of(index), len(paths_in(index))) == ("tiny-clip", 5)


def test_a_switch_is_given_up_before_it_is_made(index: clipindex.Index, other: str) -> None:
    index.switch_model(other, NOT_NOW)
    with pytest.raises(UsageError, match="was not switched to 'other-clip' yet"):
        index.drop_old()
    assert index.cancel_switch().model == "other-clip"
    assert index.status().switch is None
    with pytest.raises(UsageError, match="no switch to another model is under way"):
        index.cancel_switch()
    index.switch_model(other)
    with pytest.raises(UsageError, match="was switched; the old one"):
        index.cancel_switch()


# --- pictures that cannot be embedded any more -------------------------------------------------


def test_a_picture_that_cannot_be_embedded_keeps_it_from_being_switched(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    pictures[3].unlink()
    pictures[4].write_bytes(picture_bytes(99))
    report = index.switch_model(other)
    assert report.state == "filling"
    assert [(one.path, one.reason.split(";")[0].split(":")[0]) for one in report.missing] == [
        (str(pictures[3]), "its file is gone"),
        (str(pictures[4]), "it was edited since it was indexed"),
    ]
    assert model_of(index) == "tiny-clip"
    index.reindex()
    report = index.switch_model(other, SwitchOptions(leave_out=True))
    assert (report.state, report.pictures, report.of) == ("switched", 4, 5)
    assert str(pictures[3]) not in paths_in(index)
    assert index.reindex().embedded == 0
    index.switch_back()  # the old one still has it
    assert str(pictures[3]) in paths_in(index)


# --- refusals ----------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_and_changes_nothing(
    index: clipindex.Index, tmp_path: Path, other: str
) -> None:
    third = make_other(tmp_path / "third", "third-clip", seed=8)
    with pytest.raises(UsageError, match="has the model 'tiny-clip' already"):
        index.switch_model(str(TINY))
    with pytest.raises(ModelError):
        index.switch_model(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="nothing to go back to"):
        index.switch_back()
    with pytest.raises(StoreError, match="no collection"):
        clipindex.Index(tmp_path / "empty").switch_model(other)
    assert index.status().switch is None
    index.switch_model(other, NOT_NOW)
    with pytest.raises(Refused, match="another switch is under way: to 'other-clip'"):
        index.switch_model(str(third))
    with pytest.raises(ContractMismatch, match="another preprocessing"):
        index.switch_model(other, SwitchOptions(preprocessing=Preprocessing.EXACT))
    index.switch_model(other)
    with pytest.raises(UsageError, match="was switched to 'other-clip' already"):
        index.switch_model(other)
    with pytest.raises(Refused, match="another switch is under way: from 'tiny-clip'"):
        index.switch_model(str(third))


def test_only_one_process_fills_at_a_time(
    tmp_path: Path, index: clipindex.Index, other: str
) -> None:
    hurried = clipindex.Index(tmp_path / "store", wait=0.05)
    assert hurried.status() == index.status()
    with locked(tmp_path / "store" / "image_embeddings" / run.LOCK, "switch-model"):
        with pytest.raises(CollectionBusy, match="switch-model"):
            hurried.switch_model(other)
        hurried.tag({"a": "b"}, [tmp_path / "pictures"])  # what others do goes on


def test_room_for_both_is_asked_for_first(
    index: clipindex.Index, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "free_space", lambda _: 1 << 20)
    with pytest.raises(DiskFull, match="MiB are needed"):
        index.switch_model(other)
    assert index.status().switch is None


# --- another model in the place of the collection's own -----------------------------------------


@pytest.fixture
def updated(tmp_path: Path, pictures: list[Path], other: str) -> clipindex.Index:
    """Five pictures indexed with a model, in whose folder another one lies since: what an update
    of clipindex makes of `mini`."""
    place = tmp_path / "models" / "small"
    shutil.copytree(TINY, place)
    ingest(clipindex.Index(tmp_path / "store", model=str(place)), pictures[0].parent)
    shutil.rmtree(place)
    shutil.copytree(other, place)
    manifest = json.loads((place / "model.json").read_text())
    manifest |= {"model": "tiny-clip", "revision": "2"}
    (place / "model.json").write_text(json.dumps(manifest))
    loaded.cache_clear()  # another process, with the update
    return clipindex.Index(tmp_path / "store")


def test_another_model_at_its_place_is_refused_and_the_way_to_it_named(
    updated: clipindex.Index, pictures: list[Path]
) -> None:
    place = updated.place.store.parent / "models" / "small"
    for use in (lambda: updated.query("cat"), lambda: updated.ingest([pictures[0].parent])):
        with pytest.raises(
            ContractMismatch, match=r"revision seed-0; at its place is another one now: .* 2"
        ) as caught:
            use()
        assert caught.value.exit_code == 5
        assert f"clipindex switch-model {place}`" in caught.value.hint
    assert updated.status().indexed == 5


def test_the_way_to_the_new_model_needs_nothing_of_the_old_one(
    updated: clipindex.Index, pictures: list[Path]
) -> None:
    place = updated.place.store.parent / "models" / "small"
    updated.tag({"album": "zoo"}, [pictures[0]])
    assert updated.switch_model(str(place)).pictures == 5
    assert tags_of(updated, pictures[0]) == {"album": "zoo"}
    pictures[0].with_name("new.jpg").write_bytes(picture_bytes(99))
    with pytest.warns(clipindex.ClipIndexWarning, match="is another one now.*--drop-old"):
        assert updated.reindex().new == 1
    updated.drop_old()
    assert updated.reindex().unchanged == 6


# --- on one side or the other ------------------------------------------------------------------


def test_an_earlier_clipindex_refuses_a_collection_that_was_switched(
    index: clipindex.Index, tmp_path: Path, other: str
) -> None:
    """It reads contract.json before it opens anything; what is there is newer than it knows."""
    contract = tmp_path / "store" / "image_embeddings" / "contract.json"
    before = contract.read_bytes()
    index.switch_model(other, NOT_NOW)
    assert contract.read_bytes() == before  # until the switch it may go on
    index.switch_model(other)
    with pytest.raises(StoreError, match="it has schema 1000"):
        read_contract(contract)
    index.switch_back()
    assert read_contract(contract) is not None


def test_a_run_that_waited_for_the_switch_works_on_the_new_collection(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    before = index.place.locate()
    make_pictures(pictures[0].parent / "more", 1, first_seed=60)
    index.switch_model(other)
    with pytest.raises(Switched):
        before.place.open(before.require(), create=False)
    with pytest.raises(Switched), before.place.open_for_reading(before.require(), "export"):
        pass
    with open_for_ingest(before, Settings(), lambda b: loaded(b.folder)) as (collection, model):
        assert collection.contract.model == model.bundle.manifest.model == "other-clip"


def test_an_index_that_stays_open_answers_from_the_live_collection(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    with clipindex.Index(tmp_path / "store") as kept:
        assert kept.query(pictures[0])[0].score == 1.0
        index.switch_model(other)
        assert kept.query(pictures[1])[0].score == 1.0
        index.switch_back()
        assert kept.query(pictures[2])[0].score == 1.0


def test_queries_beside_a_switch_have_the_old_collection_or_the_new_one(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    faults: list[str] = []
    over = threading.Event()

    def ask() -> None:
        mine = clipindex.Index(tmp_path / "store")
        while not over.is_set():
            hit = mine.query(pictures[2])[0]
            if (hit.path, hit.score) != (str(pictures[2]), 1.0):
                faults.append(repr(hit))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        index.switch_model(other)
        index.switch_back()
        index.switch_model(other)
    finally:
        over.set()
        asking.join()
    assert faults == []


# --- killed ------------------------------------------------------------------------------------


# A command is killed before the number-th call of a border that changes something: of the engine,
# or for a file whose name begins so. A first sweep, before every fourth step, found nothing either.
KILLS = {
    "switch-model MODEL": (("store", "", 4), ("files", "contract.json", 3)),  # 3: the switch itself
    "switch-model --back": (("files", "contract.json", 3),),
    "switch-model --drop-old --yes": (("files", "catalogue.sqlite", 1),),
}


def kill(warm: Warm, store: Path, words: list[str], step: tuple[str, str, int]) -> None:
    """Kill a command before one of its steps."""
    border, name, number = step
    begins = str(store / "image_embeddings" / name)
    fault = Fault(border=border, number=number, how="killed", folder=begins)
    ended = warm.run([*words, "--store", str(store)], fault)
    assert (ended.code, bool(ended.struck)) == (-signal.SIGKILL, True), ended.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks for each kill")
def test_killed_before_any_step_the_live_collection_is_whole_and_the_same_command_finishes(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    index.tag({"kept": "always"}, [pictures[0]])
    struck, store = clipindex.Index(tmp_path / "struck"), tmp_path / "struck"
    folder, everything = store / "image_embeddings", {str(path) for path in pictures}

    def finish(command: str) -> None:
        if command == "switch-model MODEL":
            assert model_of(struck) == "tiny-clip"
            assert struck.switch_model(other).state == "switched"
        elif command == "switch-model --back":
            assert struck.switch_back().state == "back"
        else:
            struck.drop_old()
            assert not (folder / "shard").exists()

    with Warm() as warm:
        for command, steps in KILLS.items():
            words = command.replace("MODEL", other).split()
            for step in steps:
                shutil.rmtree(store, ignore_errors=True)
                copied(tmp_path / "store", store)
                kill(warm, store, words, step)
                assert paths_in(struck) == everything
                finish(command)
                assert paths_in(struck) == everything
                assert tags_of(struck, pictures[0]) == {"kept": "always"}
            if command == "switch-model MODEL":
                index.switch_model(other)


# --- the command -------------------------------------------------------------------------------


def clipindex_says(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, in this process."""
    ended = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return ended.exit_code, ended.stdout, ended.stderr


def test_the_command_says_where_a_switch_stands_and_how_it_goes_on(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    place = ("--store", tmp_path / "store")
    code, out, _ = clipindex_says("switch-model", other, "--max-duration", "0", *place)
    assert (code, "not switched yet: the same command goes on" in out) == (0, True)
    _, out, _ = clipindex_says("status", *place)
    assert "filling the collection of other-clip: 0 of 5 pictures" in out
    assert "--cancel gives it up" in out
    code, out, _ = clipindex_says("switch-model", other, *place, "--json")
    report = json.loads(out)
    assert (code, report["type"], report["state"], report["pictures"], report["of"]) == (
        (0, "switch", "switched", 5, 5)
    )
    assert report["roots"] == [{"root": str(pictures[0].parent), "before": 5, "after": 5}]
    _, out, _ = clipindex_says("status", *place)
    assert "done; the old collection of tiny-clip is kept" in out
    assert "--back goes back to it" in out
    code, out, _ = clipindex_says("switch-model", "--back", *place)
    assert (code, "now has the model tiny-clip: 5 of 5 pictures" in out) == (0, True)
    code, _, err = clipindex_says("switch-model", "--drop-old", *place)
    assert (code, "only after a question" in err) == (2, True)
    code, _, err = clipindex_says("switch-model", "--drop-old", "--yes", *place)
    assert (code, "--cancel deletes the new one" in err) == (2, True)
    code, out, _ = clipindex_says("switch-model", "--cancel", "--yes", "--json", *place)
    dropped = {"type": "switch", "state": "ended", "model": "other-clip", "live": "tiny-clip"}
    assert (code, json.loads(out)) == (0, dropped)
    assert index.status().switch is None


def test_the_command_names_what_keeps_it_from_switching(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    pictures[0].unlink()
    code, out, err = clipindex_says("switch-model", other, "--store", tmp_path / "store")
    assert (code, model_of(index)) == (8, "tiny-clip")
    assert f"{pictures[0]}: its file is gone" in err
    assert "not switched: 1 picture cannot be embedded with other-clip" in err
    assert "4 of 5 pictures in the collection of other-clip" in out


def test_the_command_refuses_what_it_would_ignore(other: str, tmp_path: Path) -> None:
    place = ("--store", tmp_path / "store")
    for words, said in (
        ([], "name the new model"),
        (["--rehearse", "q.txt"], "name the new model"),
        ([other, "--back"], "--back takes no model"),
        (["--back", "--cancel"], "exclude each other"),
        ([other, "--yes"], "only with --drop-old"),
        ([other, "--sample", "3"], "only with --rehearse"),
        (["--drop-old", "--yes", "--workers", "2"], "embeds nothing"),
        ([other, "--rehearse", "q.txt", "--leave-out"], "changes nothing"),
        (["--back", "--max-duration", "1h"], "while the new collection is filled"),
        ([other, "--rehearse", tmp_path / "none.txt"], "list of queries cannot be read"),
    ):
        code, _, err = clipindex_says("switch-model", *words, *place)
        assert (code, said in err) == (2, True), (words, err)


def test_a_rehearsal_is_a_table_or_json(index: clipindex.Index, other: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("# what we ask\na dog\n\na red car\n")
    place = ("--store", tmp_path / "store", "--rehearse", queries, "--hits", 2)
    code, out, _ = clipindex_says("switch-model", other, *place)
    lines = out.splitlines()
    assert (code, lines[0].split()) == (0, ["kept", "won", "lost", "query"])
    queries = [line.split(maxsplit=3)[3] for line in lines[1:4]]
    assert queries == ["a dog", "a red car", "in all"]
    assert "Nothing was changed" in lines[-1]
    _, out, _ = clipindex_says("switch-model", other, *place, "--json")
    first, second, totals = map(json.loads, out.splitlines())
    assert (first["query"], second["query"]) == ("a dog", "a red car")
    assert totals["type"] == "rehearsal"
    assert totals["kept"] == first["kept"] + second["kept"]
    assert totals["won"] == len(first["won"]) + len(second["won"])
    assert model_of(index) == "tiny-clip"


# --- with the rest of the program --------------------------------------------------------------


def test_backup_compact_and_export_take_the_live_collection(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    index.switch_model(other)
    index.tag({"a": "b"}, [pictures[0]])
    index.compact()
    assert index.backup(tmp_path / "backups").points == 5
    assert index.export(tmp_path / "exported") == 5
    index.restore(tmp_path / "backups", replace=True)
    status = index.status()
    assert (status.model, status.switch, len(status.roots)) == ("other-clip", None, 1)
    assert tags_of(index, pictures[0]) == {"a": "b"}
    assert index.reindex().unchanged == 5


# --- the rehearsal -----------------------------------------------------------------------------


def test_a_rehearsal_compares_both_models_and_changes_nothing(
    index: clipindex.Index, pictures: list[Path], other: str, tmp_path: Path
) -> None:
    store = tmp_path / "store" / "image_embeddings"
    contract, names = (store / "contract.json").read_bytes(), set(store.iterdir())
    options = RehearseOptions(hits=2)
    done = index.rehearse(other, ["a dog", str(pictures[1])], options)
    assert ((store / "contract.json").read_bytes(), set(store.iterdir())) == (contract, names)
    assert (done.model, done.before, done.sampled, done.contents) == (
        ("other-clip", "tiny-clip", 5, 5)
    )
    own = done.queries[1]
    assert own.first_before == own.first_after == str(pictures[1])
    for query in done.queries:
        assert query.kept + len(query.won) == query.kept + len(query.lost) == 2
    expected = index.query("a dog", clipindex.QueryOptions(limit=2))
    old = {hit.path for hit in expected}
    assert done.queries[0].first_before == expected[0].path
    assert set(done.queries[0].lost) <= old
    index.switch_model(other)  # what was foretold comes true
    new = {hit.path for hit in index.query("a dog", clipindex.QueryOptions(limit=2))}
    assert (old & new, new - old) == (old - set(done.queries[0].lost), set(done.queries[0].won))
    assert index.rehearse(str(TINY), ["x"], RehearseOptions(sample=3)).sampled == 3


def test_a_rehearsal_needs_a_query_and_a_picture(
    index: clipindex.Index, pictures: list[Path], other: str
) -> None:
    with pytest.raises(UsageError, match="no query"):
        index.rehearse(other, [])
    with pytest.raises(UsageError, match="already"):
        index.rehearse(str(TINY), ["a dog"])
    shutil.rmtree(pictures[0].parent)
    with pytest.raises(UsageError, match="no picture of the sample"):
        index.rehearse(other, ["a dog"])
