"""A server behind the same commands: its faults, its contract, several writers at once."""

from __future__ import annotations

import copy
import itertools
import random
import re
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import numpy as np
import pytest
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions

import clipindex
from clipindex.collection import server_place
from clipindex.errors import (
    ClipIndexError,
    CollectionBusy,
    ContractMismatch,
    Refused,
    StoreError,
    UsageError,
    VerificationFailed,
)
from clipindex.stores import (
    connection,
    server,
    server_bulk,
    server_collections,
    server_requests,
    server_writes,
    session,
)
from clipindex.stores.address import Server
from clipindex.stores.connection import Connection, RetryPolicy
from clipindex.stores.failures import ErrorAnswer, understand
from clipindex.stores.payload import FILTERED_FIELDS
from clipindex.stores.points import Point
from clipindex.stores.session import Session
from clipindex.stores.verified import write_verified
from conftest import TINY, Run, ingest, make_pictures, picture_bytes, reconciles, run_clipindex
from qdrant_double import Double, Request, refused_port
from test_ingest import same_state, stored

QUICK = RetryPolicy(1, 2.5)


def on(double: Double, source: str = "here", **how: Any) -> clipindex.Index:
    """A collection on the double."""
    key = how.pop("key", "")
    how.setdefault("model", str(TINY))
    return clipindex.Index(server=Server(double.url, key), source=source, **how)


def is_upsert(request: Request) -> bool:
    return request.method == "PUT" and "/points" in request.path


def upserts(double: Double) -> int:
    return sum(map(is_upsert, double.log))


# --- the same promises as in a folder --------------------------------------------------------


def test_a_server_ends_up_with_what_a_folder_would_hold(double: Double, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 30)
    (photos / "bad.jpg").write_bytes(picture_bytes(1)[:300])
    remote, local = on(double), clipindex.Index(tmp_path / "s", model=str(TINY), source="here")
    assert ingest(remote, photos).summary.points == ingest(local, photos).summary.points == 30
    assert same_state(remote, local)
    for index in (remote, local):
        index.tag({"who": "ann"}, [photos / "003.jpg"])
        (hit,) = index.query("x", clipindex.QueryOptions(where=(("who", "ann"),)))
        assert hit.path == str(photos / "003.jpg")
        assert index.query(photos / "007.jpg")[0].score == 1.0
    (photos / "000.jpg").rename(photos / "renamed.jpg")
    (photos / "001.jpg").write_bytes(picture_bytes(77))
    for index in (remote, local):
        summary = ingest(index, photos).summary
        assert (summary.moved, summary.changed, summary.unchanged) == (1, 1, 28)
        assert reconciles(summary)
    assert same_state(remote, local)


@pytest.mark.slow
def test_a_query_finds_on_a_server_what_it_finds_in_a_folder(
    double: Double, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 20)
    for number in range(0, 20, 3):
        for each in range(number):
            place = photos / f"copies {each % 4}" / f"{number}-{each}.jpg"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes((photos / f"{number:03d}.jpg").read_bytes())
    remote, local = on(double), clipindex.Index(tmp_path / "s", model=str(TINY), source="here")
    for index in (remote, local):
        ingest(index, photos)
        index.tag({"who": "ann"}, [photos / "copies 1", photos / "004.jpg"])
    asked = [
        clipindex.QueryOptions(
            limit=limit, min_score=min_score, under=under, where=where, where_not=where_not
        )
        for limit, min_score in ((1, None), (3, 0.5), (10, None), (100, -0.2))
        for under in (None, photos / "copies 2")
        for where, where_not in (((), ()), ((("who", "ann"),), ()), ((), (("who", "ann"),)))
    ]
    for options in asked:
        for term in ("a dog", photos / "009.jpg"):
            assert remote.query(term, options) == local.query(term, options), (term, options)
    assert len(remote.query("a dog", clipindex.QueryOptions(limit=100))) == 20


def test_a_query_costs_no_more_than_its_hits(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 40)
    ingest(on(double), tmp_path / "photos")
    on(double).query("a cat")  # keeps a sample of the collection, by which hits are judged
    double.log.clear()
    assert len(on(double).query("a dog", clipindex.QueryOptions(limit=3))) == 3
    grouped, copies, sampled, judged = double.requests("/points")
    assert (len(sampled.body["ids"]), len(judged.body["ids"])) == (16, 3)
    assert grouped.path.split("?")[0].endswith("/points/query/groups")
    (condition,) = copies.body["filter"]["must"]
    assert len(condition["match"]["any"]) < 10


def test_a_second_run_sends_nothing_that_writes(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 5)
    ingest(on(double), tmp_path / "photos")
    double.log.clear()
    assert ingest(on(double), tmp_path / "photos").summary.unchanged == 5
    writes = [request for request in double.log if request.method in ("PUT", "PATCH", "DELETE")]
    assert writes == []


