"""What is done with an index reaches pictures in stores and tar files, too, or says why not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import clipindex
from clipindex.cli.query_terms import read_terms
from clipindex.search.terms import TermKind
from conftest import TINY, ingest, picture_bytes, run_clipindex
from serving import calling
from test_sources import bucket as bucket  # the fixture
from test_sources import uri
from test_tars import shard
from test_web import Site
from test_web import site as site  # the fixture

s3 = pytest.importorskip("s3_double")


@pytest.fixture
def shown(index: clipindex.Index, bucket: s3.S3Double) -> clipindex.Index:
    """A collection of a bucket."""
    assert ingest(index, "s3://cats").summary.new == len(bucket.buckets["cats"]) - 1
    return index


def test_thumbnails_and_originals_of_objects_are_served(
    bucket: s3.S3Double, shown: clipindex.Index, tmp_path: Path
) -> None:
    with calling(shown, thumbnails=tmp_path / "cache") as caller:
        asked = {"q": "a cat", "under": "s3://cats/2024/june"}
        (hit,) = caller.get("/search", params=asked).json()["results"]
        assert hit["path"] == uri("2024/june/3.jpg")
        thumb = caller.get(hit["thumbnail"])
        assert (thumb.status_code, thumb.headers["content-type"]) == (200, "image/jpeg")
        assert caller.get(f"/original/{hit['id']}").content == picture_bytes(2)
        bucket.put("2024/june/3.jpg", picture_bytes(99))
        assert caller.get(f"/original/{hit['id']}").status_code in (404, 409, 410)


def test_a_caller_of_the_service_makes_it_look_at_no_address(
    site: Site, shown: clipindex.Index, tmp_path: Path
) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    with calling(shown, thumbnails=tmp_path / "cache") as caller:
        for name in ("q", "text", "like", "under", "minus"):
            caller.get("/search", params={"q": "a cat", name: address})
    assert site.requests == []


def test_a_picture_of_an_import_at_a_private_address_is_not_fetched(
    site: Site, index: clipindex.Index, tmp_path: Path
) -> None:
    """Who made the export may not steer where this machine connects to."""
    address = site.put("/1.jpg", picture_bytes(1))
    ingest(index, address)
    index.export(tmp_path / "exported")
    other = clipindex.Index(tmp_path / "other", model=str(TINY))
    assert other.import_(tmp_path / "exported") == 1
    site.requests.clear()
    done = run_clipindex("verify", "--files", "--store", tmp_path / "other", "--json")
    assert site.requests == []
    assert "not public" in done.out + done.err


def test_paths_and_patterns_select_objects(shown: clipindex.Index) -> None:
    assert shown.tag({"who": "tom"}, ["s3://cats/2024/"]) == 2
    assert shown.tag({"old": "yes"}, ["s3://cats/2024/*.jpg"]) == 1
    assert shown.tag({"one": "yes"}, [uri("1.jpg")]) == 1


def test_an_export_and_an_import_keep_addresses(shown: clipindex.Index, tmp_path: Path) -> None:
    shown.export(tmp_path / "exported")
    other = clipindex.Index(tmp_path / "other", model=str(TINY))
    assert other.import_(tmp_path / "exported") == 4
    assert ingest(other, "s3://cats").summary.unchanged == 4


def test_a_dry_run_reads_no_object(bucket: s3.S3Double, shown: clipindex.Index) -> None:
    bucket.put("new.jpg", picture_bytes(7))
    bucket.take()
    foreseen = shown.dry_run(["s3://cats"])
    assert foreseen.to_read == 1
    assert {request.partition(" ")[0] for request in bucket.take()} == {"LIST"}


def test_forget_takes_an_address(shown: clipindex.Index) -> None:
    shown.forget("s3://cats/")
    with pytest.raises(clipindex.UsageError):
        shown.forget("s3://cats")


def test_an_address_is_a_picture_of_a_query() -> None:
    reading = read_terms(["s3://cats/1", "and", "2*https://example.org/cats/1.jpg"])
    kinds = [(term.value, term.kind) for term in reading.terms]
    assert kinds == [
        ("s3://cats/1", TermKind.IMAGE),
        ("and", TermKind.TEXT),
        ("https://example.org/cats/1.jpg", TermKind.IMAGE),
    ]


def test_a_new_picture_can_be_asked_for_by_its_address(site: Site, shown: clipindex.Index) -> None:
    address = site.put("/copy.jpg", picture_bytes(1))
    (hit, *_) = shown.query([clipindex.Term(address)])
    assert (hit.path, round(hit.score, 4)) == (uri("2024/2.jpg"), 1.0)


def test_the_program_takes_addresses_everywhere(bucket: s3.S3Double, tmp_path: Path) -> None:
    options = ("--store", tmp_path / "store")
    done = run_clipindex("ingest", "s3://cats", *options, "--model", TINY)
    assert (done.code, "4  new" in done.out) == (0, True)
    hits = run_clipindex("query", uri("1.jpg"), "--under", "s3://cats/", "--json", *options)
    assert json.loads(hits.out.splitlines()[0])["path"] == uri("1.jpg")
    assert "no folder" not in hits.err
    opened = run_clipindex(
        *("query", "a cat", "--open", "-n", "1", *options),
        env={"DISPLAY": ":9", "PATH": f"{fake_viewer(tmp_path)}:{os.environ['PATH']}"},
    )
    assert "no viewer reads it there" in opened.err
    del bucket.buckets["cats"]["1.jpg"]
    pruned = run_clipindex("prune", "--yes", *options)
    assert (pruned.code, "1 pruned" in pruned.out) == (0, True)


def fake_viewer(folder: Path) -> Path:
    viewer = folder / "bin" / "xdg-open"
    viewer.parent.mkdir()
    viewer.write_text("#!/bin/sh\n")
    viewer.chmod(0o755)
    return viewer.parent


def test_a_member_of_a_tar_file_is_served(index: clipindex.Index, tmp_path: Path) -> None:
    ingest(index, shard(tmp_path / "x.tar", 1))
    with calling(index, thumbnails=tmp_path / "cache") as caller:
        (hit,) = caller.get("/search", params={"q": "a cat"}).json()["results"]
        assert caller.get(hit["thumbnail"]).status_code == 200
        assert caller.get(f"/original/{hit['id']}").content == picture_bytes(0)
