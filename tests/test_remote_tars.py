"""Tar files in buckets and on web servers: as those on this machine, without a download."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import clipindex
from clipindex.files import remote_tars, tars
from clipindex.ingest.events import FolderFault
from conftest import ingest, picture_bytes, reconciles
from test_sources import _forget_stores
from test_sources import bucket as bucket  # the fixture
from test_tars import make_tar, shard
from test_web import TAG, Site
from test_web import site as site  # the fixture

s3 = pytest.importorskip("s3_double")
TAR = "s3://cats/shards/0001.tar"


def forget() -> None:
    """As in a process of its own."""
    _forget_stores()
    tars.kept.clear()


@pytest.fixture
def tar(bucket: s3.S3Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> s3.S3Double:
    """A bucket with a shard of three pictures, their captions and their JSON."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget()
    bucket.put("shards/0001.tar", shard(tmp_path / "shard.tar").read_bytes())
    bucket.take()
    return bucket


def test_the_pictures_of_a_shard_in_a_bucket_are_indexed_by_their_paths_in_it(
    tar: s3.S3Double, index: clipindex.Index
) -> None:
    run = ingest(index, TAR)
    assert (run.summary.new, run.summary.skipped, run.summary.exit_code) == (3, 6, 0)
    assert reconciles(run.summary)
    (hit, *_) = index.query([clipindex.Term(f"{TAR}/000001.jpg")])
    assert (hit.path, round(hit.score, 4)) == (f"{TAR}/000001.jpg", 1.0)
    reads = [request for request in tar.take() if request.startswith("GET")]
    assert len(reads) == 1 + 9  # the headers in one request, and each member


