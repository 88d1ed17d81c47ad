"""Pictures in an object store: the same promises as for folders, at the price of a listing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import clipindex
from clipindex.errors import DiskNotMounted, Refused, UsageError
from clipindex.files import access, addresses, listing, stores
from clipindex.files.sieve import direct
from clipindex.ingest.events import FolderFault, Scanning
from clipindex.ingest.options import PruneOptions
from clipindex.search.query import QueryOptions
from conftest import TINY, ingest, make_pictures, picture_bytes, reconciles, run_clipindex

pytest.importorskip("obstore")
s3 = pytest.importorskip("s3_double")  # it needs botocore
Fault = s3.Fault

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    b"<dc:subject><rdf:Bag><rdf:li>tabby</rdf:li></rdf:Bag></dc:subject></rdf:Description>"
    b"</rdf:RDF></x:xmpmeta>"
)
CATS = ("1.jpg", "2024/2.jpg", "2024/june/3.jpg", "with space/\u00fc%41+.jpg")


BAD_KEYS = ("2024//2.jpg", "2024/../up.jpg", "2024/ctl\x01.jpg", "new\nline.jpg")


def _forget_stores() -> None:
    stores.bucket_of.cache_clear()
    access._object_stores.cache_clear()
    access._remote_tars.cache_clear()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[s3.S3Double]:
    """A bucket of four pictures and a text, and the environment that leads to it."""
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.aws
    for name, value in (("ACCESS_KEY_ID", s3.KEY), ("SECRET_ACCESS_KEY", s3.SECRET)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", s3.TOKEN)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
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


def test_a_key_that_is_no_path_is_told_and_stops_nothing(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    """Other programs put them there; the library that lists buckets gives up at the first."""
    for key in (*BAD_KEYS, "empty//"):
        bucket.put(key, picture_bytes(9) if key[-1] != "/" else b"")
    bucket.page = 2
    run = ingest(index, "s3://cats")
    faults = {event.path for event in run.events if isinstance(event, FolderFault)}
    assert faults == {uri(key) for key in BAD_KEYS}
    assert (run.summary.new, run.summary.exit_code) == (4, 3)
    excluding = clipindex.WalkPolicy(exclude=("2.jpg", "up.jpg", "ctl*", "new*"))
    events = list(index.ingest_events(["s3://cats"], policy=excluding))
    assert events[-1].summary.exit_code == 0


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


class Swapped(dict[str, s3.Stored]):
    """A bucket in which another object takes the key's place after its first answer."""

    def __init__(self, key: str, then: bytes, objects: dict[str, s3.Stored]) -> None:
        super().__init__(objects)
        self._key, self._then = key, then

    def get(self, key: str, _default: object = None) -> s3.Stored | None:
        stored = super().get(key)
        if key == self._key:
            self[key] = s3.Stored(self._then)
        return stored


