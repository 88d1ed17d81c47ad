"""Where a collection lies: without locks, read-only, full, torn at its birth, reached by links."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import clipindex
from clipindex.collection import readable_catalogue
from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.collection.contract import read_contract, write_contract
from clipindex.collection.lock import LockFile, locked
from clipindex.errors import CollectionBusy, DiskFull, StoreError, UsageError
from clipindex.stores import edge, new_shard, readable_shard
from clipindex.stores.edge import EdgePoints
from clipindex.stores.points import Point
from conftest import TINY, ingest, make_pictures, unprivileged
from test_stores import point

fcntl = pytest.importorskip("fcntl")
resource = pytest.importorskip("resource")


@pytest.fixture
def indexed(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A collection of three pictures."""
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    return index


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- file systems without locks ------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["ENOSYS", "ENOTSUP", "ENOLCK", "granted to everybody"])
def test_where_files_cannot_be_locked_no_run_enters(
    indexed: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    def flock(_handle: int, _operation: int) -> None:
        if hasattr(errno, answer):
            number = getattr(errno, answer)
            raise OSError(number, os.strerror(number))

    before = tree(indexed.place.store)
    monkeypatch.setattr(fcntl, "flock", flock)
    for use in (lambda: ingest(indexed, tmp_path / "photos"), lambda: indexed.query("a dog")):
        with pytest.raises(StoreError, match="does not lock files") as refusal:
            use()
        assert "Lustre" in refusal.value.hint
        assert "local disk" in refusal.value.hint
    assert tree(indexed.place.store) == before
    assert indexed.status().indexed == 3


def test_a_lock_is_free_again_once_its_holder_is_done(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, "ingest"),
        pytest.raises(CollectionBusy, match="ingest"),
        locked(lock, "query", patience=0.1),
    ):
        pytest.fail("two hold it")
    with locked(lock, "query"):
        assert b"query" in lock.read_bytes()


