"""Tar files, as folders: WebDataset's shards and others."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

import clipindex
from clipindex.errors import DiskNotMounted
from clipindex.files import tars
from clipindex.ingest.events import FolderFault, Scanning
from clipindex.search.query import QueryOptions
from conftest import ingest, picture_bytes, reconciles

Files = dict[str, bytes]


def make_tar(path: Path, files: Files, format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar file of these members, in this order."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return path


def shard(path: Path, count: int = 3, first: int = 0) -> Path:
    """A WebDataset shard: of each sample a picture, a caption and a JSON."""
    files: Files = {}
    for number in range(first, first + count):
        files[f"{number:06d}.jpg"] = picture_bytes(number)
        files[f"{number:06d}.txt"] = b"a cat"
        files[f"{number:06d}.json"] = b"{}"
    return make_tar(path, files)


def test_the_pictures_of_a_shard_are_indexed_by_their_paths_in_it(
    index: clipindex.Index, tmp_path: Path
) -> None:
    tar = shard(tmp_path / "shard-000.tar")
    before = tar.read_bytes()
    run = ingest(index, tar)
    assert (run.summary.new, run.summary.skipped, run.summary.exit_code) == (3, 6, 0)
    (hit, *_) = index.query(f"{tar}/000001.jpg")
    assert (hit.path, round(hit.score, 4)) == (f"{tar}/000001.jpg", 1.0)
    assert len(index.query("a cat", QueryOptions(under=(tar,)))) == 3
    again = ingest(index, tar)
    assert (again.summary.unchanged, again.summary.written) == (3, 0)
    assert tar.read_bytes() == before


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_in_a_tar_file_are_told_apart_and_long_ones_read(
    index: clipindex.Index,
    tmp_path: Path,
    format: int,
) -> None:
    long = "/".join(["folder with a long name"] * 6) + "/1.jpg"
    names = ["./a.jpg", "b/\u00fc.jpg", "/c.jpg", long]
    tar = make_tar(
        tmp_path / "x.tar", {name: picture_bytes(n) for n, name in enumerate(names)}, format
    )
    run = ingest(index, tar)
    assert sorted(run.files) == sorted(f"{tar}/{name.lstrip('./')}" for name in names)
    assert run.summary.new == 4


def test_a_name_that_leads_out_of_the_tar_file_is_told_and_not_read(
    index: clipindex.Index, tmp_path: Path
) -> None:
    tar = make_tar(tmp_path / "x.tar", {"a.jpg": picture_bytes(0), "../b.jpg": picture_bytes(1)})
    run = ingest(index, tar)
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert "'.' and '..'" in fault.reason
    assert (run.summary.new, run.summary.exit_code) == (1, 3)


def test_links_in_a_tar_file_are_left_out(index: clipindex.Index, tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", {"a.jpg": picture_bytes(0)})
    with tarfile.open(tar, "a") as more:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        more.addfile(link)
    run = ingest(index, tar)
    assert (run.summary.found, run.summary.left_out, run.summary.exit_code) == (1, 1, 0)


def test_a_tar_file_that_is_cut_short_gives_what_it_has_and_is_told(
    index: clipindex.Index, tmp_path: Path
) -> None:
    tar = shard(tmp_path / "x.tar", 5)
    ingest(index, tar)
    data = tar.read_bytes()
    tar.write_bytes(data[: len(data) // 2])
    run = ingest(index, tar)
    assert reconciles(run.summary)
    assert run.summary.exit_code == 3
    assert any("cut short" in e.reason for e in run.events if isinstance(e, FolderFault))
    assert run.summary.points == 5  # nothing is taken for deleted
    assert index.prune().removed == []


@pytest.mark.parametrize("data", [b"", b"no tar file" * 100, b"\x1f\x8b\x08 compressed" * 50])
def test_what_is_no_tar_file_is_told(index: clipindex.Index, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    run = ingest(index, tmp_path / "x.tar")
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert "not a tar file" in fault.reason
    assert run.summary.exit_code == 3


def test_a_tar_file_that_is_written_again_is_read_again_and_embeds_what_is_new(
    index: clipindex.Index, tmp_path: Path
) -> None:
    tar = shard(tmp_path / "x.tar", 3)
    ingest(index, tar)
    shard(tar, 4)
    run = ingest(index, tar)
    assert (run.summary.new, run.summary.embedded, run.summary.unchanged) == (1, 1, 3)
    os.remove(tar)
    with pytest.raises(DiskNotMounted):
        ingest(index, tar)


def test_prune_removes_a_member_that_is_gone(index: clipindex.Index, tmp_path: Path) -> None:
    tar = shard(tmp_path / "x.tar", 4)
    ingest(index, tar)
    shard(tar, 3)
    ingest(index, tar)
    removed = [file.row.path for file in index.prune().removed]
    assert os.fsencode(tar) + b"/000003.jpg" in removed
    assert len(index.query("a cat")) == 3


def test_a_tar_file_in_a_folder_is_a_file_like_others_and_both_can_be_ingested(
    index: clipindex.Index, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(picture_bytes(9))
    tar = shard(photos / "x.tar", 2)
    assert ingest(index, photos).summary.skipped == 1
    assert ingest(index, tar).summary.new == 2
    again = ingest(index, photos)
    assert (again.summary.unchanged, again.summary.vanished) == (1, 0)
    assert index.prune().removed == []


def test_a_long_tar_file_shows_how_far_its_reading_is(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "PROGRESS_EVERY", 4)
    run = ingest(index, shard(tmp_path / "x.tar", 3))
    assert [event.found for event in run.events if isinstance(event, Scanning)] == [4, 8]