def test_without_its_catalogue_a_server_collection_costs_no_inference(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 5)
    ingest(on(double), tmp_path / "photos")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine's state"))
    summary = ingest(on(double), tmp_path / "photos").summary
    assert (summary.unchanged, summary.embedded, summary.written) == (5, 0, 0)


def test_a_collection_made_anew_does_not_inherit_the_catalogue(
    double: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    ingest(on(double), tmp_path / "photos")
    double.drop("image_embeddings")
    assert ingest(on(double), tmp_path / "photos").summary.new == 3


def test_a_strict_server_is_asked_for_no_more_than_it_allows(
    double: Double, tmp_path: Path
) -> None:
    double.strict = {
        "enabled": True,
        "max_query_limit": 7,
        "upsert_max_batchsize": 4,
        "unindexed_filtering_retrieve": False,
    }
    make_pictures(tmp_path / "photos", 20)
    index = on(double)
    events = list(index.ingest_events([tmp_path / "photos"], tags={"owner": "ann"}))
    assert isinstance(events[-1], clipindex.RunFinished)
    assert len(stored(index)) == 20
    options = clipindex.QueryOptions(limit=20, where=(("owner", "ann"),))
    assert len(index.query("a dog", options)) == 20


# --- aliases ---------------------------------------------------------------------------------


@pytest.fixture
def two(double: Double, tmp_path: Path) -> Double:
    """Collections v1 and v2 of the same three pictures; `photos` stands for v1."""
    make_pictures(tmp_path / "photos", 3)
    ingest(on(double, collection="v1"), tmp_path / "photos")
    exact = clipindex.Preprocessing.EXACT  # as after a change of the model
    ingest(on(double, collection="v2", preprocessing=exact), tmp_path / "photos")
    assert on(double, collection="v1").alias("photos") is None
    return double


def test_an_alias_stands_for_its_collection_in_every_command(two: Double, tmp_path: Path) -> None:
    index = on(two, collection="photos")
    assert ingest(index, tmp_path / "photos").summary.unchanged == 3
    assert len(index.query("a dog")) == 3
    assert index.tag({"who": "ann"}, [tmp_path / "photos"]) == 3
    assert on(two, collection="v1").untag(["who"], [tmp_path / "photos"]) == 3
    summary = index.reindex()
    assert (summary.collection, summary.unchanged) == ("v1", 3)
    assert (index.status().collection, index.status().aliases) == ("v1", ["photos"])
    assert sorted(two.shards) == ["v1", "v2"]


def test_a_switch_is_one_request_and_those_who_ask_notice_nothing(
    two: Double, tmp_path: Path
) -> None:
    reader = on(two, collection="photos")
    assert reader.status().preprocessing == "dct-scaled"
    two.log.clear()
    assert on(two, collection="v2").alias("photos") == "v1"
    (change,) = [r for r in two.requests("/collections/aliases") if r.method == "POST"]
    assert len(change.body["actions"]) == 1
    assert reader.status().preprocessing == "exact"
    assert reader.status().roots == [str(tmp_path / "photos")]
    assert len(reader.query("a dog")) == 3
    summary = reader.reindex()  # the night after knows the folders
    assert (summary.collection, summary.unchanged) == ("v2", 3)
    assert on(two, collection="v1").alias("photos") == "v2"  # and back
    assert reader.status().collection == "v1"


def test_a_run_ends_in_the_collection_it_began_with(two: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "more", 9, first_seed=50)
    run = on(two, collection="photos").ingest_events(
        [tmp_path / "more"], clipindex.IngestOptions(batch_size=3)
    )
    for event in run:
        if isinstance(event, clipindex.BatchVerified):
            on(two, collection="v2").alias("photos")
    assert [len(stored(on(two, collection=name))) for name in ("v1", "v2")] == [12, 3]


def test_a_query_ends_in_the_collection_it_began_with(two: Double) -> None:
    def switch(request: Request) -> bool:
        if request.path.startswith("/collections/v1/points/query"):
            two.change_aliases({"actions": [named("photos", "v2")]})
        return False

    two.fail("503", when=switch)
    two.drop("v2")
    two.create("v2", {"vectors": {"size": 512, "distance": "Cosine"}})
    assert len(on(two, collection="photos").query("a dog")) == 3
    assert two.aliases == {"photos": "v2"}


def named(alias: str, collection: str) -> dict[str, object]:
    return {"create_alias": {"alias_name": alias, "collection_name": collection}}


@pytest.mark.slow
def test_an_alias_is_locked_as_its_collection_is(two: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "more", 2, first_seed=50)
    run = on(two, collection="photos").ingest_events([tmp_path / "more"])
    next(run)
    with pytest.raises(CollectionBusy):
        on(two, collection="v1").forget(tmp_path / "photos")
    run.close()


def test_an_alias_never_takes_the_place_of_something_else(two: Double) -> None:
    two.create("chat", {"vectors": {"size": 512, "distance": "Cosine"}})
    two.change_aliases({"actions": [named("assistant", "chat")]})
    before = dict(two.aliases)
    with pytest.raises(UsageError, match="'v2' is a collection of its own"):
        on(two, collection="v1").alias("v2")
    with pytest.raises(ContractMismatch, match="stands for 'chat', which was not made by clip"):
        on(two, collection="v1").alias("assistant")
    with pytest.raises(ContractMismatch, match="stands for 'chat', which was not made by clip"):
        on(two).unalias("assistant")
    with pytest.raises(StoreError, match="there is no collection 'v3'"):
        on(two, collection="v3").alias("photos")
    with pytest.raises(StoreError, match="there is no collection 'chat'"):  # an empty one
        on(two, collection="chat").alias("photos")
    with pytest.raises(UsageError, match="cannot name a collection"):
        on(two, collection="v1").alias("no/name")
    with pytest.raises(UsageError, match="no alias 'nothing'"):
        on(two).unalias("nothing")
    assert two.aliases == before


def test_a_target_that_vanishes_meanwhile_leaves_the_alias_as_it_was(two: Double) -> None:
    def vanish(request: Request) -> bool:
        if request.path.startswith("/collections/aliases"):
            two.drop("v2")
        return False

    two.fail("503", when=vanish)
    with pytest.raises(StoreError, match="Collection `v2` doesn't exist"):
        on(two, collection="v2").alias("photos")
    assert two.aliases == {"photos": "v1"}


def test_a_switch_that_another_undoes_at_once_is_not_called_done(
    two: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_collections, "PAUSES", (0.0, 0.01))
    asked = itertools.count()

    def undo(request: Request) -> bool:
        if request.path == "/aliases" and next(asked) > 1:  # after it was looked up
            two.change_aliases({"actions": [named("photos", "v1")]})
        return False

    two.fail("503", when=undo)
    with pytest.raises(VerificationFailed, match="was not switched"):
        on(two, collection="v2").alias("photos")


@pytest.mark.slow
def test_the_commands_switch_show_and_take_away(two: Double) -> None:
    env = {"CLIPINDEX_URL": two.url, "CLIPINDEX_SOURCE": "here"}
    done = run_clipindex("alias", "photos", "--collection", "v2", env=env)
    assert (done.code, done.out) == (0, "'photos' stands for 'v2' (until now for 'v1')\n")
    again = run_clipindex("alias", "photos", "--collection", "v2", "--json", env=env)
    wanted = {"type": "alias", "alias": "photos", "collection": "v2", "before": "v2"}
    assert again.lines == [wanted]
    status = run_clipindex("status", "--collection", "photos", env=env)
    assert re.search(r"collection\s+v2 in http", status.out)
    assert re.search(r"aliases\s+photos", status.out)
    assert run_clipindex("unalias", "photos", env=env).code == 0
    assert two.aliases == {}
    assert sorted(two.shards) == ["v1", "v2"]


def test_a_folder_has_no_aliases_and_says_so(tmp_path: Path) -> None:
    for command in ("alias", "unalias"):
        done = run_clipindex(command, "photos", "--store", tmp_path / "store")
        assert done.code == 2
        assert "only a Qdrant server has aliases" in done.err


# --- contract and adoption -------------------------------------------------------------------


def test_the_contract_travels_with_the_collection(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double), tmp_path / "photos")
    note = double.shards["image_embeddings"].config["metadata"]["clipindex"]
    assert note["contract"]["model"] == "tiny-clip"
    assert note["bundle"] == "tiny"  # its path is this machine's own matter
    other = on(double, preprocessing=clipindex.Preprocessing.EXACT)
    with pytest.raises(ContractMismatch, match="another preprocessing"):
        ingest(other, tmp_path / "photos")
    indexed = {"path", "folders", "sha256", "source", *FILTERED_FIELDS}
    assert set(double.shards["image_embeddings"].indexes) == indexed


