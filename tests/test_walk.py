"""From roots to file records: each file once, nothing opened, nothing silently lost."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clipindex
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.files.identity import resolve_root
from clipindex.files.walk import Folder, Root, WalkPolicy, finds, walk
from conftest import TINY, unprivileged


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder, its own path free of links."""
    return tmp_path.resolve()


def make(place: Path, *names: str) -> None:
    """Files with their folders."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())


def walked(*roots: Path) -> list[Folder]:
    return list(walk(Root(os.fsencode(root)) for root in roots))


def found(place: Path, *roots: Path) -> list[str]:
    """Every file that the walk finds, in its order, relative to `place`."""
    folders = walked(*(roots or (place,)))
    return [
        os.path.relpath(os.fsdecode(record.path), place)
        for folder in folders
        for record in folder.files
    ]


def left_out(place: Path, *roots: Path) -> set[str]:
    folders = walked(*(roots or (place,)))
    paths = [os.fsdecode(path) for folder in folders for path in folder.left_out]
    assert len(paths) == len(set(paths))
    return {os.path.relpath(path, place) for path in paths}


def test_every_file_is_found_whatever_its_name(place: Path) -> None:
    """Content decides later what is a picture."""
    names = ["one.jpg", "notes.txt", "deep/er/two.png", "deep/three", "sp ace/new\nline.jpg"]
    make(place, *names)
    assert sorted(found(place)) == sorted(names)


def test_a_record_holds_path_size_and_times(place: Path) -> None:
    make(place, "one.jpg")
    os.utime(place / "one.jpg", ns=(1, 1_234_567_890_123_456_789))
    ((record,),) = [folder.files for folder in walked(place)]
    stat = (place / "one.jpg").stat()
    assert record.path == os.fsencode(place / "one.jpg")
    assert (record.size, record.mtime_ns) == (7, 1_234_567_890_123_456_789)
    assert record.ctime_ns == stat.st_ctime_ns


def test_folders_come_in_name_order_and_files_within_them(place: Path) -> None:
    make(place, "b/2.jpg", "b/10.jpg", "a/z.jpg", "a/c/1.jpg", "a/B.jpg", "top.jpg")
    assert found(place) == ["top.jpg", "a/B.jpg", "a/z.jpg", "a/c/1.jpg", "b/10.jpg", "b/2.jpg"]


def test_each_file_comes_once_however_many_roots_lead_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place, "a/one.jpg", "a/b/two.jpg", "a/b/c/three.jpg", "ab/other.jpg")
    monkeypatch.chdir(place)
    (place / "link").symlink_to("a/b")
    typed = ["a", "a/b", "./a", "a", str(place / "a" / "b"), "link", "a/b/two.jpg", "a/one.jpg"]
    roots = [Path(os.fsdecode(resolve_root(each))) for each in typed]
    files = found(place, *roots)
    assert sorted(files) == ["a/b/c/three.jpg", "a/b/two.jpg", "a/one.jpg"]
    assert found(place, *reversed(roots)) == files
    assert left_out(place, *roots) == set()


TREE = ["1.jpg", "a/1.jpg", "a/b/1.jpg", "a/b/2.jpg", "a/b/c/1.jpg", "ab/1.jpg", "z/y/x/1.jpg"]
ROOTS = [".", "a", "a/b", "a/b/c", "ab", "z", "z/y/x", "a/1.jpg", "a/b/2.jpg", "1.jpg"]


@given(roots=st.lists(st.sampled_from(ROOTS), min_size=1))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_files_are_those_below_any_of_the_roots(tmp_path: Path, roots: list[str]) -> None:
    place = tmp_path.resolve()
    if not (place / "1.jpg").exists():
        make(place, *TREE)
    expected = {
        name
        for name in TREE
        for root in roots
        if root == "." or name == root or name.startswith(root + "/")
    }
    files = found(place, *[place / root for root in roots])
    assert sorted(files) == sorted(expected)


def test_a_link_to_a_file_is_read_under_its_own_name(place: Path) -> None:
    make(place, "far/original.jpg")
    (place / "photos").mkdir()
    (place / "photos" / "link.jpg").symlink_to("../far/original.jpg")
    ((record,),) = [folder.files for folder in walked(place / "photos")]
    assert record.path == os.fsencode(place / "photos" / "link.jpg")
    assert record.size == len("far/original.jpg")


def test_a_link_to_a_folder_is_not_followed_but_counted(place: Path) -> None:
    make(place, "photos/one.jpg", "far/two.jpg", "far/three.jpg")
    (place / "photos" / "link").symlink_to("../far")
    assert found(place, place / "photos") == ["photos/one.jpg"]
    assert left_out(place, place / "photos") == {"photos/link"}


def test_loops_end(place: Path) -> None:
    make(place, "a/one.jpg")
    (place / "a" / "up").symlink_to("..")
    (place / "a" / "self").symlink_to("self")
    (place / "a" / "ping").symlink_to("pong")
    (place / "a" / "pong").symlink_to("ping")
    assert found(place) == ["a/one.jpg"]
    assert left_out(place) == {"a/up", "a/self", "a/ping", "a/pong"}
    assert not any(folder.faults for folder in walked(place))


def test_a_link_that_leads_nowhere_is_left_out(place: Path) -> None:
    make(place, "one.jpg")
    (place / "dangling.jpg").symlink_to("gone.jpg")
    assert found(place) == ["one.jpg"]
    assert left_out(place) == {"dangling.jpg"}


def test_hidden_names_are_left_out_a_folder_once(place: Path) -> None:
    make(place, "one.jpg", ".hidden.jpg", ".thumbnails/1.jpg", ".thumbnails/2.jpg", "a/.b/c/d.jpg")
    assert found(place) == ["one.jpg"]
    assert left_out(place) == {".hidden.jpg", ".thumbnails", "a/.b"}


SPELLINGS = """
$RECYCLE.BIN $Recycle.Bin RECYCLER Recycled System·Volume·Information __MACOSX lost+found
#recycle #Recycle @Recycle Network·Recycle·Bin·1 Network·Trash·Folder trashbox files_trashbin
@eaDir @EADIR #snapshot @Recently-Snapshot ~snapshot @GMT-2024.01.31-12.00.00 @tmp @__thumb
Lightroom·Catalog·Previews.lrdata Lightroom·Catalog·Smart·Previews.lrdata
CaptureOne/Cache Wedding.cocatalog/Cache
Photos.photoslibrary/resources Photos.photoslibrary/database Aperture.aplibrary/Previews
Old.photolibrary/Thumbnails iPhoto·Library/Previews PRIVATE/M4ROOT/THMBNL
"""


@pytest.mark.parametrize("name", [name.replace("·", " ") for name in SPELLINGS.split()])
def test_housekeeping_is_excluded_a_folder_once(place: Path, name: str) -> None:
    make(place, "one.jpg", f"a/{name}/1.jpg", f"a/{name}/deep/2.jpg", f"b/my {name}/two.jpg")
    (place / "a" / "c").mkdir()
    make(place, f"a/c/{name}.txt")
    assert f"a/c/{name}.txt" in found(place)
    assert not any(path.startswith(f"a/{name}/") for path in found(place))
    assert left_out(place) >= {f"a/{name}"}
    policy = WalkPolicy(hidden=True)
    every = [
        record for folder in walk([Root(os.fsencode(place), policy)]) for record in folder.files
    ]
    assert len(every) == 5


@pytest.mark.parametrize(
    "name",
    [
        "Photos.photoslibrary/originals/0/1.jpg",
        "Photos.photoslibrary/Masters/1.jpg",
        "Wedding.cocatalog/Originals/1.jpg",
        "Lightroom.lrlibrary/originals/1.jpg",
        "CaptureOne/1.jpg",
        "Cache/1.jpg",
        "Previews/1.jpg",
        "resources/1.jpg",
        "Thumbnails/1.jpg",
        "snapshots/1.jpg",
        "recycle/1.jpg",
        "Backups/1.jpg",
        "darktable_exported/1.jpg",
        "Trash/1.jpg",
        "party.part/1.jpg",
        "new.download/1.jpg",
        "#1.jpg",
        "@home/1.jpg",
        "~/1.jpg",
    ],
)
def test_what_people_keep_originals_in_is_walked(place: Path, name: str) -> None:
    make(place, name)
    assert found(place) == [name]


@pytest.mark.parametrize(
    "name",
    ["a.jpg.part", "a.JPG.CRDOWNLOAD", "a.jpg.partial", "a.jpg.download", "~syncthing~a.jpg.tmp"],
)
def test_an_unfinished_download_is_excluded(place: Path, name: str) -> None:
    make(place, name, "a.jpg")
    assert found(place) == ["a.jpg"]
    assert left_out(place) == {name}


def test_a_collection_is_not_walked_whichever_path_leads_to_it(place: Path) -> None:
    index = clipindex.Index(place / "store", model=str(TINY))
    make(place, "photos/one.jpg")
    index.ingest([place / "photos"])
    (place / "store").rename(place / "photos" / "store")
    assert found(place) == ["photos/one.jpg"]
    assert left_out(place) == {f"photos/store/{DEFAULT_COLLECTION}"}
    assert found(place, place / "photos" / "store" / DEFAULT_COLLECTION) == []


def test_a_single_file_is_found_where_a_walk_finds_it(place: Path) -> None:
    make(place, "a.jpg", ".b.jpg", "c.tmp", "raw/d.jpg", "sub/raw/e.jpg", "sub/f.jpg", "sub/.g/h")
    make(place, "store/x.jpg", "@eaDir/y.jpg")
    (place / "link.jpg").symlink_to(place / "a.jpg")
    (place / "linked").symlink_to(place / "sub")
    store = os.fsencode(place / "store")
    for policy in (WalkPolicy(), WalkPolicy(exclude=("raw",), include=("*.jpg",), hidden=True)):
        root = Root(os.fsencode(place), policy)
        records = [record for folder in walk([root], (), store) for record in folder.files]
        files = {record.path for record in records} - {os.fsencode(place / "link.jpg")}
        every = {os.fsencode(path) for path in place.rglob("*")}
        every |= {os.fsencode(place / "nothing"), os.fsencode(place / "linked" / "f.jpg")}
        assert {path for path in every if finds(root, path, store)} == files


def test_the_globs_that_matched_are_counted(place: Path) -> None:
    make(place, "a.jpg", "b.jpg", "c.tmp", "raw/d.jpg", "sub/raw/e.jpg", "sub/f.jpg")
    policy = WalkPolicy(exclude=("raw", "*.tmp", "sub/none", "raw/"), include=("*.jpg", "*.png"))
    matches: Counter[str] = Counter()
    for folder in walk([Root(os.fsencode(place), policy)]):
        matches.update(folder.glob_matches)
    assert matches == {"raw": 2, "raw/": 2, "*.tmp": 1, "*.jpg": 3}


def test_a_glob_is_matched_below_its_own_root(place: Path) -> None:
    make(place, "a/raw/1.jpg", "a/b/raw/2.jpg", "raw/3.jpg", "a/c/raw/4.jpg")
    policy = WalkPolicy(exclude=("/raw",))
    roots = [Root(os.fsencode(path), policy) for path in (place, place / "a", place / "a" / "b")]
    files = [record.path for folder in walk(roots) for record in folder.files]
    assert files == [os.fsencode(place / "a/c/raw/4.jpg")]


def test_a_followed_link_to_a_folder_is_excluded_like_a_folder(place: Path) -> None:
    make(place, "photos/one.jpg", "far/two.jpg", "other/three.jpg")
    (place / "photos" / "private").symlink_to("../far")
    (place / "photos" / "public").symlink_to("../other")
    root = Root(os.fsencode(place / "photos"), WalkPolicy(follow=True, exclude=("private/",)))
    names = [os.path.basename(record.path) for folder in walk([root]) for record in folder.files]
    assert names == [b"one.jpg", b"three.jpg"]


@pytest.mark.parametrize("name", [".photos", "@eaDir", "a/.b/c"])
def test_a_root_that_is_hidden_itself_is_walked(place: Path, name: str) -> None:
    """Who names it means it."""
    make(place, f"{name}/one.jpg", f"{name}/.hidden.jpg")
    assert found(place, place / name) == [f"{name}/one.jpg"]
    assert left_out(place, place / name) == {f"{name}/.hidden.jpg"}


def test_sockets_and_pipes_are_left_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(place, "one.jpg")
    os.mkfifo(place / "pipe.jpg")
    monkeypatch.chdir(place)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.jpg")
    (place / "link.jpg").symlink_to("pipe.jpg")
    (place / "device.jpg").symlink_to(os.devnull)
    assert found(place) == ["one.jpg"]
    assert left_out(place) == {"pipe.jpg", "socket.jpg", "link.jpg", "device.jpg"}


def test_a_folder_that_cannot_be_listed_is_a_fault_and_the_walk_goes_on(reachable: Path) -> None:
    make(reachable, "a/one.jpg", "b/two.jpg", "c/three.jpg")
    (reachable / "b").chmod(0o000)
    with unprivileged():
        folders = walked(reachable)
    faults = [each for folder in folders for each in folder.faults]
    assert faults == [(os.fsencode(reachable / "b"), "permission denied")]
    files = [record.path for folder in folders for record in folder.files]
    assert files == [os.fsencode(reachable / name) for name in ("a/one.jpg", "c/three.jpg")]


def test_files_that_may_be_listed_but_not_looked_at_are_faults(reachable: Path) -> None:
    make(reachable, "b/two.jpg", "b/three.jpg", "c/one.jpg")
    (reachable / "b").chmod(0o644)
    with unprivileged():
        folders = walked(reachable)
    faults = [each for folder in folders for each in folder.faults]
    assert faults == [
        (os.fsencode(reachable / "b" / "three.jpg"), "permission denied"),
        (os.fsencode(reachable / "b" / "two.jpg"), "permission denied"),
    ]


def test_a_single_file_is_a_root(place: Path) -> None:
    make(place, "a/one.jpg", "a/two.jpg", "a/.hidden.jpg")
    assert found(place, place / "a" / "one.jpg") == ["a/one.jpg"]
    assert found(place, place / "a" / ".hidden.jpg") == ["a/.hidden.jpg"]
    (folder,) = walked(place / "a" / "one.jpg")
    assert folder.path == os.fsencode(place / "a")


def test_a_single_file_that_is_none_is_left_out_or_a_fault(place: Path) -> None:
    os.mkfifo(place / "pipe")
    assert left_out(place, place / "pipe") == {"pipe"}
    (folder,) = walked(place / "gone.jpg")
    assert folder.faults == [(os.fsencode(place / "gone.jpg"), "no such file or directory")]
    assert folder.files == []


def test_a_name_need_not_be_utf8(place: Path) -> None:
    path = os.path.join(os.fsencode(place), b"caf\xe9.jpg")
    Path(os.fsdecode(path)).touch()
    ((record,),) = [folder.files for folder in walked(place)]
    assert record.path == path


def test_an_empty_folder_is_a_folder_without_files(place: Path) -> None:
    (folder,) = walked(place)
    assert (folder.path, folder.files, folder.left_out, folder.faults) == (
        os.fsencode(place),
        [],
        [],
        [],
    )


def test_very_deep_folders_are_walked(place: Path) -> None:
    deep = "/".join(["d"] * 300)
    make(place, f"{deep}/one.jpg")
    assert found(place) == [f"{deep}/one.jpg"]
