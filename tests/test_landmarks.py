"""A picture is believed gone only where the walk recognises the place that it lay in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import clipindex
from clipindex.collection.catalogue import Catalogue, KnownFolder
from clipindex.ingest.landmarks import ANYWHERE, Landmarks
from conftest import ingest, make_pictures, picture_bytes
from test_ingest import stored

NAMES = ("home/h", "usb/2024", "usb/2025")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in NAMES:
        (root / name).mkdir(parents=True)
        (root / name / "1.jpg").touch()
    return root


class Walk:
    """What a walk over a tree sees; devices are those of `mounts`, which the test chooses."""

    def __init__(self, root: Path, *, mounts: tuple[str, ...] = ()) -> None:
        self.root = root
        self.mounts = {os.fsencode(root / mount) for mount in mounts}

    def landmarks(
        self, remembered: dict[bytes, KnownFolder], recognised: tuple[str, ...] = ()
    ) -> Landmarks:
        known = [os.fsencode(self.root / name) for name in NAMES]
        marks = Landmarks(remembered, known)
        names = [self.root, *sorted(p for p in self.root.rglob("*") if p.is_dir())]
        for path in names:
            marks.add(os.fsencode(path), recognised=str(path.relative_to(self.root)) in recognised)
        for path in marks._now:
            is_mount = path in self.mounts
            marks._now[path] = KnownFolder(marks._now[path].inode, is_mount)
        return marks

    def first(self) -> dict[bytes, KnownFolder]:
        return self.landmarks({}, NAMES).learned()

    def area(self, marks: Landmarks, name: str) -> bytes | None:
        return marks.area(os.fsencode(self.root / name), os.fsencode(self.root))


def test_a_file_gone_from_a_folder_that_is_recognised_may_be_anywhere(tree: Path) -> None:
    walk = Walk(tree)
    marks = walk.landmarks(walk.first(), ("usb/2024", "home/h"))
    assert walk.area(marks, "usb/2024") == ANYWHERE


def test_a_folder_that_was_renamed_emptied_or_deleted_proves_its_files_gone(tree: Path) -> None:
    walk = Walk(tree)
    memory = walk.first()
    (tree / "usb/2024/1.jpg").unlink()
    shutil.rmtree(tree / "usb/2025")
    marks = walk.landmarks(memory, ("home/h",))
    assert walk.area(marks, "usb/2024") == ANYWHERE
    assert walk.area(marks, "usb/2025") == ANYWHERE


def test_an_empty_folder_in_place_of_the_known_one_proves_nothing(tree: Path) -> None:
    walk = Walk(tree)
    memory = walk.first()
    (tree / "usb").rename(tree.parent / "away")
    (tree / "usb").mkdir()
    marks = walk.landmarks(memory, ("home/h",))
    assert walk.area(marks, "usb/2024") is None
    assert os.fsencode(tree / "usb") not in marks.learned()  # nor in the next night
    unknown = walk.landmarks({}, ("home/h",))  # nor when an earlier version indexed it
    assert walk.area(unknown, "usb/2024") is None
    assert os.fsencode(tree / "usb") not in unknown.learned()


def test_a_folder_that_was_renamed_and_made_anew_sends_its_files_to_the_new_name(
    tree: Path,
) -> None:
    walk = Walk(tree)
    memory = walk.first()
    (tree / "usb/2024").rename(tree / "holiday")
    (tree / "usb/2024").mkdir()
    marks = walk.landmarks(memory, ("home/h",))
    assert walk.area(marks, "usb/2024") == os.fsencode(tree / "holiday")


@pytest.mark.parametrize("left", ["", "usb", "usb/.keep"])
def test_a_disk_that_is_away_proves_nothing_whatever_is_at_its_place(tree: Path, left: str) -> None:
    memory = Walk(tree, mounts=("usb",)).first()
    (tree / "usb").rename(tree.parent / "away")
    if left:
        (tree / "usb").mkdir()
    if "/" in left:
        (tree / left).touch()
    walk = Walk(tree)
    marks = walk.landmarks(memory, ("home/h",))
    assert walk.area(marks, "usb/2024") is None
    assert os.fsencode(tree / "usb") not in marks.learned()


def test_another_disk_at_the_same_place_proves_nothing_for_other_places(tree: Path) -> None:
    memory = Walk(tree, mounts=("usb",)).first()
    (tree / "usb").rename(tree.parent / "away")
    for folder in ("usb/2024", "usb/2025"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "9.jpg").touch()
    walk = Walk(tree, mounts=("usb",))
    marks = walk.landmarks(memory, ("home/h",))
    assert walk.area(marks, "usb/2024") == os.fsencode(tree / "usb")
    again = walk.landmarks(memory, ("home/h", "usb/2025"))  # a known picture: it is this disk
    assert walk.area(again, "usb/2024") == ANYWHERE


def test_a_disk_mounted_over_a_folder_hides_its_files_and_does_not_remove_them(tree: Path) -> None:
    memory = Walk(tree).first()
    walk = Walk(tree, mounts=("usb",))
    assert walk.area(walk.landmarks(memory, ("home/h",)), "usb/2024") is None


def test_a_root_where_no_known_picture_is_left_vouches_for_others_only_if_it_is_the_same(
    tree: Path,
) -> None:
    """Another card in the reader: what was on the first one is no move to the other root."""
    walk, root = Walk(tree), os.fsencode(tree)
    memory = walk.first()
    assert walk.area(walk.landmarks(memory), "usb/2024") == ANYWHERE
    other = {**memory, root: KnownFolder(memory[root].inode + 1, False)}
    assert walk.area(walk.landmarks(other), "usb/2024") == root
    mounted = Walk(tree, mounts=(".",))  # the top of a disk has the same inode on every disk
    assert walk.area(mounted.landmarks(mounted.first()), "usb/2024") == root


def test_the_memory_of_folders_is_written_once(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos" / "a", 1)
    ingest(index, tmp_path / "photos")
    before = _folders(index)
    photos = tmp_path / "photos"
    assert before.keys() == {os.fsencode(photos), os.fsencode(photos / "a")}
    statements: list[str] = []
    remember = Catalogue.remember_folders

    def counted(self: Catalogue, folders: dict[bytes, KnownFolder]) -> None:
        statements.extend(map(str, folders))
        remember(self, folders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Catalogue, "remember_folders", counted)
        ingest(index, tmp_path / "photos")
    assert statements == []
    assert _folders(index) == before


def _folders(index: clipindex.Index) -> dict[bytes, KnownFolder]:
    catalogue = Catalogue(index.place.catalogue)
    try:
        return catalogue.folders()
    finally:
        catalogue.close()


# --- whole runs --------------------------------------------------------------------------------


def tags_by_name(index: clipindex.Index, root: Path) -> dict[str, object]:
    """Path below the root -> album."""
    return {
        str(Path(path).relative_to(root)): point.payload.get("tag_album")
        for path, point in stored(index).items()
    }


@pytest.fixture
def album(index: clipindex.Index, tmp_path: Path) -> Path:
    """A tagged picture on a "disk" below the root, and another picture at home."""
    root = tmp_path / "in"
    make_pictures(root / "usb" / "d", 2, first_seed=70)
    make_pictures(root / "home", 1, first_seed=80)
    ingest(index, root)
    index.tag({"album": "best"}, [root / "usb" / "d" / "000.jpg"])
    return root


@pytest.mark.parametrize("nights", [1, 3])
@pytest.mark.parametrize("folder", ["usb", "usb/d"])
def test_a_disk_that_is_away_for_some_nights_keeps_its_tags(
    index: clipindex.Index, album: Path, folder: str, nights: int
) -> None:
    (album / folder).rename(album.parent / "away")
    (album / folder).mkdir()
    for night in range(nights):
        shutil.copy(
            album.parent / "away" / ("d/000.jpg" if folder == "usb" else "000.jpg"),
            album / "home" / f"copy{night}.jpg",
        )
        summary = index.reindex()
        assert (summary.moved, summary.duplicate, summary.vanished) == (0, 1, 2)
    (album / folder).rmdir()
    (album.parent / "away").rename(album / folder)
    assert index.reindex().vanished == 0
    tags = tags_by_name(index, album)
    assert tags["usb/d/000.jpg"] == "best"
    assert tags["home/copy0.jpg"] is None


def test_pictures_moved_out_of_a_folder_that_stays_behind_empty_keep_their_tags(
    index: clipindex.Index, album: Path
) -> None:
    for path in sorted((album / "usb" / "d").iterdir()):
        path.rename(album / "home" / f"moved-{path.name}")
    summary = index.reindex()
    assert (summary.moved, summary.duplicate, summary.vanished) == (2, 0, 0)
    assert tags_by_name(index, album)["home/moved-000.jpg"] == "best"


def test_a_folder_renamed_and_made_anew_takes_its_tags_along(
    index: clipindex.Index, album: Path
) -> None:
    (album / "usb" / "d").rename(album / "holiday")
    (album / "usb" / "d").mkdir()
    assert index.reindex().moved == 2
    assert tags_by_name(index, album)["holiday/000.jpg"] == "best"


def test_all_pictures_of_an_inbox_moved_to_the_archive_keep_their_tags(
    index: clipindex.Index, tmp_path: Path
) -> None:
    inbox, archive = tmp_path / "inbox", tmp_path / "archive"
    paths = make_pictures(inbox, 2, first_seed=1)
    make_pictures(archive, 1, first_seed=5)
    ingest(index, inbox, archive)
    index.tag({"album": "best"}, paths)
    for path in paths:
        path.rename(archive / f"2024-{path.name}")
    (inbox / "new.jpg").write_bytes(picture_bytes(9))
    summary = index.reindex()
    assert (summary.moved, summary.new, summary.vanished) == (2, 1, 0)
    assert tags_by_name(index, tmp_path)["archive/2024-000.jpg"] == "best"


def test_another_card_in_the_reader_does_not_give_the_tags_to_a_copy(
    index: clipindex.Index, tmp_path: Path
) -> None:
    """Two roots: a card, and a folder to which one of its pictures is copied."""
    card, home = tmp_path / "card", tmp_path / "home"
    (first,) = make_pictures(card, 1, first_seed=1)
    make_pictures(home, 1, first_seed=2)
    ingest(index, card, home)
    index.tag({"album": "best"}, [first])
    shutil.copy2(first, home / "copy.jpg")
    card.rename(tmp_path / "away")
    make_pictures(card, 1, first_seed=3)
    (card / "000.jpg").rename(card / "another.jpg")
    summary = index.reindex()
    assert (summary.moved, summary.duplicate, summary.new) == (0, 1, 1)
    assert tags_by_name(index, tmp_path)["card/000.jpg"] == "best"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("stub", ["empty", "marked", "missing"])
def test_a_real_disk_below_the_root_is_away_for_a_night(
    index: clipindex.Index, tmp_path: Path, stub: str
) -> None:
    root = tmp_path / "in"
    usb = root / "usb"
    make_pictures(root / "home", 1, first_seed=80)
    usb.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", usb], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        (picture,) = make_pictures(usb, 1, first_seed=70)
        ingest(index, root)
        index.tag({"album": "best"}, [picture])
        shutil.copy2(picture, root / "home" / "copy.jpg")
    finally:
        subprocess.run(["umount", usb], check=True)
    if stub == "marked":
        (usb / "not-mounted.txt").touch()
    elif stub == "missing":
        usb.rmdir()
    summary = index.reindex()
    assert (summary.moved, summary.duplicate, summary.vanished) == (0, 1, 1)
    assert tags_by_name(index, root)["usb/000.jpg"] == "best"