@pytest.mark.parametrize("theirs", ["another precision", "the same"])
def test_of_two_makers_the_slower_one_takes_what_the_faster_one_made(
    double: Double, tmp_path: Path, theirs: str
) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double, collection="pattern"), tmp_path / "photos")
    metadata = copy.deepcopy(double.shards["pattern"].config["metadata"])
    if theirs != "the same":
        metadata["clipindex"]["contract"]["precision"] = theirs

    def another_is_faster(request: Request) -> bool:
        if (request.method, request.path) == ("PUT", "/collections/raced"):
            body = {"vectors": {"size": 512, "distance": "Cosine"}, "metadata": metadata}
            double.create("raced", body)
        return False

    double.fail("503", when=another_is_faster)
    if theirs == "the same":
        assert ingest(on(double, collection="raced"), tmp_path / "photos").summary.points == 2
        return
    with pytest.raises(ContractMismatch, match="another precision"):
        ingest(on(double, collection="raced"), tmp_path / "photos")


def test_a_collection_of_somebody_else_is_left_alone(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    vectors = {"size": 512, "distance": "Cosine"}
    double.create("theirs", {"vectors": vectors})
    point = Point(uuid.uuid4(), np.eye(1, 512, dtype=np.float32)[0], {"a": 1})
    client = Connection(Server(double.url), QUICK)
    client.call("filling", lambda session: session.writes.upsert("theirs", [point]))
    client.close()
    with pytest.raises(ContractMismatch, match="was not made by clipindex"):
        ingest(on(double, collection="theirs"), tmp_path / "photos")
    with pytest.raises(ContractMismatch, match="was not made by clipindex"):
        on(double, collection="theirs").query("a dog")


def test_an_empty_collection_made_by_hand_is_adopted(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    double.create("mine", {"vectors": {"size": 512, "distance": "Cosine", "on_disk": True}})
    assert ingest(on(double, collection="mine"), tmp_path / "photos").summary.points == 2
    assert double.shards["mine"].config["params"]["vectors"]["on_disk"] is True
    double.create("small", {"vectors": {"size": 100, "distance": "Cosine"}})
    with pytest.raises(ContractMismatch, match="does not have vectors of 512"):
        ingest(on(double, collection="small"), tmp_path / "photos")


def test_a_server_too_old_to_keep_the_contract_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    with Double(tmp_path / "old", version="1.12.4") as old, pytest.raises(StoreError) as caught:
        ingest(on(old), tmp_path / "photos")
    assert "runs Qdrant 1.12.4; clipindex needs 1.16" in caught.value.message
    assert old.shards == {}


def test_on_another_machine_the_model_is_named_once(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double), tmp_path / "photos")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(ClipIndexError, match="no longer at its place") as caught:
        on(double, model=None).query("a dog")
    assert caught.value.exit_code == 4
    ingest(on(double), tmp_path / "photos")
    assert len(on(double, model=None).query("a dog")) == 2


# --- faults ----------------------------------------------------------------------------------

PASSING: list[tuple[str, object, str]] = [
    ("slow", 1.3, "did not answer within 1 s"),
    ("dropped", "", "cut the connection"),
    ("halved", "", "cut the connection"),
    ("truncated", "", "cut short"),
    ("seconds", 0, "too many requests"),
    ("date", 0, "too many requests"),
    ("429", "rate limit", "too many requests (429): rate limit"),
    ("500", "disk on fire", "in trouble (500): disk on fire"),
    ("503", "", "in trouble (503)"),
]
LASTING: list[tuple[str, object, str]] = [
    ("401", "no key", "denies access (401): no key"),
    ("403", "read only", "denies access (403): read only"),
    ("400", "bad vector", "refuses (400): bad vector"),
    ("html", "", "not JSON, such as a web page"),
    ("empty", "", "not Qdrant's"),
    ("redirect", "https://login.example/?next=secret", "redirects to https://login.example (307)"),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts of a second, so that a slow server costs the tests little, and patience for a
    machine that is busy with others."""
    monkeypatch.setattr(server_place, "WRITING", RetryPolicy(1, 60.0))
    monkeypatch.setattr(server_place, "READING", RetryPolicy(1, 60.0))


def once_fail(double: Double, kind: str, value: object, times: int = 1) -> None:
    double.fail(kind, value=value, when=is_upsert, times=times)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("kind", "value", "words"), PASSING, ids=lambda value: str(value)[:12])
def test_a_passing_fault_is_waited_out_and_a_lasting_one_named(
    double: Double,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    value: object,
    words: str,
) -> None:
    make_pictures(tmp_path / "photos", 3)
    once_fail(double, kind, value)
    summary = ingest(on(double), tmp_path / "photos").summary
    assert (summary.points, summary.exit_code) == (3, 0)
    assert upserts(double) == 2
    if kind == "slow":
        return  # six of them take too long for a test
    (tmp_path / "photos" / "more.jpg").write_bytes(picture_bytes(50))
    once_fail(double, kind, value, times=99)
    monkeypatch.setattr(server_place, "WRITING", QUICK)
    with pytest.raises(StoreError) as caught:
        ingest(on(double), tmp_path / "photos")
    assert words in caught.value.message
    assert re.search(r"tried for \d s", caught.value.message)
    assert double.url in caught.value.message


@pytest.mark.parametrize(("kind", "value", "words"), LASTING, ids=lambda value: str(value)[:12])
def test_a_fault_that_no_patience_mends_is_not_tried_again(
    double: Double, tmp_path: Path, kind: str, value: object, words: str
) -> None:
    make_pictures(tmp_path / "photos", 3)
    once_fail(double, kind, value, times=99)
    with pytest.raises(StoreError) as caught:
        ingest(on(double, key="the-secret-key"), tmp_path / "photos")
    assert words in caught.value.message
    assert double.url in caught.value.message
    assert upserts(double) == 1
    assert "secret" not in caught.value.message + caught.value.hint + caught.value.path
    double.faults.clear()
    assert ingest(on(double), tmp_path / "photos").summary.points == 3


@pytest.mark.usefixtures("quick")
def test_a_time_out_does_not_mean_not_applied(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 3)
    double.fail("applied", value=1.3, when=is_upsert)
    summary = ingest(on(double), tmp_path / "photos").summary
    assert (summary.points, summary.new) == (3, 3)


@pytest.mark.usefixtures("quick")
def test_a_lost_answer_to_making_the_collection_does_no_harm(
    double: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 2)
    double.fail("applied", value=1.3, when=lambda r: r.method == "PUT" and r.path.count("/") == 2)
    assert ingest(on(double), tmp_path / "photos").summary.points == 2


def test_a_long_wait_is_a_warning_without_the_key(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENT_FOR", 0.0)
    monkeypatch.setattr(connection, "NOTE_EVERY", 0.0)
    double.fail("503", value="key123 is \x1b[2J fine")
    client = Connection(Server(double.url, "key123"), QUICK)
    with pytest.warns(clipindex.ClipIndexWarning) as warned:
        client.call("asking", server_requests.version)
    client.close()
    messages = [str(warning.message) for warning in warned]
    words = rf"the server {double.url} is in trouble (503): *** is \x1b[2J fine; trying for "
    assert any(re.fullmatch(re.escape(words) + r"up to \d s", message) for message in messages)
    assert not any("key123" in message for message in messages)


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_the_server_says_how_long_to_wait(double: Double, kind: str) -> None:
    double.fail(kind, value=2)
    client = Connection(Server(double.url), RetryPolicy(5, 10.0))
    started = time.monotonic()
    client.call("asking", server_requests.version)
    assert 0.9 < time.monotonic() - started < 9
    double.fail(kind, value=60)
    with pytest.raises(StoreError, match="too many requests"):
        client.call("asking", server_requests.version)
    assert time.monotonic() - started < 20  # a minute is more than this caller's patience
    client.close()


@pytest.mark.parametrize("kind", ["drip", "drip headers"])
def test_a_server_that_drips_is_not_waited_for_without_end(double: Double, kind: str) -> None:
    client = Connection(Server(double.url), RetryPolicy(1, 1.5))
    double.fail(kind, value=20)
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"did not complete its answer within [12] s"):
        client.call("asking", server_requests.version)
    assert time.monotonic() - started < 10
    assert client.call("asking", server_requests.version) == "1.19.0"
    client.close()


@pytest.mark.parametrize(
    ("kind", "words"), [("gzip", "compressed its answer"), ("large", "larger than 1 MiB")]
)
def test_the_size_of_an_answer_is_bounded(
    double: Double, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    monkeypatch.setattr(session, "LARGEST_ANSWER", 1 << 20)
    client = Connection(Server(double.url), QUICK)
    double.fail(kind, value=5 << 20)
    with pytest.raises(StoreError, match=words):
        client.call("asking", server_requests.version)
    assert client.call("asking", server_requests.version) == "1.19.0"
    assert {request.headers["accept-encoding"] for request in double.log} == {"identity"}
    client.close()


@pytest.mark.parametrize("stolen", ["/tmp/elsewhere/x", "../../x", "", "a" * 300, "\x1b[2J"])
def test_what_a_server_says_never_becomes_a_file_name(
    double: Double, tmp_path: Path, stolen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double), tmp_path / "photos")
    note = double.shards["image_embeddings"].config["metadata"]["clipindex"]
    note["noted"]["collection"] = stolen
    before = {path.parent for path in tmp_path.rglob("*.sqlite")}
    if not stolen.isprintable():
        with pytest.raises(StoreError, match="not printable"):
            ingest(on(double), tmp_path / "photos")
        return
    assert ingest(on(double), tmp_path / "photos").summary.unchanged == 2
    assert {path.parent for path in tmp_path.rglob("*.sqlite")} == before
    assert not Path("/tmp/elsewhere").exists()


def test_names_from_a_server_reach_no_terminal_raw(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(on(double), tmp_path / "photos")
    double.aliases["red\x1b[31m"] = "image_embeddings"
    assert on(double).status().aliases == [r"red\x1b[31m"]
    double.aliases["photos"] = "../\x1b[2J"
    with pytest.raises(UsageError) as caught:
        on(double, collection="photos").status()
    assert caught.value.message.isprintable()
    note = double.shards["image_embeddings"].config["metadata"]["clipindex"]
    for field in ("model", "revision", "precision"):
        original = note["contract"][field]
        note["contract"][field] = "x\x1b]0;title\x07"
        with pytest.raises(StoreError, match="not printable") as refused:
            on(double).status()
        assert refused.value.message.isprintable()
        note["contract"][field] = original
    note["contract"] = {"\x1b[2J": 1}
    with pytest.raises(StoreError, match="cannot be read") as refused:
        on(double).status()
    assert refused.value.message.isprintable()


@pytest.mark.slow
def test_nobody_listening_is_exit_6_with_the_url_and_never_the_key() -> None:
    with refused_port() as url:
        env = {"CLIPINDEX_URL": url, "CLIPINDEX_API_KEY": "the-secret-key"}
        ended = run_clipindex("status", "--json", env=env)
    assert ended.code == 6
    assert ended.lines[0]["kind"] == "StoreError"
    assert f"{url} cannot be reached" in ended.err
    assert "secret" not in ended.err + ended.out


@pytest.mark.slow
def test_the_key_is_sent_and_a_wrong_one_is_exit_6(double: Double, tmp_path: Path) -> None:
    double.key = "right"
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double, key="right\n"), tmp_path / "photos")
    where = ("query", "a dog", "--url", double.url, "--model", TINY)
    wrong = run_clipindex(*where, env={"CLIPINDEX_API_KEY": "wr0ng"})
    assert (wrong.code, run_clipindex(*where).code) == (6, 6)
    assert "denies access (401)" in wrong.err
    assert "wr0ng" not in wrong.err
    assert run_clipindex(*where, env={"CLIPINDEX_API_KEY": "right"}).code == 0


def test_a_key_over_plain_http_is_refused_off_this_machine() -> None:
    ended = run_clipindex(
        "status", "--url", "http://qdrant.example", env={"CLIPINDEX_API_KEY": "the-secret-key"}
    )
    assert ended.code == 8
    assert "http://qdrant.example:6333 unencrypted" in ended.err
    assert "secret" not in ended.err
    with pytest.raises(Refused):
        Server("http://192.168.1.2:6333", "k")
    for fine in ("http://127.0.0.1", "http://localhost:1", "http://[::1]", "https://q.example"):
        Server(fine, "k")


@pytest.mark.parametrize(
    "url",
    ["localhost:6333", "ftp://x", "http://", "http://x:y", "http://a:b@x", "http://x?k=v", ""],
)
def test_what_is_no_url_of_a_server_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        Server(url)


def test_one_server_has_one_spelling() -> None:
    spellings = ["http://Host", "http://host:6333/", "http://host:6333"]
    assert {Server(url).url for url in spellings} == {"http://host:6333"}
    assert Server("https://h:443/qdrant/").url == "https://h:443/qdrant"


def test_a_proxy_is_not_asked_for_this_machine(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused_port() as dead:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, dead)
        client = Connection(Server(double.url), QUICK)
        assert client.call("asking", server_requests.version) == "1.19.0"
        client.close()


def raisable() -> list[Exception]:
    """One of every exception that qdrant-client and httpx define, and those they let through."""
    response = httpx.Response(500, request=httpx.Request("GET", "http://x"))
    sources: list[Exception] = [
        kind("words")
        for kind in vars(httpx).values()
        if isinstance(kind, type)
        and issubclass(kind, httpx.TransportError | httpx.InvalidURL | httpx.StreamError)
        and kind not in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead)
        and kind not in (httpx.RequestNotRead, httpx.StreamError)
    ]
    return [
        *(exceptions.ResponseHandlingException(source) for source in sources),
        exceptions.UnexpectedResponse.for_response(response),
        exceptions.ApiException("words"),
        client_exceptions.ResourceExhaustedResponse("words", 1),
        client_exceptions.QdrantException("words"),
        ValueError("words"),
        AssertionError(),
        RuntimeError("words"),
    ]


@pytest.mark.parametrize("error", raisable(), ids=lambda error: type(error).__name__)
def test_whatever_qdrant_client_raises_lands_in_our_tree(
    double: Double, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.001)
    client = Connection(Server(double.url), RetryPolicy(1, 0.0))

    def fail(_session: Session) -> object:
        with server_writes.plain_failures():
            raise error

    with pytest.raises(StoreError, match=f"failed: the server {double.url}") as caught:
        client.call("trying", fail)
    cause = caught.value.__cause__
    assert cause is not None
    assert error in (cause, cause.__cause__)
    client.close()


def test_no_exception_class_of_qdrant_client_is_unknown_to_the_door() -> None:
    known = {type(error) for error in raisable()}
    for module in (exceptions, client_exceptions):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Exception):
                assert kind in known, kind


def test_a_certificate_that_nobody_knows_is_not_tried_again() -> None:
    import ssl

    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    failure = understand(error, 1)
    assert not failure.passing
    assert "no certificate that this machine trusts" in failure.reason


@pytest.mark.parametrize("value", ["", "soon", "-1", "Fri, 99 Nov 2026", "\u00b2", "9" * 400])
def test_a_retry_after_that_says_nothing_falls_back_to_the_back_off(value: str) -> None:
    answer = ErrorAnswer(503, httpx.Headers([(b"retry-after", value.encode("latin-1"))]), b"")
    failure = understand(answer, 1)
    assert failure.passing
    assert not failure.retry_after


@pytest.mark.parametrize("location", ["http://[", "", "//", "http://user:secret@[::1]:x/?key=y"])
def test_a_redirect_to_nonsense_is_still_named_a_redirect(location: str) -> None:
    answer = ErrorAnswer(307, httpx.Headers({"location": location}), b"[" * 100_000)
    failure = understand(answer, 1)
    assert "redirects to" in failure.reason
    assert "secret" not in failure.reason


# --- several writers -------------------------------------------------------------------------


def start_writer(
    start: Callable[..., Popen[str]], double: Double, photos: Path, source: str
) -> Popen[str]:
    return start(
        *("ingest", photos, "--url", double.url, "--collection", "both", "--source", source),
        *("--model", TINY, "--batch-size", "3", "--workers", "1", "--quiet"),
    )


@pytest.mark.slow
def test_two_interrupted_writers_end_where_both_alone_would(
    double: Double, tmp_path: Path, start_clipindex: Callable[..., Popen[str]]
) -> None:
    sources = {"one": tmp_path / "a", "two": tmp_path / "b"}
    make_pictures(sources["one"], 30)
    make_pictures(sources["two"], 30, first_seed=15)  # half of them are the other's as well
    killed_after = random.Random().randint(2, 16)
    writers = [start_writer(start_clipindex, double, p, s) for s, p in sources.items()]
    deadline = time.monotonic() + 60
    while upserts(double) < killed_after and time.monotonic() < deadline:
        time.sleep(0.002)
    for writer in writers:
        writer.kill()
    writers = [start_writer(start_clipindex, double, p, s) for s, p in sources.items()]
    assert [writer.wait(60) for writer in writers] == [0, 0], killed_after
    alone = [on(double, source, collection="alone") for source in sources]
    for index, photos in zip(alone, sources.values(), strict=True):
        ingest(index, photos)
    assert same_state(on(double, collection="both"), alone[0]), killed_after
    assert len(stored(alone[0])) == 60


def test_parts_in_parallel_are_one_first_run(double: Double, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 30)
    (photos / "copy.jpg").write_bytes((photos / "000.jpg").read_bytes())
    whole = clipindex.Index(tmp_path / "whole", model=str(TINY), source="nas")
    ingest(whole, photos)
    runs: dict[int, Run] = {}
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            part = clipindex.Part(number, 3)
            events = list(on(double, "nas").ingest_events([photos], part=part))
            last = events[-1]
            assert isinstance(last, clipindex.RunFinished)
            runs[number] = Run({}, last.summary, events)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(run.summary.found for run in runs.values()) == 31
    assert same_state(on(double, "nas"), whole)
    after = ingest(on(double, "nas"), photos).summary
    assert (after.unchanged, after.written) == (31, 0)


def test_reindex_of_a_part_knows_what_any_run_here_remembered(
    double: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 12)
    ingest(on(double), tmp_path / "photos")
    found = 0
    for number in (1, 2, 3):
        last = list(on(double).reindex_events(part=clipindex.Part(number, 3)))[-1]
        assert isinstance(last, clipindex.RunFinished)
        assert last.summary.written == 0
        found += last.summary.found
    assert found == 12
    with pytest.raises(UsageError, match="no folder of source 'elsewhere'") as caught:
        list(on(double, "elsewhere").reindex_events(part=clipindex.Part(1, 3)))
    assert "for each --source" in caught.value.hint


def test_two_hosts_have_two_sources(double: Double, tmp_path: Path) -> None:
    (picture,) = make_pictures(tmp_path / "photos", 1)
    index = clipindex.Index(server=Server(double.url), model=str(TINY))
    assert index.place.source not in ("", "local")
    ingest(index, picture.parent)
    ingest(on(double, "another"), picture.parent)
    assert len(on(double).query(picture)[0].paths) == 2


# --- bulk ------------------------------------------------------------------------------------


def links(double: Double) -> int:
    return int(double.shards["image_embeddings"].config["hnsw_config"]["m"])


def test_a_large_first_load_builds_the_index_once_at_its_end(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bulk, "LARGE", 10)
    make_pictures(tmp_path / "photos", 12)
    seen = set()
    for event in on(double).ingest_events([tmp_path / "photos"]):
        if isinstance(event, clipindex.FileDone):
            seen.add(links(double))
    assert seen == {0}
    assert links(double) == 16
    make_pictures(tmp_path / "later", 12, first_seed=50)
    double.log.clear()
    ingest(on(double), tmp_path / "later")  # no first load any more
    assert double.requests("/points")
    assert all(request.method != "PATCH" for request in double.log)


def test_a_killed_large_load_does_not_leave_the_index_off(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bulk, "LARGE", 10)
    make_pictures(tmp_path / "photos", 12)
    patches = itertools.count()
    # the second change of the collection, at the end, never gets through: as after a kill
    double.fail(
        "401", times=99, when=lambda request: request.method == "PATCH" and next(patches) > 0
    )
    with pytest.raises(StoreError, match="denies access"):
        ingest(on(double), tmp_path / "photos", batch_size=5)
    assert links(double) == 0
    double.faults.clear()
    ingest(on(double), tmp_path / "photos")
    assert links(double) == 16


@contextmanager
def opened(double: Double, dimension: int) -> Iterator[server.ServerPoints]:
    """A collection of short vectors on the double, as a run opens it."""
    client = Connection(Server(double.url), connection.WRITING)
    server_collections.create(client, "image_embeddings", dimension, {})
    yield server.ServerPoints(client, "image_embeddings", dimension)
    client.close()


def little_points(start: int, end: int) -> list[Point]:
    angles = np.arange(start, end) / 100_001
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return [
        Point(uuid.UUID(int=number + 1), vector, {"path": f"/{number}.jpg"})
        for number, vector in enumerate(vectors, start)
    ]


def load(store: server.ServerPoints, start: int, end: int) -> None:
    for first in range(start, end, 250):
        write_verified(store, little_points(first, min(first + 250, end)))


@pytest.mark.slow
def test_a_first_load_of_more_than_100_000_points_builds_the_index_at_its_end(
    double: Double,
) -> None:
    with opened(double, 2) as store, store.bulk_load(100_000):
        assert links(double) == 16  # one fewer is no large load
    planned = 100_001

    def first_run(store: server.ServerPoints) -> None:
        with store.bulk_load(planned):
            load(store, 0, 60_000)
            # a process that is killed says nothing at its end
            double.fail("401", when=lambda request: request.method == "PATCH")

    with opened(double, 2) as store, pytest.raises(StoreError, match="denies access"):
        first_run(store)
    assert links(double) == 0
    with opened(double, 2) as store:
        with store.bulk_load(planned - 60_000):
            load(store, 60_000, planned)
            assert links(double) == 0
        assert (links(double), store.count()) == (16, planned)
    double.log.clear()
    with opened(double, 2) as store, store.bulk_load(planned):
        assert links(double) == 16  # no first load any more
    assert all(request.method == "GET" for request in double.log)


def test_a_first_load_that_fails_leaves_the_index_on(double: Double) -> None:
    def interrupted(store: server.ServerPoints) -> None:
        with store.bulk_load(100_001):
            load(store, 0, 500)
            assert links(double) == 0
            raise KeyboardInterrupt

    with opened(double, 2) as store, pytest.raises(KeyboardInterrupt):
        interrupted(store)
    assert links(double) == 16


def test_warnings_of_qdrant_client_reach_nobody(double: Double) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Connection(Server(double.url, "key"), QUICK).close()


# --- what a run costs ------------------------------------------------------------------------


def test_a_run_with_nothing_to_do_asks_the_server_seven_times(
    double: Double, tmp_path: Path
) -> None:
    """Aliases, the contract, the contract again under the lock; at the start the number of points,
    which is in the description, and the points written last, to see that none is gone; points of
    earlier versions, which lack a field; at the end the number again."""
    make_pictures(tmp_path / "photos", 3)
    ingest(on(double), tmp_path / "photos")
    for run in (lambda: on(double).ingest([tmp_path / "photos"]), lambda: on(double).reindex()):
        double.log.clear()
        assert run().unchanged == 3
        assert [request.method for request in double.log] == ["GET"] * 4 + ["POST"] * 2 + ["GET"]


def test_a_batch_costs_the_same_few_requests_however_many_pictures_it_has(
    double: Double, tmp_path: Path
) -> None:
    """One look-up, one write, one reading back; a batch of moves deletes once more. None of it
    grows with the pictures."""
    photos = tmp_path / "photos"
    make_pictures(photos / "a", 2)
    ingest(on(double), photos)

    def requests_of_a_run() -> int:
        double.log.clear()
        summary = on(double).ingest([photos], clipindex.IngestOptions(batch_size=100))
        assert reconciles(summary)
        return len(double.requests("/points")) - 2  # at its start, see above

    make_pictures(photos / "b", 40, first_seed=100)
    assert requests_of_a_run() == 3
    (photos / "b").rename(photos / "c")
    assert requests_of_a_run() == 4
    for path in (photos / "c").iterdir():
        shutil.copy(path, photos / "a" / f"copy-{path.name}")
    assert requests_of_a_run() == 3
    for seed, path in enumerate(sorted((photos / "c").iterdir())):
        path.write_bytes(picture_bytes(500 + seed))
    assert requests_of_a_run() == 3


def test_tags_that_another_machine_gave_outlive_an_ingest_that_knows_nothing_of_them(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines, one source: the catalogue of the second was made before the picture was."""
    photos = tmp_path / "photos"
    make_pictures(photos, 1)
    ingest(on(double, "nas"), photos)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other machine"))
    ingest(on(double, "nas"), photos)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (photos / "new.jpg").write_bytes(picture_bytes(9))
    ingest(on(double, "nas"), photos)
    on(double, "nas").tag({"owner": "ann"}, [photos / "new.jpg"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other machine"))
    ingest(on(double, "nas"), photos)
    assert stored(on(double, "nas"))[str(photos / "new.jpg")].payload["tag_owner"] == "ann"
