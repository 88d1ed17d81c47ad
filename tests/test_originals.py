"""Originals are never touched: a tree that nobody may write to is indexed, queried, tagged and
relocated, and afterwards every name, byte, time and mode is what it was."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import clipindex
from conftest import TINY, ingest, make_pictures, picture_bytes, reconciles, unprivileged

Facts = tuple[int, bytes, int, int]


def facts(root: Path) -> dict[str, Facts]:
    """Mode, bytes, modification and change time of everything below; access times aside."""
    seen = {}
    for path in [root, *sorted(root.rglob("*"))]:
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        name = path.relative_to(root).as_posix()
        seen[name] = (state.st_mode, content, state.st_mtime_ns, state.st_ctime_ns)
    return seen


def make_originals(folder: Path) -> Path:
    """Sound and broken pictures, a copy, a link, a subfolder, a file that is none."""
    make_pictures(folder, 3)
    (folder / "below").mkdir()
    (folder / "below" / "copy.jpg").write_bytes((folder / "000.jpg").read_bytes())
    (folder / "below" / "picture.png").write_bytes(picture_bytes(9, "PNG"))
    (folder / "broken.jpg").write_bytes(picture_bytes(5)[:2000])
    (folder / "notes.txt").write_text("no picture")
    (folder / "link.jpg").symlink_to("001.jpg")
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    return folder


def everything(index: clipindex.Index, folder: Path) -> None:
    """All that clipindex does with a folder of pictures."""
    for _ in range(2):
        run = ingest(index, folder)
        assert reconciles(run.summary)
        assert (run.summary.found, run.summary.quarantined) == (8, 1)
    index.dry_run([folder], checksum=True)
    (hit, *_) = index.query(folder / "002.jpg")
    assert hit.path == str(folder / "002.jpg")
    assert hit.score == 1.0
    assert index.tag({"kept": "yes"}, [folder]) == 6
    assert index.untag(["kept"], [folder / "below"]) == 2
    index.forget(folder)


@pytest.fixture
def writable_store(reachable: Path) -> Iterator[Path]:
    """A store that an unprivileged user may make, and tidy permissions afterwards."""
    reachable.chmod(0o777)
    yield reachable / "store"
    for path in reachable.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def test_a_tree_without_write_permission_is_left_as_it_is(
    reachable: Path, writable_store: Path
) -> None:
    originals = make_originals(reachable / "originals")
    before = facts(originals)
    with unprivileged():
        assert not os.access(originals, os.W_OK, effective_ids=True)
        everything(clipindex.Index(writable_store, model=str(TINY)), originals)
    assert facts(originals) == before


def test_a_relocated_tree_is_left_as_it_is(tmp_path: Path, index: clipindex.Index) -> None:
    originals = make_originals(tmp_path / "disk" / "originals")
    ingest(index, originals)
    before = facts(originals)
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "originals"
    assert index.relocate(originals, moved) == 6
    assert ingest(index, moved).summary.unchanged == 6
    assert facts(moved) == before


def test_a_read_only_mount_is_enough(tmp_path: Path, index: clipindex.Index) -> None:
    originals = make_originals(tmp_path / "originals")
    before = facts(originals)
    mount = tmp_path / "mount"
    mount.mkdir()
    bound = subprocess.run(
        ["mount", "--bind", "-o", "ro", originals, mount], capture_output=True, text=True
    )
    if bound.returncode:
        pytest.skip(f"mounting is not allowed here: {bound.stderr.strip()}")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (mount / "new").touch()
        everything(index, mount)
        assert facts(mount) == before
    finally:
        subprocess.run(["umount", mount], check=True)
    assert facts(originals) == before