def test_an_object_replaced_in_the_middle_of_a_download_is_not_half_of_each(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    bucket.buckets["cats"] = Swapped("1.jpg", picture_bytes(77), bucket.buckets["cats"])
    bucket.faults["1.jpg"] = [Fault(after=1000), Fault(after=10**9)]
    run = ingest(index, "s3://cats")
    assert (run.files[uri("1.jpg")].reason or "").startswith("could not be read: ")
    assert (run.summary.new, run.summary.exit_code) == (3, 3)
    assert ingest(index, "s3://cats").summary.new == 1


def test_what_is_recorded_is_what_was_read_not_what_was_listed(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    """Replaced between the listing and the download: the next run has nothing to do."""
    listed = bucket.buckets["cats"]

    class Later(dict[str, s3.Stored]):
        def get(self, key: str, _default: object = None) -> s3.Stored | None:
            return s3.Stored(picture_bytes(50), 1.8e9) if key == "1.jpg" else super().get(key)

    bucket.buckets["cats"] = Later(listed)
    assert ingest(index, "s3://cats").summary.new == 4
    listed["1.jpg"] = s3.Stored(picture_bytes(50), 1.8e9)
    bucket.buckets["cats"] = listed
    assert ingest(index, "s3://cats").summary.unchanged == 4


LISTING_FAULTS = {
    "denied": (Fault(403, "AccessDenied"), "permission denied"),
    "expired": (Fault(400, "ExpiredToken"), "the credentials have expired"),
    "slow for long": (Fault(503, "SlowDown"), "the store asks to slow down"),
}


@pytest.mark.parametrize("name", LISTING_FAULTS)
def test_a_listing_that_fails_is_a_folder_that_cannot_be_read_and_removes_nothing(
    bucket: s3.S3Double, index: clipindex.Index, name: str
) -> None:
    bucket.page = 2
    ingest(index, "s3://cats")
    fault, reason = LISTING_FAULTS[name]
    for key in CATS[1:]:
        del bucket.buckets["cats"][key]
    bucket.page = 1
    bucket.faults["LIST "] = [Fault(after=0), fault]  # the second page; the first one is sent
    run = ingest(index, "s3://cats")
    (told,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert (told.path, told.reason) == ("s3://cats", reason)
    assert (run.summary.found, run.summary.vanished, run.summary.exit_code) == (0, 0, 3)
    report = index.prune(options=PruneOptions(max_percent=100))
    assert report.removed == []
    assert report.points in (4, None)


def test_an_empty_bucket_is_a_disk_that_is_not_mounted(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    ingest(index, "s3://cats")
    bucket.buckets["cats"].clear()
    with pytest.raises(DiskNotMounted):
        ingest(index, "s3://cats")
    with pytest.raises(Refused):
        index.prune()
    del bucket.buckets["cats"]
    _forget_stores()
    with pytest.raises(DiskNotMounted):
        ingest(index, "s3://cats")
    with pytest.raises(Refused):
        index.prune()


def test_prune_removes_what_is_gone_from_the_bucket(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    ingest(index, "s3://cats")
    del bucket.buckets["cats"]["1.jpg"]
    report = index.prune()
    assert [file.row.path for file in report.removed] == [b"s3://cats/1.jpg"]
    assert report.points == 3


def test_a_renamed_bucket_is_relocated_without_a_download(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    ingest(index, "s3://cats")
    bucket.buckets["new-cats"] = bucket.buckets.pop("cats")
    bucket.take()
    assert index.relocate("s3://cats", "s3://new-cats/") == 4
    run = ingest(index, "s3://new-cats")
    assert run.summary.unchanged == 4
    assert not any(request.startswith("GET") for request in bucket.take() if "notes" not in request)


def test_sidecars_beside_objects_are_read(bucket: s3.S3Double, index: clipindex.Index) -> None:
    ingest(index, "s3://cats")
    bucket.put("1.jpg.xmp", XMP)
    run = ingest(index, "s3://cats")
    assert (run.summary.new, run.summary.written) == (0, 1)
    assert len(index.select([uri("1.jpg")]).pictures) == 1


def test_no_secret_is_said_or_stored(bucket: s3.S3Double, tmp_path: Path) -> None:
    """Not by the program, whose every line is looked at, nor in the store or the state folder."""
    bucket.faults["1.jpg"] = [Fault(403, "AccessDenied")]
    bucket.faults["2024/2.jpg"] = [Fault(500, "InternalError")]
    state = {"XDG_STATE_HOME": str(tmp_path / "state"), "AWS_MAX_ATTEMPTS": "1"}
    options = ("--store", tmp_path / "store", "--model", TINY)
    done = run_clipindex("ingest", "s3://cats", *options, "--verbose", "--json", env=state)
    assert done.code == 3
    assert {json.loads(line)["type"] for line in done.out.splitlines()} >= {"file", "summary"}
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (s3.SECRET, s3.TOKEN, s3.KEY):
        assert secret not in done.out + done.err
        assert not any(secret.encode() in data for data in kept)


BAD = {
    "s3://": "an address names a bucket",
    "s3://ann:hunter2@cats/1.jpg": "an address holds no password",
    "s3://cats/a//b.jpg": "its key has no path",
    "s3://cats/../b.jpg": "its key has no path",
}


@pytest.mark.parametrize("address", BAD)
def test_an_address_that_names_nothing_is_refused(index: clipindex.Index, address: str) -> None:
    with pytest.raises(UsageError, match=BAD[address]) as raised:
        ingest(index, address)
    assert "hunter2" not in str(raised.value) + raised.value.path + raised.value.hint


def test_without_the_extra_the_message_says_what_to_install(
    index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_stores()
    monkeypatch.setattr(stores, "find_spec", lambda _name: None)
    with pytest.raises(UsageError) as raised:
        ingest(index, "s3://cats")
    assert "clipindex[cloud]" in raised.value.hint


def test_without_credentials_the_message_says_where_they_are_looked_for(
    index: clipindex.Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _forget_stores()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="no credentials") as raised:
        ingest(index, "s3://cats")
    assert "AWS_SKIP_SIGNATURE" in raised.value.hint
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match="nobody"):
        ingest(index, "s3://cats")


def _without_library(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stores, "find_spec", lambda _name: None)
    return "pip install 'clipindex[cloud]'"


def _without_credentials(monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    return "AWS_PROFILE"


@pytest.mark.parametrize("trouble", [_without_library, _without_credentials])
def test_a_store_that_cannot_be_used_does_not_keep_other_roots_from_their_run(
    bucket: s3.S3Double,
    index: clipindex.Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[pytest.MonkeyPatch], str],
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 2)
    ingest(index, "s3://cats")
    ingest(index, photos)
    (photos / "new.jpg").write_bytes(picture_bytes(70))
    next(photos.glob("*0*")).unlink()
    _forget_stores()
    bucket.take()
    what_to_do = trouble(monkeypatch)
    *events, last = index.reindex_events()
    (told,) = [event for event in events if isinstance(event, FolderFault)]
    assert told.path == "s3://cats"
    assert what_to_do in told.reason
    summary = last.summary
    assert (summary.new, summary.vanished, summary.unreadable) == (1, 1, 1)
    assert (summary.exit_code, summary.points) == (3, 7)
    removed = [file.row.path for file in index.prune().removed]
    assert all(path.startswith(os.fsencode(photos)) for path in removed)
    assert bucket.take() == []
    with pytest.raises(UsageError):  # alone it is refused, as if the call were mistyped
        ingest(index, "s3://cats")


def test_a_long_listing_shows_how_far_it_is(
    bucket: s3.S3Double, index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        bucket.put(f"many/{number}.txt", b"no picture")
    monkeypatch.setattr(listing, "PROGRESS_EVERY", 10)
    run = ingest(index, "s3://cats/many")
    counts = [event.found for event in run.events if isinstance(event, Scanning)]
    assert counts == [10, 20, 30]


def test_a_folder_of_this_machine_that_looks_like_an_address_is_reached_by_its_path(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "s3:" / "cats", 1)
    monkeypatch.chdir(tmp_path)
    assert ingest(index, "./s3:/cats").summary.new == 1
    assert not addresses.is_address(os.fsencode(tmp_path / "s3:" / "cats"))


def test_many_objects_are_downloaded_at_once_and_few_are_decoded_at_once(
    bucket: s3.S3Double, index: clipindex.Index
) -> None:
    for number in range(32):
        bucket.put(f"many/{number}.jpg", picture_bytes(number))
    bucket.delay = 0.5
    run = ingest(index, "s3://cats/many", workers=1)
    assert (run.summary.new, run.summary.exit_code) == (32, 0)
    assert run.summary.seconds < 32 * bucket.delay / 2


@pytest.fixture(params=["gs", "az"])
def other(
    request: pytest.FixtureRequest, bucket: s3.S3Double, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The same bucket by the interfaces of Google, which lists as S3 does, and of Azure, whose
    listing has another form. The double does not look at their signatures."""
    for name, value in (
        ("GOOGLE_BASE_URL", bucket.url),
        ("GOOGLE_BEARER_TOKEN", s3.TOKEN),
        ("AZURE_STORAGE_ENDPOINT", bucket.url),
        ("AZURE_STORAGE_ACCOUNT_NAME", "ann"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
    ):
        monkeypatch.setenv(name, value)
    return f"{request.param}://cats"


def test_other_stores_are_read(bucket: s3.S3Double, index: clipindex.Index, other: str) -> None:
    assert ingest(index, other).summary.new == 4
    _forget_stores()
    bucket.take()
    assert ingest(index, other).summary.unchanged == 4
    assert bucket.take() == ["LIST ", "LIST "]
    bucket.faults["1.jpg"] = [Fault(403, "AccessDenied")]
    bucket.put("1.jpg", picture_bytes(60))
    run = ingest(index, other)
    assert run.files[f"{other}/1.jpg"].reason == "permission denied"


@pytest.mark.parametrize("page", [2, 1000])
def test_a_key_that_is_no_path_costs_other_stores_no_picture(
    bucket: s3.S3Double, index: clipindex.Index, other: str, page: int
) -> None:
    for key in (*BAD_KEYS, "2024/&lt;x\u00e4.jpg", "empty//"):
        bucket.put(key, picture_bytes(9) if key[-1] != "/" else b"")
    bucket.page = page
    run = ingest(index, other)
    faults = {event.path for event in run.events if isinstance(event, FolderFault)}
    assert faults == {f"{other}/{key}" for key in BAD_KEYS}
    assert (run.summary.new, run.summary.unreadable, run.summary.exit_code) == (5, 4, 3)
    assert all(bucket.authorised)  # with the credentials, on both ways
    again = ingest(index, other)
    assert (again.summary.unchanged, again.summary.written) == (5, 0)


def test_what_is_listed_on_this_machine_is_asked_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would get to see the credentials."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert direct({}) == {}
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "example.org")
    excluded = direct({})["proxy_excludes"]
    assert excluded == "example.org,127.0.0.1"


def test_a_key_that_ends_with_a_slash_is_told(
    bucket: s3.S3Double, index: clipindex.Index, other: str
) -> None:
    """The library that lists leaves the slash out, and what it names is not there."""
    bucket.put("cat.jpg/", picture_bytes(9))
    bucket.put("june/", b"")
    for root in (other, "s3://cats"):
        run = ingest(index, root)
        assert "ends with '/'" in (run.files[f"{root}/cat.jpg"].reason or "")
        assert "marks a folder" in (run.files[f"{root}/june"].reason or "")
        assert (run.summary.unreadable, run.summary.exit_code) == (1, 3)


def test_a_public_bucket_is_read_without_a_signature(
    bucket: s3.S3Double, index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    bucket.put("2024//2.jpg", picture_bytes(9))
    run = ingest(index, "s3://cats")
    assert (run.summary.new, run.summary.exit_code) == (4, 3)