def test_a_lock_that_is_deleted_while_a_run_waits_for_it_lets_nobody_in(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with ThreadPoolExecutor() as threads:
        with locked(lock, "ingest"):
            waiting = threads.submit(locked(lock, "ingest").__enter__)
            time.sleep(0.2)
            lock.unlink()
            lock.touch()
        with pytest.raises(CollectionBusy, match="was deleted"):
            waiting.result()


def test_two_names_of_one_store_share_its_lock(indexed: clipindex.Index, tmp_path: Path) -> None:
    store = indexed.place.store
    (tmp_path / "store-link").symlink_to(store)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").symlink_to(indexed.place.folder)
    others = [
        clipindex.Index(tmp_path / "store-link", model=str(TINY)),
        clipindex.Index(tmp_path / "other", collection="linked", model=str(TINY)),
    ]
    with locked(indexed.place.lock, "ingest"):
        for other in others:
            with pytest.raises(CollectionBusy, match=f"process {os.getpid()}"):
                other.query("a dog")
    for other in others:
        assert len(other.query("a dog")) == 3
        assert ingest(other, tmp_path / "photos").summary.unchanged == 3
        with pytest.raises(UsageError, match="onto itself"):
            indexed.copy_to(other)


def test_a_lock_that_is_a_link_or_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    victim, lock = tmp_path / "victim", tmp_path / "lock"
    victim.write_text("years of work")
    lock.symlink_to(victim)
    with pytest.raises(StoreError, match="lock cannot be taken"), locked(lock, "ingest"):
        pytest.fail("it was taken")
    lock.unlink()
    victim.rename(lock)
    with pytest.raises(StoreError, match="not written by clipindex"), locked(lock, "ingest"):
        pytest.fail("it was taken")
    assert lock.read_text() == "years of work"


def test_a_lock_file_that_a_power_cut_filled_with_zeros_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(bytes(80))
    with locked(tmp_path / "lock", "ingest"):
        assert b"ingest" in (tmp_path / "lock").read_bytes()


# --- read-only stores ----------------------------------------------------------------------------


@pytest.fixture
def foreign(reachable: Path) -> clipindex.Index:
    """Another user's collection of three pictures, which we may read; everything is loaded."""
    make_pictures(reachable / "photos", 3)
    shutil.copytree(TINY, reachable / "model")
    index = clipindex.Index(reachable / "store", model=str(reachable / "model"))
    ingest(index, reachable / "photos")
    index.query("a dog")
    (reachable / "home").mkdir(mode=0o777)
    (reachable / "home").chmod(0o777)
    for path in [reachable / "store", *(reachable / "store").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return index


def test_a_store_that_may_only_be_read_is_queried_exported_and_shown(
    foreign: clipindex.Index, reachable: Path
) -> None:
    own = [hit.path for hit in foreign.query("a dog")]
    before = tree(foreign.place.store)
    with unprivileged():
        assert [hit.path for hit in foreign.query("a dog")] == own
        assert foreign.status().indexed == 3
        assert foreign.status().last_run is not None
        assert foreign.dry_run(reachable / "photos").unchanged == 3
        assert foreign.export(reachable / "home" / "export") == 3
        with pytest.raises(StoreError, match="lock cannot be taken"):
            ingest(foreign, reachable / "photos")
    assert tree(foreign.place.store) == before


def test_readers_of_a_read_only_store_wait_for_a_writer_but_not_for_each_other(
    foreign: clipindex.Index,
) -> None:
    lock = foreign.place.lock
    with unprivileged(), closing(LockFile(lock, reading=True)) as file:
        assert file.try_to_take()
        assert not file.alone
        assert len(foreign.query("a dog")) == 3
    with locked(lock, "ingest"), unprivileged(), pytest.raises(CollectionBusy, match="ingest"):
        foreign.query("a dog")


def test_a_read_only_copy_of_a_store_without_its_lock_is_queried(
    foreign: clipindex.Index,
) -> None:
    foreign.place.lock.unlink()
    with unprivileged():
        assert len(foreign.query("a dog")) == 3


@pytest.mark.parametrize("kept", [("-wal", "-shm"), ("-wal",), ()])
def test_a_read_only_catalogue_is_read_with_its_log(reachable: Path, kept: tuple[str, ...]) -> None:
    """As a run under way, a kill and a backup leave it; in `()` the log was written back."""
    path, copies = reachable / "catalogue.sqlite", reachable / "copies"
    catalogue = Catalogue(path)
    catalogue.write([Row(path=b"/a", size=1, mtime_ns=1, ctime_ns=1, sha256=None, state=INDEXED)])
    if not kept:
        catalogue.close()
    copies.mkdir()
    for end in ("", *kept):
        shutil.copy(f"{path}{end}", copies)
    copies.chmod(0o555)
    with (
        unprivileged(),
        readable_catalogue.readable(copies / path.name) as file,
    ):
        copy = Catalogue(file)
        assert copy.counts() == {INDEXED: 1}
        copy.close()
    assert {name.name for name in copies.iterdir()} == {path.name + end for end in ("", *kept)}


READ_ONLY_MOUNT = """
mount --bind "$1" "$2" && mount -o remount,ro,bind "$2" || exit 77
shift 2
exec "$@"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts, as root")
def test_a_store_on_a_read_only_mount_is_queried_and_shown(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    (tmp_path / "ro").mkdir()
    mounted = ["unshare", "-m", "sh", "-c", READ_ONLY_MOUNT, "sh"]
    for command in (["query", "a dog"], ["status"]):
        run = [*mounted, indexed.place.store, tmp_path / "ro", sys.executable, "-m", "clipindex"]
        done = subprocess.run(
            [*map(str, run), *command, "--store", str(tmp_path / "ro")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("no mount can be made here")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_a_copy_for_reading_keeps_holes_and_bytes_and_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "shard" / "inner").mkdir(parents=True)
    with open(tmp_path / "shard" / "inner" / "sparse", "wb") as file:
        file.write(b"head" * 1000)
        file.seek(20 << 20)
        file.write(b"middle")
        file.truncate(40 << 20)
    (tmp_path / "shard" / "empty").touch()
    with readable_shard.readable(tmp_path / "shard", in_place=False) as copy:
        assert copy != tmp_path / "shard"
        assert tree(copy) == tree(tmp_path / "shard")
        assert (copy / "inner" / "sparse").stat().st_blocks * 512 < 2 << 20
    assert not copy.exists()


def test_without_a_temporary_folder_a_read_only_store_says_what_is_missing(
    indexed: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(readable_shard, "may_write", lambda _: False)
    with pytest.raises(StoreError, match="no temporary folder") as failure:
        indexed.query("a dog")
    assert "TMPDIR" in failure.value.hint


# --- full disks ----------------------------------------------------------------------------------


def test_reading_needs_no_room_for_writing(
    indexed: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "HEADROOM", 1 << 60)
    assert len(indexed.query("a dog")) == 3
    assert indexed.export(tmp_path / "export") == 3
    with pytest.raises(DiskFull, match="MiB are free"):
        ingest(indexed, tmp_path / "photos")


def test_on_a_full_disk_a_copy_elsewhere_is_read_and_without_room_for_it_the_query_says_so(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {indexed.place.shard: 1 << 20}
    monkeypatch.setattr(readable_shard, "free_space", lambda path: free.get(path, 1 << 40))
    assert len(indexed.query("a dog")) == 3
    monkeypatch.setattr(readable_shard, "free_space", lambda _: 1 << 20)
    with pytest.raises(DiskFull, match="temporary copy") as full:
        indexed.query("a dog")
    assert "TMPDIR" in full.value.hint


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let files grow beyond: as a full disk does, in the middle of one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_contract_that_finds_no_room_leaves_the_old_one(indexed: clipindex.Index) -> None:
    stored = read_contract(indexed.place.contract)
    assert stored is not None
    with no_file_larger_than(100), pytest.raises(DiskFull, match="contract cannot be written"):
        write_contract(indexed.place.contract, stored)
    assert read_contract(indexed.place.contract) == stored
    assert not list(indexed.place.folder.glob("*.partial"))


def test_a_lock_that_finds_no_room_for_its_note_locks_all_the_same(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        no_file_larger_than(0),
        locked(lock, "ingest"),
        pytest.raises(CollectionBusy, match="by another process"),
        locked(lock, "query", patience=0.1),
    ):
        pytest.fail("two hold it")


def test_a_catalogue_that_finds_no_room_says_so_and_keeps_its_rows(tmp_path: Path) -> None:
    rows = [
        Row(path=b"/%d" % i, size=1, mtime_ns=1, ctime_ns=1, sha256=None, state=INDEXED)
        for i in range(2000)
    ]
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    catalogue.write(rows[:5])
    with no_file_larger_than(40_000), pytest.raises(DiskFull, match="no room for the catalogue"):
        catalogue.write(rows)
    catalogue.close()
    again = Catalogue(tmp_path / "catalogue.sqlite")
    assert again.counts() == {INDEXED: 5}
    again.close()
    with no_file_larger_than(1000), pytest.raises(DiskFull, match="no room for the catalogue"):
        Catalogue(tmp_path / "new.sqlite")


def test_a_shard_that_finds_no_room_is_a_full_disk_and_created_once_there_is_some(
    tmp_path: Path,
) -> None:
    with no_file_larger_than(1 << 20), pytest.raises(DiskFull):
        EdgePoints(tmp_path / "shard", 512)
    points = EdgePoints(tmp_path / "shard", 512)
    points.upsert([point(1)])
    points.close()


# --- created, and torn ---------------------------------------------------------------------------

CREATE = """
import os, shutil, sys, uuid
from pathlib import Path
import numpy as np
from clipindex.collection.contract import Contract, StoredContract
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.opening import open_for_import
from clipindex.stores.points import Point

place = FolderPlace(Path(sys.argv[1]))
contract = Contract(model="m", revision="r", precision="fp32", files={}, dimension=4,
                    preprocessing="exact", preprocessing_version=1)
made = Point(uuid.UUID(int=1), np.array([1, 0, 0, 0], np.float32), {"path": "/a"})
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect"}

def create(*points):
    with open_for_import(place, StoredContract(contract, "/model", {})) as collection:
        assert collection.points.count() in (0, len(points))  # killed after they were durable
        collection.points.upsert(points)
        collection.points.flush()
        assert collection.points.count() == len(points)

def killed_at(number):
    seen = 0
    def hook(event, args):
        nonlocal seen
        writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        name = str(args[0]) if args else ""
        if name.endswith("/sock"):
            return  # the holder's socket goes last, when all is done
        if (event in CHANGES or writes) and os.fsdecode(place.store) in name:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    create(made)

def in_child(function, *args):
    child = os.fork()
    if child == 0:
        try:
            function(*args)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

number = 1
while (code := in_child(killed_at, number)) == -9:
    left = sorted(str(path.relative_to(place.store)) for path in place.store.rglob("*"))
    again = in_child(create, made)
    print(number, again, left[-1:], flush=True)
    shutil.rmtree(place.store, ignore_errors=True)
    number += 1
print("done", code)
"""


@pytest.mark.slow
def test_a_kill_at_any_change_to_the_disk_while_a_collection_is_created_does_no_harm(
    tmp_path: Path,
) -> None:
    """Each folder, rename, deletion and file opened for writing, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", CREATE, tmp_path / "store"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    *kills, end = done.stdout.splitlines()
    assert end == "done 0", done.stderr
    assert len(kills) > 12
    assert [line.split()[1] for line in kills] == ["0"] * len(kills), done.stdout + done.stderr


def destroy(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    "torn", ["emptied", "edge_config.json", "wal", "segments", "all but the mark"]
)
def test_a_new_collection_torn_by_a_power_cut_is_created_anew(
    index: clipindex.Index, tmp_path: Path, torn: str
) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(index, tmp_path / "photos", limit=0)
    shard = index.place.shard
    if torn == "emptied":
        for path in shard.rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    elif torn == "all but the mark":
        for path in shard.iterdir():
            if path.name != new_shard.MARK:
                destroy(path)
    else:
        destroy(shard / torn)
    assert index.query("a dog") == []
    assert ingest(index, tmp_path / "photos").summary.points == 2
    assert len(index.query("a dog")) == 2


def test_a_damaged_shard_that_held_a_point_is_never_created_anew(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    shard = indexed.place.shard
    assert not (shard / new_shard.MARK).exists()
    for status in shard.rglob("is_null/status.dat"):
        status.write_bytes(b"")
    (shard / "edge_config.json").unlink()
    before = tree(shard)
    for _ in range(2):
        with pytest.raises(StoreError):
            ingest(indexed, tmp_path / "photos")
        with pytest.raises(StoreError):
            indexed.query("a dog")
    indexed.place.contract.unlink()
    with pytest.raises(StoreError, match="did not create it"):
        ingest(indexed, tmp_path / "photos")
    (shard / new_shard.MARK).touch()  # as an earlier clipindex left it, which knew no mark
    with pytest.raises(StoreError, match="did not create it"):
        ingest(indexed, tmp_path / "photos")
    (shard / new_shard.MARK).unlink()
    assert tree(shard) == before


def test_what_an_earlier_version_left_half_made_is_created_anew(tmp_path: Path) -> None:
    (tmp_path / "shard" / "wal").mkdir(parents=True)
    (tmp_path / "shard" / "segments").mkdir()
    (tmp_path / "shard" / ".atomicwriteXyZ").mkdir()
    (tmp_path / "shard" / ".atomicwriteXyZ" / "tmpfile.tmp").touch()
    for name in ("open-1", "tmp-open-2", "first-index"):
        (tmp_path / "shard" / "wal" / name).write_bytes(bytes(100))
    points = EdgePoints(tmp_path / "shard", 4)
    points.upsert([Point(point(1).id, np.array([0, 1, 0, 0], np.float32), {})])
    points.close()
    again = EdgePoints(tmp_path / "shard", 4, make=False)
    assert again.count() == 1
    again.close()


@pytest.mark.parametrize(
    "name",
    [
        "shard/thesis.txt",
        "shard/segments/part1.wav",
        "shard/wal/notes.txt",
        "shard/wal/open-1/inside.txt",
        "shard/edge_config.json",
        "shard",
        "lock",
        "contract.json",
        "catalogue.sqlite",
    ],
)
def test_somebody_elses_file_where_a_collection_would_be_is_kept(
    index: clipindex.Index, tmp_path: Path, name: str
) -> None:
    make_pictures(tmp_path / "photos", 1)
    file = index.place.folder / name
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    for _ in range(2):
        with pytest.raises(StoreError):
            ingest(index, tmp_path / "photos")
        assert file.read_text() == "years of work"


def test_another_programs_database_is_not_made_into_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE songs (title TEXT)")
    database.commit()
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not made by clipindex"):
        Catalogue(path)
    assert path.read_bytes() == before
