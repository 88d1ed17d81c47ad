"""Pictures in an object store: the same promises as for folders, at the price of a listing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import clipindex
from clipindex.files import access, stores
from clipindex.search.query import QueryOptions
from conftest import ingest, picture_bytes, reconciles

pytest.importorskip("obstore")
s3 = pytest.importorskip("s3_double")  # it needs botocore
Fault = s3.Fault

CATS = ("1.jpg", "2024/2.jpg", "2024/june/3.jpg", "with space/\u00fc%41+.jpg")


def _forget_stores() -> None:
    stores.bucket_of.cache_clear()
    access._object_stores.cache_clear()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[s3.S3Double]:
    """A bucket of four pictures and a text, and the environment that leads to it."""
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.aws
    for name, value in (("ACCESS_KEY_ID", s3.KEY), ("SECRET_ACCESS_KEY", s3.SECRET)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", s3.TOKEN)
    monkeypatch.setattr(stores, "RETRIES", 2)
    monkeypatch.setattr(stores, "FIRST_PAUSE", timedelta(milliseconds=1))
    with s3.s3_double() as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL", double.url)
        for number, key in enumerate(CATS):
            double.put(key, picture_bytes(number))
        double.put("notes.txt", b"no picture")
        _forget_stores()
        yield double
        assert double.refused == 0
    _forget_stores()


def uri(key: str) -> str:
    return f"s3://cats/{key}"


def test_a_bucket_is_ingested_and_a_picture_is_found_by_its_address(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    run = ingest(index, "s3://cats")
    assert {path: done.status.value for path, done in run.files.items()} == {
        **{uri(key): "new" for key in CATS},
        uri("notes.txt"): "skipped",
    }
    assert reconciles(run.summary)
    assert run.summary.exit_code == 0
    reads = [request for request in bucket.take() if request.startswith("GET")]
    assert sorted(reads) == sorted(f"GET {key}" for key in (*CATS, "notes.txt"))  # each once
    for key in CATS:
        (hit, *_) = index.query([clipindex.Term(uri(key))])
        assert (hit.path, round(hit.score, 4)) == (uri(key), 1.0)
    below = QueryOptions(under=("s3://cats/2024/june",))
    assert [hit.path for hit in index.query("cat", below)] == [uri("2024/june/3.jpg")]


def test_a_second_run_costs_the_listing_and_nothing_else(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    for number in range(30):
        bucket.put(f"many/{number % 3}/{number}.jpg", picture_bytes(number))
    bucket.page = 10
    ingest(index, "s3://cats")
    bucket.take()
    _forget_stores()  # as in a process of its own
    run = ingest(index, "s3://cats")
    assert (run.summary.unchanged, run.summary.written) == (34, 0)
    assert bucket.take() == ["LIST "] * 5  # is anything there? and 35 keys, ten a page


def test_an_object_that_was_written_again_is_read_again(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    """Even in the same second, and of the same size: its ETag is another one."""
    ingest(index, "s3://cats")
    same_size = bytearray(picture_bytes(0))
    same_size[-3] ^= 1
    bucket.put("1.jpg", bytes(same_size))
    run = ingest(index, "s3://cats")
    assert run.files[uri("1.jpg")].status.value == "changed"
    assert run.summary.unchanged == 3


def test_a_moved_object_is_not_embedded_again(bucket: s3.S3Double, index: clipindex.Index) -> None:
    ingest(index, "s3://cats")
    bucket.buckets["cats"]["new/1.jpg"] = bucket.buckets["cats"].pop("1.jpg")
    run = ingest(index, "s3://cats")
    assert run.files[uri("new/1.jpg")].status.value == "moved"
    assert run.summary.embedded == 0
    assert run.summary.points == 4


@pytest.mark.usefixtures("bucket")
def test_a_slash_at_the_end_and_a_path_of_pathlib_name_the_same_place(
    index: clipindex.Index,
) -> None:
    ingest(index, "s3://cats/2024/")
    assert ingest(index, Path("s3://cats/2024")).summary.unchanged == 2


def test_one_object_can_be_named(bucket: s3.S3Double, index: clipindex.Index) -> None:
    assert ingest(index, uri("1.jpg")).summary.new == 1
    bucket.take()
    assert ingest(index, uri("1.jpg")).summary.unchanged == 1
    assert not any(request.startswith("GET") for request in bucket.take())


def test_globs_and_hidden_names_exclude_objects(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    bucket.put(".trash/9.jpg", picture_bytes(9))
    policy = clipindex.WalkPolicy(exclude=("2024/june", "*.txt"))
    events = list(index.ingest_events(["s3://cats"], policy=policy))
    summary = events[-1].summary
    assert (summary.found, summary.new, summary.left_out) == (3, 3, 3)


def test_markers_of_folders_are_no_files(bucket: s3.S3Double, index: clipindex.Index) -> None:
    bucket.put("2024/", b"")
    assert ingest(index, "s3://cats").summary.found == 5


READ_FAULTS = {
    "denied": ([Fault(403, "AccessDenied")], "permission denied", 3),
    "gone": ([Fault(404, "NoSuchKey")], "deleted before it was read", 0),
    "slow for long": ([Fault(503, "SlowDown")], "could not be read: the store asks to slow", 3),
    "expired": ([Fault(400, "ExpiredToken")], "could not be read: the credentials have expired", 3),
    "failing": ([Fault(500, "InternalError")], "could not be read: the store fails (status 500", 3),
    "archived": ([Fault(403, "InvalidObjectState")], "could not be read: it is archived", 3),
    "cut short": ([Fault(after=100)], "could not be read: ", 3),
}


@pytest.mark.parametrize("name", READ_FAULTS)
def test_an_object_that_cannot_be_read_is_accounted_for_and_tried_again(
    bucket: s3.S3Double, index: clipindex.Index, name: str
) -> None:
    faults, reason, code = READ_FAULTS[name]
    bucket.faults["1.jpg"] = list(faults)
    run = ingest(index, "s3://cats")
    assert reconciles(run.summary)
    assert (run.summary.new, run.summary.exit_code) == (3, code)
    assert (run.files[uri("1.jpg")].reason or "").startswith(reason)
    assert not any(secret in repr(run.events) for secret in (s3.KEY, s3.SECRET, s3.TOKEN))
    bucket.faults.clear()
    assert ingest(index, "s3://cats").summary.new == 1


PASSING = {
    "slow twice": [Fault(503, "SlowDown"), Fault(503, "SlowDown")],
    "broken off once": [Fault(after=100)],
    "broken off twice": [Fault(after=1000), Fault(after=1000)],
}


@pytest.mark.parametrize("name", PASSING)
def test_a_trouble_that_passes_is_not_noticed(
    bucket: s3.S3Double, index: clipindex.Index, name: str
) -> None:
    bucket.faults["1.jpg"] = [*PASSING[name], Fault(after=10**9)]
    run = ingest(index, "s3://cats")
    assert (run.summary.new, run.summary.exit_code) == (4, 0)
