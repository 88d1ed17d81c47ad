"""Promise: a restored backup is the collection that was backed up, and neither command can cost
what was there before."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import clipindex
from clipindex.collection.catalogue import Catalogue
from clipindex.collection.folder_place import FolderPlace
from clipindex.errors import Refused
from clipindex.files import replacing
from clipindex.upkeep import backup as backing_up
from clipindex.upkeep import restore as restoring
from conftest import TINY, ingest, make_pictures


def contents(index: clipindex.Index) -> dict[object, tuple[bytes, object]]:
    """Every point of a collection: its vector's bytes and its payload."""
    place = index.place
    with place.open_for_reading(place.locate().require(), "test") as points:
        stored = points.retrieve([name for name, _ in points.scroll()])
    return {name: (point.vector.tobytes(), point.payload) for name, point in stored.items()}


def remembered(index: clipindex.Index) -> tuple[object, ...]:
    """What the catalogue holds: files, roots with their options, what was accepted, the runs."""
    assert isinstance(index.place, FolderPlace)
    with closing(Catalogue(index.place.catalogue)) as catalogue:
        rows = sorted(catalogue.rows(), key=lambda row: row.path)
        return rows, catalogue.roots(), catalogue.refusals(), catalogue.last_run()


@pytest.fixture
def kept(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A collection with tags, a root with options, and an accepted picture in quarantine."""
    pictures = make_pictures(tmp_path / "pictures", 5)
    pictures[4].write_bytes(pictures[4].read_bytes()[:700])
    policy = clipindex.WalkPolicy(exclude=("*.tmp",))
    index.ingest(tmp_path / "pictures", policy=policy, tags={"owner": "ann"})
    index.tag({"best": "yes"}, pictures[:2])
    assert index.accept_quarantine([pictures[4]]) == 1
    return index


def elsewhere(tmp_path: Path, name: str = "restored") -> clipindex.Index:
    return clipindex.Index(tmp_path / name, model=str(TINY))


def test_a_restored_collection_is_the_one_that_was_backed_up(
    kept: clipindex.Index, tmp_path: Path
) -> None:
    points, memory = contents(kept), remembered(kept)
    done = kept.backup(tmp_path / "backups")
    assert (done.points, done.folder) == (4, str(tmp_path / "backups/clipindex-image_embeddings"))
    restored = elsewhere(tmp_path)
    assert restored.restore(tmp_path / "backups").points == 4
    assert contents(restored) == points
    assert remembered(restored) == memory
    assert [hit.paths for hit in restored.query("a cat")] == [
        hit.paths for hit in kept.query("a cat")
    ]
    summary = restored.reindex()
    assert (summary.unchanged, summary.quarantined, summary.written) == (4, 1, 0)
    assert summary.exit_code == 0
    assert [path.name for path in (tmp_path / "restored").iterdir()] == ["image_embeddings"]


def test_the_next_backup_replaces_the_last_one(kept: clipindex.Index, tmp_path: Path) -> None:
    kept.backup(tmp_path / "backups")
    kept.tag({"later": "yes"}, [tmp_path / "pictures"])
    kept.backup(tmp_path / "backups")
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [
        "clipindex-image_embeddings"
    ]
    restored = elsewhere(tmp_path)
    restored.restore(tmp_path / "backups" / "clipindex-image_embeddings")  # the backup itself
    assert contents(restored) == contents(kept)


def test_an_export_takes_along_what_was_accepted(kept: clipindex.Index, tmp_path: Path) -> None:
    kept.export(tmp_path / "export")
    imported = elsewhere(tmp_path)
    imported.import_(tmp_path / "export")
    summary = imported.reindex()
    assert (summary.quarantined, summary.newly_quarantined, summary.exit_code) == (1, 0, 0)
    manifest = tmp_path / "export" / "export.json"
    raw = json.loads(manifest.read_text())
    del raw["accepted"]  # as earlier versions wrote it
    manifest.write_text(json.dumps(raw))
    assert elsewhere(tmp_path, "older").import_(tmp_path / "export") == 4


def test_a_backup_can_be_imported(kept: clipindex.Index, tmp_path: Path) -> None:
    done = kept.backup(tmp_path / "backups")
    imported = elsewhere(tmp_path)
    assert imported.import_(done.folder) == 4
    assert contents(imported) == contents(kept)


@pytest.mark.parametrize("name", ["points-00000.jsonl", "vectors-00000.npy", "catalogue.sqlite"])
def test_nothing_is_restored_from_a_damaged_backup(
    kept: clipindex.Index, tmp_path: Path, name: str
) -> None:
    done = kept.backup(tmp_path / "backups")
    file = Path(done.folder, name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    before = contents(kept)
    with pytest.raises(clipindex.VerificationFailed, match="not what was written"):
        kept.restore(tmp_path / "backups", replace=True)
    assert contents(kept) == before
    with pytest.raises(clipindex.VerificationFailed):
        elsewhere(tmp_path).restore(tmp_path / "backups")
    assert not (tmp_path / "restored").exists()


def test_an_existing_collection_is_replaced_only_where_that_is_asked_for(
    kept: clipindex.Index, tmp_path: Path
) -> None:
    points = contents(kept)
    kept.backup(tmp_path / "backups")
    kept.untag(["best"], [tmp_path / "pictures"])
    with pytest.raises(clipindex.Refused, match="exists"):
        kept.restore(tmp_path / "backups")
    assert contents(kept) != points
    kept.restore(tmp_path / "backups", replace=True)
    assert contents(kept) == points
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["image_embeddings"]
    assert kept.tag({"after": "yes"}, [tmp_path / "pictures"]) == 4


KILLED = """
import os, clipindex
from pathlib import Path
from clipindex.files import replacing
from clipindex.upkeep import backup, restore
owner, when = {owner}, {when!r}
original = getattr(owner, {name!r})
calls = []
def killed(*args, **options):
    calls.append(args)
    if len(calls) == {call}:
        if when == "after":
            original(*args, **options)
        os._exit(9)
    return original(*args, **options)
setattr(owner, {name!r}, killed)
clipindex.Index({store!r}).{action}
"""
RESTORES = {
    "while it is built": ("restore", "_check_count", "before", 1),
    "before the old one is set aside": ("restore", "replace", "before", 1),
    "between the two renames": ("Path", "rename", "after", 2),
    "before the old one is deleted": ("restore", "replace", "after", 1),
}
BACKUPS = {
    "while it is written": ("backup", "copy_catalogue", "before", 1),
    "before it is complete": ("backup", "replace", "before", 1),
    "between the two renames": ("Path", "rename", "after", 1),
    "before the old one is deleted": ("backup", "replace", "after", 1),
}


def killed(store: Path, action: str, moment: tuple[str, str, str, int]) -> None:
    """Run a call that is killed at a moment: owner, function, before or after, which call."""
    owner, name, when, call = moment
    code = KILLED.format(
        owner=owner, name=name, when=when, call=call, store=str(store), action=action
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert run.returncode == 9, run.stderr.decode()


@pytest.mark.parametrize("moment", RESTORES)
def test_a_kill_of_a_restore_leaves_the_old_collection_or_the_new_one(
    kept: clipindex.Index, tmp_path: Path, moment: str
) -> None:
    new = contents(kept)
    kept.backup(tmp_path / "backups")
    kept.untag(["best"], [tmp_path / "pictures"])
    old = contents(kept)
    action = f"restore({str(tmp_path / 'backups')!r}, replace=True)"
    killed(tmp_path / "store", action, RESTORES[moment])
    assert contents(kept) == (new if "deleted" in moment else old)
    kept.restore(tmp_path / "backups", replace=True)
    assert contents(kept) == new
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["image_embeddings"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_a_killed_restore_left_goes_with_the_next_one_but_never_a_collection(
    kept: clipindex.Index, tmp_path: Path, is_replaced: bool
) -> None:
    """The restored collection was in its place already: the second call is refused."""
    kept.backup(tmp_path / "backups")
    restored = kept if is_replaced else elsewhere(tmp_path)
    store = Path(restored.place.name)
    action = f"restore({str(tmp_path / 'backups')!r}, replace={is_replaced})"
    killed(store, action, RESTORES["before the old one is deleted"])
    with pytest.raises(Refused):
        restored.restore(tmp_path / "backups")
    left = {".image_embeddings-old", ".restoring-image_embeddings"} if is_replaced else set()
    assert {path.name for path in store.iterdir()} == {"image_embeddings"} | left


@pytest.mark.parametrize("moment", BACKUPS)
def test_a_kill_of_a_backup_leaves_the_old_backup_or_the_new_one(
    kept: clipindex.Index, tmp_path: Path, moment: str
) -> None:
    old = contents(kept)
    kept.backup(tmp_path / "backups")
    kept.untag(["best"], [tmp_path / "pictures"])
    new = contents(kept)
    killed(tmp_path / "store", f"backup({str(tmp_path / 'backups')!r})", BACKUPS[moment])
    restored = elsewhere(tmp_path)
    restored.restore(tmp_path / "backups")
    assert contents(restored) == (new if "deleted" in moment else old)
    kept.backup(tmp_path / "backups")
    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_a_restored_collection_that_does_not_open_gives_way_to_the_old_one(
    kept: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.backup(tmp_path / "backups")
    kept.untag(["best"], [tmp_path / "pictures"])
    before = contents(kept)
    original = restoring.replace

    def damaged(folder: Path) -> None:
        original(folder)
        (folder / "shard" / "edge_config.json").unlink()

    monkeypatch.setattr(restoring, "replace", damaged)
    with pytest.raises(clipindex.StoreError):
        kept.restore(tmp_path / "backups", replace=True)
    assert contents(kept) == before


def test_queries_are_answered_while_a_backup_is_taken(
    kept: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = [sys.executable, "-m", "clipindex", "query", "a cat", "--json", "--limit", "1"]
    answers: list[str] = []
    original = backing_up.copy_catalogue

    def asked(path: Path, target: Path) -> None:
        run = [*query, "--store", str(tmp_path / "store")]
        answers.append(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        original(path, target)

    monkeypatch.setattr(backing_up, "copy_catalogue", asked)
    kept.backup(tmp_path / "backups")
    assert [json.loads(answer)["rank"] for answer in answers] == [1]


def test_a_backup_replaces_only_its_own_predecessor(kept: clipindex.Index, tmp_path: Path) -> None:
    folder = tmp_path / "backups" / "clipindex-image_embeddings"
    folder.mkdir(parents=True)
    (folder / "letter.txt").write_text("dear ann")
    with pytest.raises(clipindex.UsageError, match="is no backup"):
        kept.backup(tmp_path / "backups")
    assert (folder / "letter.txt").read_text() == "dear ann"
    other = elsewhere(tmp_path, "other")
    ingest(other, tmp_path / "pictures")
    other.backup(tmp_path / "others")
    with pytest.raises(clipindex.UsageError, match="another store"):
        kept.backup(tmp_path / "others")


def test_a_backup_of_a_newer_clipindex_is_not_guessed_at(
    kept: clipindex.Index, tmp_path: Path
) -> None:
    manifest = Path(kept.backup(tmp_path / "backups").folder, "backup.json")
    raw = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**raw, "format": 2, "clipindex": "99.1"}))
    with pytest.raises(clipindex.StoreError, match=r"clipindex 99\.1 made this backup") as caught:
        elsewhere(tmp_path).restore(tmp_path / "backups")
    assert caught.value.hint == "update clipindex"


@pytest.mark.parametrize(
    "damage",
    ['{"format": 1}', "not JSON", '{"format": 1, "files": {"../x": {"bytes": 1, "sha256": ""}}}'],
)
def test_a_list_of_files_that_is_damaged_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "backup.json").write_text(damage)
    with pytest.raises(clipindex.StoreError, match="list of files"):
        elsewhere(tmp_path).restore(tmp_path)


def test_where_there_is_no_backup_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(clipindex.StoreError, match="no backup in this folder"):
        elsewhere(tmp_path).restore(tmp_path)


def test_a_server_has_snapshots_of_its_own(tmp_path: Path) -> None:
    index = clipindex.Index(server=clipindex.Server("http://localhost:1"))
    with pytest.raises(clipindex.UsageError) as caught:
        index.backup(tmp_path)
    assert "snapshot" in caught.value.hint
    assert "clipindex export" in caught.value.hint
    with pytest.raises(clipindex.UsageError) as caught:
        index.restore(tmp_path)
    assert "clipindex import" in caught.value.hint


def test_the_commands_say_what_they_did(kept: clipindex.Index, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "store")]

    def run(*args: str) -> str:
        line = [sys.executable, "-m", "clipindex", *args]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    told = run("backup", str(tmp_path / "backups"), *store)
    assert told.startswith(f"4 pictures backed up to {tmp_path}/backups/clipindex-")
    told = run("restore", str(tmp_path / "backups"), "--replace", *store)
    assert told.startswith("4 pictures restored and verified; the backup was made at 20")
    told = run("restore", str(tmp_path / "backups"), "--replace", "--json", *store)
    assert json.loads(told)["type"] == "restored"
    assert len(contents(kept)) == 4


def test_a_folder_without_a_predecessor_takes_its_name_in_one_step(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with replacing.built_beside(folder) as new:
        new.mkdir()
        (new / "file").write_text("new")
        assert not folder.exists()
        replacing.replace(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