def test_an_unchanged_shard_costs_a_look_at_it_and_nothing_else(
    tar: s3.S3Double, index: clipindex.Index
) -> None:
    ingest(index, TAR)
    forget()
    tar.take()
    run = ingest(index, TAR)
    assert (run.summary.unchanged, run.summary.written, run.summary.exit_code) == (3, 0, 0)
    requests = tar.take()
    assert len(requests) <= 5
    assert not any(request.startswith("GET") for request in requests)
    (kept,) = Path(os.environ["XDG_STATE_HOME"]).rglob("tar-indexes/*")
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("tar")
def test_the_index_of_a_tar_file_is_made_again_where_it_was_not_kept(
    index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(index, TAR)
    forget()
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    assert ingest(index, TAR).summary.unchanged == 3


def test_a_shard_that_is_written_again_is_read_again_and_embeds_what_is_new(
    tar: s3.S3Double, index: clipindex.Index, tmp_path: Path
) -> None:
    ingest(index, TAR)
    tar.put("shards/0001.tar", shard(tmp_path / "shard.tar", 4).read_bytes())
    run = ingest(index, TAR)
    assert (run.summary.new, run.summary.embedded, run.summary.unchanged) == (1, 1, 3)
    tar.put("shards/0001.tar", shard(tmp_path / "shard.tar", 3).read_bytes())
    ingest(index, TAR)
    removed = [file.row.path for file in index.prune().removed if file.is_picture]
    assert removed == [f"{TAR}/000003.jpg".encode()]


def test_a_shard_that_is_replaced_while_it_is_read_gives_no_half_of_each(
    tar: s3.S3Double, index: clipindex.Index, tmp_path: Path
) -> None:
    events = index.ingest_events([TAR])
    for event in events:
        if isinstance(event, clipindex.RunPlanned):
            break
    tar.put("shards/0001.tar", shard(tmp_path / "shard.tar", 3, first=5).read_bytes())
    *_, last = events
    summary = last.summary
    assert (summary.new, summary.exit_code) == (0, 3)
    assert ingest(index, TAR).summary.new == 3


def test_large_members_are_not_downloaded_to_find_the_next_header(
    tar: s3.S3Double, index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_tars, "SKIPPED", 100_000)
    files = {f"{number}.bin": bytes(3_000_000) for number in range(3)}
    made = make_tar(tmp_path / "large.tar", {**files, "cat.jpg": picture_bytes(1)})
    tar.put("large.tar", made.read_bytes())
    run = ingest(index, "s3://cats/large.tar")
    assert (run.summary.new, run.summary.skipped) == (1, 3)
    headers = [request for request in tar.take() if request == "GET large.tar"]
    assert len(headers) == 4 + 4


def test_a_folder_of_a_bucket_may_be_called_like_a_tar_file(
    tar: s3.S3Double, index: clipindex.Index
) -> None:
    tar.put("old.tar/1.jpg", picture_bytes(8))
    assert ingest(index, "s3://cats").summary.new == 5
    assert ingest(index, "s3://cats/old.tar").summary.unchanged == 1
    forget()
    assert len(index.query([clipindex.Term("s3://cats/old.tar/1.jpg")])) == 5


def test_a_picture_whose_key_goes_on_behind_that_of_a_tar_file_is_read(
    tar: s3.S3Double, index: clipindex.Index
) -> None:
    tar.put("shards/0001.tar/beside.jpg", picture_bytes(8))
    run = ingest(index, "s3://cats")
    assert run.files[f"{TAR}/beside.jpg"].status.value == "new"


@pytest.mark.usefixtures("tar")
def test_a_shard_in_an_indexed_bucket_is_a_file_like_others_and_both_can_be_ingested(
    index: clipindex.Index,
) -> None:
    assert ingest(index, "s3://cats").summary.skipped == 2
    assert ingest(index, TAR).summary.duplicate == 3  # of pictures that lie beside it
    again = ingest(index, "s3://cats")
    assert (again.summary.unchanged, again.summary.vanished) == (4, 0)
    reindexed = list(index.reindex_events())[-1].summary
    assert (reindexed.unchanged, reindexed.exit_code) == (7, 0)
    assert index.prune().removed == []


@pytest.mark.parametrize("data", [b"no tar file" * 100, b"\x1f\x8b\x08 compressed" * 50])
def test_what_is_no_tar_file_is_told_with_what_to_do(
    tar: s3.S3Double, index: clipindex.Index, data: bytes
) -> None:
    tar.put("shards/0001.tar", data)
    run = ingest(index, TAR)
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert "not a tar file, or a compressed one: unpack it" in fault.reason
    assert run.summary.exit_code == 3


def test_a_shard_that_may_not_be_read_keeps_its_pictures(
    tar: s3.S3Double, index: clipindex.Index
) -> None:
    ingest(index, TAR)
    forget()
    tar.faults["shards/0001.tar"] = [s3.Fault(403, "AccessDenied")]
    run = ingest(index, TAR)
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert (fault.path, fault.reason) == (TAR, "permission denied")
    assert (run.summary.exit_code, run.summary.vanished, run.summary.points) == (3, 0, 3)
    assert index.prune().removed == []


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.TAR.ZST"])
def test_a_compressed_tar_file_that_is_named_is_told_with_what_to_do(
    tar: s3.S3Double, index: clipindex.Index, tmp_path: Path, name: str
) -> None:
    tar.put(name, b"x")
    (tmp_path / name).write_bytes(b"x")
    for address in (f"s3://cats/{name}", str(tmp_path / name)):
        run = ingest(index, address)
        (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
        assert fault.path == address
        assert "compressed" in fault.reason
        assert "unpack it" in fault.reason


def test_a_shard_on_a_web_server_is_read_and_reindexed(
    site: Site, index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget()
    address = site.put("/x.tar", shard(tmp_path / "x.tar").read_bytes())
    run = ingest(index, address)
    assert (run.summary.new, run.summary.exit_code) == (3, 0)
    forget()
    site.requests.clear()
    summary = list(index.reindex_events())[-1].summary
    assert (summary.unchanged, summary.exit_code) == (3, 0)
    assert set(site.requests) == {"HEAD /x.tar"}


def test_a_web_server_that_sends_no_parts_of_files_is_told(
    site: Site, index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget()
    data = shard(tmp_path / "x.tar").read_bytes()
    site.answers["/x.tar"] = [(200, {"Last-Modified": TAG["Last-Modified"]}, data)]
    run = ingest(index, site.url + "/x.tar")
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert "sends no parts of a file: download it" in fault.reason
    assert run.summary.exit_code == 3
