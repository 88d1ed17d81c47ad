"""`clipindex serve --uploads`: pictures that are sent to be indexed, and who may send them."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx

import clipindex
from clipindex.collection.opening import open_for_change
from clipindex.serve import service
from clipindex.serve.guard.tokens import read_tokens
from clipindex.serve.indexing import worker
from clipindex.serve.options import Limits
from conftest import TINY, make_pictures, picture_bytes, run_clipindex
from serving import Caller, calling
from test_places import no_file_larger_than
from test_serve_safety import bearer, bomb

Start = Callable[..., subprocess.Popen[str]]
ACME, GLOBEX = "acme-acme-acme-acme", "globex-globex-globex"
WRITER, READER = "writer-writer-writer", "reader-reader-reader"
TOKENS = f"""
[[token]]
name = "acme"
value = "{ACME}"
where = ["client=acme"]
write = true

[[token]]
name = "globex"
value = "{GLOBEX}"
where = ["client=globex"]
write = true

[[token]]
name = "reader"
value = "{READER}"
"""


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PAUSE", 0.01)
    monkeypatch.setattr(worker, "AGAIN", 0.2)
    monkeypatch.setattr(service, "FACETS_KEEP", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with six pictures."""
    make_pictures(tmp_path / "pictures", 6)
    clipindex.Index(tmp_path / "store", model=str(TINY)).ingest(tmp_path / "pictures")
    return tmp_path / "store"


@pytest.fixture
def caller(store: Path, one_load: None) -> Iterator[Caller]:  # noqa: ARG001
    with calling(clipindex.Index(store), uploads=store.parent / "uploads") as caller:
        yield caller


@pytest.fixture
def guarded(store: Path, one_load: None) -> Iterator[Caller]:  # noqa: ARG001
    file = store.parent / "tokens.toml"
    file.write_text(TOKENS)
    tokens = read_tokens(file, None, WRITER)
    with calling(clipindex.Index(store), tokens=tokens, uploads=store.parent / "up") as caller:
        yield caller


def send(caller: Caller, data: bytes, token: str = "", **fields: Any) -> httpx.Response:
    headers = bearer(token) if token else {}
    files = {"image": ("any.jpg", data)}
    return caller.post("/index", files=files, data=fields, headers=headers)


def name(caller: Caller, path: object, token: str = "", **members: Any) -> httpx.Response:
    return post_json(caller, {"path": str(path), **members}, token)


def post_json(caller: Caller, body: object, token: str = "") -> httpx.Response:
    """Escapes what is not ASCII, half of a surrogate pair too."""
    headers = {"content-type": "application/json"} | (bearer(token) if token else {})
    return caller.post("/index", content=json.dumps(body), headers=headers)


def ended(caller: Caller | httpx.Client, answer: httpx.Response, token: str = "") -> dict[str, Any]:
    """The job that an upload was answered with, once it has ended."""
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        headers = bearer(token) if token else {}
        job = caller.get(answer.headers["location"], headers=headers).json()
        if job["ended"] is not None:
            return dict(job)
        time.sleep(0.02)
    raise AssertionError(job)


def at_once(*calls: Callable[[], httpx.Response]) -> Sequence[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(lambda call: call(), calls))


def kept_in(folder: Path) -> list[str]:
    """The names of all files in a folder of uploads, but for its lock."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def count(caller: Caller) -> int:
    return int(caller.get("/facets").json()["points"])


# --- what comes in -----------------------------------------------------------------------------


def test_a_picture_that_is_sent_is_found_by_its_id_and_tags(caller: Caller) -> None:
    job = ended(caller, send(caller, picture_bytes(50), id="sku-42", tag=["shop=north", "n=1"]))
    assert (job["state"], job["status"], job["id"]) == ("done", "new", "sku-42")
    point = caller.get(f"/points/{job['point']}").json()
    assert point["tags"] == {"shop": "north", "n": "1", "upload": "sku-42"}
    assert Path(point["path"]).read_bytes() == picture_bytes(50)
    found = caller.get("/search", params={"q": "a cat", "where": "upload=sku-42"}).json()
    assert [result["id"] for result in found["results"]] == [job["point"]]
    assert caller.get(f"/thumb/{job['point']}").status_code == 200


def test_json_carries_a_picture_as_well(caller: Caller) -> None:
    encoded = base64.b64encode(picture_bytes(51)).decode()
    body = {"image": f"data:image/jpeg;base64,{encoded}", "id": "a.jpg", "tags": {"shop": "north"}}
    job = ended(caller, caller.post("/index", json=body))
    assert job["tags"] == {"shop": "north", "upload": "a.jpg"}
    assert job["state"] == "done"


def test_a_file_below_an_ingested_folder_is_indexed_by_its_path(
    caller: Caller, store: Path
) -> None:
    clipindex.Index(store).ingest(store.parent / "pictures", tags={"of": "us"}, remember=True)
    path = store.parent / "pictures" / "in a folder" / "new.jpg"
    path.parent.mkdir()
    path.write_bytes(picture_bytes(52))
    job = ended(caller, name(caller, path, tags={"shop": "north"}))
    assert (job["state"], job["path"]) == ("done", str(path))
    point = caller.get(f"/points/{job['point']}").json()
    assert point["tags"] == {"of": "us", "shop": "north"}  # the folder's as well
    again = name(caller, path)
    assert (again.status_code, again.json()["existing"]["id"]) == (200, job["point"])
    path.write_bytes(picture_bytes(53))
    assert ended(caller, name(caller, path))["status"] == "changed"


def test_bytes_that_are_known_are_answered_at_once(caller: Caller, store: Path) -> None:
    first = (store.parent / "pictures" / "003.jpg").read_bytes()
    answer = send(caller, first, id="copy")
    assert (answer.status_code, answer.json()["existing"]["name"]) == (200, "003.jpg")
    job = ended(caller, send(caller, picture_bytes(54), id="x"))
    again = send(caller, picture_bytes(54), id="x")
    assert (again.status_code, again.json()["existing"]["id"]) == (200, job["point"])
    assert not (store.parent / "uploads" / "copy").exists()


def test_an_id_names_one_picture_until_it_is_replaced(caller: Caller) -> None:
    first = ended(caller, send(caller, picture_bytes(55), id="x"))
    refused = send(caller, picture_bytes(56), id="x")
    assert (refused.status_code, refused.json()["hint"][:17]) == (409, "send replace=true")
    second = ended(caller, send(caller, picture_bytes(56), id="x", replace="true"))
    assert (second["point"], second["status"]) == (first["point"], "changed")
    assert count(caller) == 7
    tagged = ended(caller, send(caller, picture_bytes(56), id="x", replace="true", tag="a=b"))
    assert caller.get(f"/points/{tagged['point']}").json()["tags"] == {"a": "b", "upload": "x"}


def test_a_picture_that_cannot_be_read_says_why_and_its_id_is_free(caller: Caller) -> None:
    job = ended(caller, send(caller, picture_bytes(57)[:900], id="x"))
    assert (job["state"], job["point"]) == ("quarantined", None)
    assert "truncated" in job["reason"]
    assert ended(caller, send(caller, picture_bytes(57), id="x"))["state"] == "done"


def test_what_is_sent_is_walked_by_reindex_with_its_tags(guarded: Caller, store: Path) -> None:
    job = ended(guarded, send(guarded, picture_bytes(58), ACME, id="x", tag="n=1"), ACME)
    ended(guarded, send(guarded, picture_bytes(59), WRITER, id="y"), WRITER)
    deadline = time.monotonic() + 20
    while len(roots := clipindex.Index(store).status().root_options) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {(Path(one.path).name, *one.tags.items()) for one in roots} == {
        ("pictures",),
        ("up",),
        ("client=acme", ("client", "acme")),
    }
    summary = clipindex.Index(store).reindex()
    assert (summary.found, summary.unchanged, summary.tagged) == (8, 8, 0)
    point = guarded.get(f"/points/{job['point']}", headers=bearer(ACME)).json()
    assert point["tags"] == {"client": "acme", "n": "1", "upload": "x"}


def test_the_same_bytes_sent_at_once_are_one_job(caller: Caller, store: Path) -> None:
    answers = at_once(*[lambda: send(caller, picture_bytes(48))] * 4)
    points = {answer.json()["existing"]["id"] for answer in answers if answer.status_code == 200}
    jobs = {answer.json()["job"] for answer in answers if answer.status_code == 202}
    assert len(jobs) == 1
    job = ended(caller, next(answer for answer in answers if answer.status_code == 202))
    assert points <= {job["point"]}
    assert count(caller) == 7
    assert len(kept_in(store.parent / "uploads")) == 2  # the picture, and the job's record


def test_one_id_sent_twice_at_once_is_given_to_one_picture(caller: Caller, store: Path) -> None:
    pictures = [picture_bytes(seed) for seed in (46, 47)]
    answers = at_once(*[lambda data=data: send(caller, data, id="x") for data in pictures])
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    first = [answer.status_code for answer in answers].index(202)
    assert ended(caller, answers[first])["state"] == "done"
    assert (store.parent / "uploads" / "x").read_bytes() == pictures[first]


def test_the_same_bytes_under_two_ids_are_embedded_once(caller: Caller) -> None:
    first = ended(caller, send(caller, picture_bytes(45), id="x"))
    second = ended(caller, send(caller, picture_bytes(45), id="y", replace="true"))
    assert (first["status"], second["status"]) == ("new", "duplicate")
    assert len(caller.get(f"/points/{second['point']}").json()["paths"]) == 2


# --- what is wrong with it ---------------------------------------------------------------------


WRONG_IDS = (
    "../x",
    "a/b",
    "..",
    ".hidden",
    "",
    "a\\b",
    "x\0y",
    "a b",
    "é",
    "x.xmp",
    "x.",
    "x.jpg.part",
    "a" * 121,
    "-r",
)


def test_an_id_is_a_plain_name(caller: Caller, store: Path) -> None:
    for wrong in WRONG_IDS:
        assert post_json(caller, {"image": "aGVsbG8=", "id": wrong}).status_code == 400
        answer = send(caller, picture_bytes(60), id=wrong)
        assert (wrong, answer.status_code) == (wrong, 400), answer.text
    assert kept_in(store.parent / "uploads") == []


def test_no_path_leads_out_of_the_folders_that_were_ingested(caller: Caller, store: Path) -> None:
    pictures, secret = store.parent / "pictures", store.parent / "secret.jpg"
    secret.write_bytes(picture_bytes(61))
    (pictures / "link.jpg").symlink_to(secret)
    (store.parent / "elsewhere").mkdir()
    (store.parent / "elsewhere" / "x.jpg").write_bytes(picture_bytes(62))
    (pictures / "folder").symlink_to(store.parent / "elsewhere")
    (pictures / ".hidden.jpg").write_bytes(picture_bytes(63))
    wrong = {
        secret: 403,
        store.parent / "nothing.jpg": 403,  # which says nothing of what there is
        Path("/etc/passwd"): 403,
        pictures: 403,
        pictures / "link.jpg": 404,
        pictures / "folder" / "x.jpg": 404,
        pictures / ".hidden.jpg": 404,
        pictures / "nothing.jpg": 404,
    }
    for path, status in wrong.items():
        assert (path, name(caller, path).status_code) == (path, status)
    for text in (
        f"{pictures}/../secret.jpg",
        f"{pictures}//000.jpg",
        "x.jpg",
        "",
        f"{pictures}/\0",
    ):
        assert name(caller, text).status_code == 400
    assert name(caller, f"{pictures}/\udcff.jpg").status_code == 404
    assert count(caller) == 6


def test_what_a_folders_options_exclude_cannot_be_named(caller: Caller, store: Path) -> None:
    folder = store.parent / "some"
    make_pictures(folder / "private", 1, first_seed=70)
    make_pictures(folder, 1, first_seed=71)
    policy = clipindex.WalkPolicy(exclude=("private",))
    clipindex.Index(store).ingest(folder, policy=policy)
    assert name(caller, folder / "private" / "000.jpg").status_code == 404
    assert name(caller, folder / "000.jpg").status_code == 200


def test_what_is_not_a_picture_is_not_kept(caller: Caller, store: Path) -> None:
    for data in (b"hello" * 100, b"", b"<svg/>", b"%PDF-1.7"):
        assert send(caller, data).status_code == 422
    answer = send(caller, bomb(12_000))
    assert (answer.status_code, answer.json()["error"][:24]) == (413, "the picture is too large")
    assert kept_in(store.parent / "uploads") == []


def test_a_request_that_is_wrong_says_so(caller: Caller) -> None:
    image = base64.b64encode(picture_bytes(72)).decode()
    for body in (
        {},
        {"image": image, "path": "/x"},
        {"image": 5},
        {"image": image, "colour": "red"},
        {"image": image, "tags": ["a=b"]},
        {"image": image, "tags": {"a b": "c"}},
        {"image": image, "tags": {"a": 5}},
        {"image": image, "tags": {"a": "\0"}},
        {"image": image, "tags": {"a": "\ud800"}},
        {"image": image, "tags": {"upload": "x"}},
        {"image": image, "tag": ["a=b", "a=c"]},
        {"image": image, "tag": ["a"]},
        {"image": image, "replace": "perhaps"},
        {"path": "/x.jpg", "id": "x"},
        {"image": image, "id": ["a", "b"]},
    ):
        answer = post_json(caller, body)
        assert (answer.status_code, body) == (400, body), answer.text
    assert caller.post("/index", content=b"x", headers={"content-type": "x/y"}).status_code == 415
    assert caller.post("/index", json=[1]).status_code == 400
    assert caller.get("/jobs/nothing").status_code == 404
    assert caller.get("/index").status_code == 405


def test_a_body_that_is_too_large_is_refused(store: Path) -> None:
    limits = Limits(body=1 << 20)
    with calling(clipindex.Index(store), uploads=store.parent / "up", limits=limits) as caller:
        answer = send(caller, picture_bytes(1) + bytes(2 << 20))
    assert answer.status_code == 413


def test_a_full_disk_is_said_before_anything_is_promised(caller: Caller, store: Path) -> None:
    path = store.parent / "pictures" / "new.jpg"
    path.write_bytes(picture_bytes(73))
    assert count(caller) == 6  # the collection is open
    with no_file_larger_than(100):
        answers = [send(caller, picture_bytes(74), id="x"), name(caller, path)]
    assert [answer.status_code for answer in answers] == [507, 507]
    assert answers[0].json()["error"].startswith("the picture cannot be kept")
    assert kept_in(store.parent / "uploads") == []
    assert ended(caller, send(caller, picture_bytes(74), id="x"))["state"] == "done"


def test_a_picture_that_has_no_place_waits_for_it_alone(guarded: Caller, store: Path) -> None:
    """Somebody has made a link of a client's folder, which leads out of the uploads."""
    part, elsewhere = store.parent / "up" / "client=acme", store.parent / "elsewhere"
    elsewhere.mkdir()
    part.symlink_to(elsewhere)
    answer = send(guarded, picture_bytes(75), ACME, id="x")
    other = ended(guarded, send(guarded, picture_bytes(76), WRITER, id="y"), WRITER)
    assert other["state"] == "done"
    job = guarded.get(answer.headers["location"], headers=bearer(ACME)).json()
    assert job["state"] in ("queued", "running")
    assert list(elsewhere.iterdir()) == []
    part.unlink()
    assert ended(guarded, answer, ACME)["state"] == "done"
    assert (part / "x").read_bytes() == picture_bytes(75)


def test_a_folder_of_the_name_is_no_picture_to_be_replaced(caller: Caller, store: Path) -> None:
    (store.parent / "uploads" / "x").mkdir()
    for replace in ("", "true"):
        answer = send(caller, picture_bytes(77), id="x", replace=replace)
        assert (answer.status_code, answer.json()["error"]) == (409, "a folder has this name")


# --- who may send it ---------------------------------------------------------------------------


def test_a_service_without_uploads_only_reads(store: Path) -> None:
    with calling(clipindex.Index(store)) as caller:
        answer = send(caller, picture_bytes(80))
    assert (answer.status_code, answer.json()["error"]) == (403, "this service only reads")
    assert "--uploads" in answer.json()["hint"]


def test_the_page_of_another_site_sends_nothing(caller: Caller, store: Path) -> None:
    files = {"image": ("x.jpg", picture_bytes(84))}
    foreign = caller.post("/index", files=files, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert caller.post("/index", files=files, headers={"host": "evil.example"}).status_code == 421
    assert kept_in(store.parent / "uploads") == []


def test_only_a_token_that_may_write_writes(guarded: Caller) -> None:
    data = picture_bytes(81)
    assert send(guarded, data).status_code == 401
    assert send(guarded, data, "wrong-wrong-wrong-wrong").status_code == 401
    assert send(guarded, data, READER).status_code == 403
    cookie = guarded.post("/session", headers=bearer(WRITER)).headers["set-cookie"]
    headers = {"cookie": cookie.partition(";")[0]}
    files = {"image": ("x.jpg", data)}
    assert guarded.post("/index", files=files, headers=headers).status_code == 401
    foreign = {**bearer(WRITER), "origin": "https://evil.example"}
    assert guarded.post("/index", files=files, headers=foreign).status_code == 403
    assert ended(guarded, send(guarded, data, WRITER), WRITER)["state"] == "done"


def test_a_token_for_a_part_writes_into_that_part_alone(guarded: Caller, store: Path) -> None:
    data = picture_bytes(82)
    job = ended(guarded, send(guarded, data, ACME, id="x"), ACME)
    assert job["tags"] == {"client": "acme", "upload": "x"}
    assert guarded.get(f"/points/{job['point']}", headers=bearer(ACME)).status_code == 200
    assert guarded.get(f"/points/{job['point']}", headers=bearer(GLOBEX)).status_code == 404
    assert guarded.get(f"/jobs/{job['job']}", headers=bearer(GLOBEX)).status_code == 404
    assert guarded.get(f"/jobs/{job['job']}", headers=bearer(READER)).status_code == 200
    # the same bytes and the same id: nothing says that another client has them
    other = send(guarded, data, GLOBEX, id="x")
    assert (other.status_code, "existing" in other.json()) == (202, False)
    second = ended(guarded, other, GLOBEX)
    assert (second["state"], second["status"]) == ("done", "new")  # as if nobody else had it
    assert second["point"] != job["point"]
    point = guarded.get(f"/points/{second['point']}", headers=bearer(GLOBEX)).json()
    assert point["tags"] == {"client": "globex", "upload": "x"}
    assert len(point["paths"]) == 1
    for tags in (["client=globex"], ["client=other"]):
        assert send(guarded, data, ACME, id="y", tag=tags).status_code == 403
    known = (store.parent / "pictures" / "000.jpg").read_bytes()
    assert ended(guarded, send(guarded, known, ACME, id="z"), ACME)["state"] == "done"
    path = store.parent / "pictures" / "001.jpg"
    assert name(guarded, path, ACME).status_code == 403  # it would be shown to acme
    assert name(guarded, path, WRITER).status_code == 200


def test_a_tag_never_hides_the_metadata_that_tokens_are_told_apart_by(
    guarded: Caller, store: Path
) -> None:
    table = store.parent / "clients.csv"
    table.write_text("name,client\n000.jpg,acme\n")
    clipindex.Index(store).metadata(table)
    answer = send(guarded, picture_bytes(83), ACME)
    assert (answer.status_code, answer.json()["error"][:20]) == (409, "'client' is metadata")
    results = guarded.get("/search?q=x", headers=bearer(ACME)).json()["results"]
    assert [result["name"] for result in results] == ["000.jpg"]


def test_uploads_that_nobody_could_send_are_refused_at_the_start(store: Path) -> None:
    done = run_clipindex(
        *("serve", "--store", store, "--uploads", store.parent / "up"),
        env={"CLIPINDEX_TOKEN": READER},
    )
    assert done.code == 2
    assert "no token may write" in done.err
    assert "CLIPINDEX_WRITE_TOKEN" in done.err


# --- nothing that was accepted is lost ---------------------------------------------------------


@pytest.mark.usefixtures("one_load")
def test_what_waits_when_the_service_ends_is_done_at_its_next_start(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = store.parent / "uploads"
    with monkeypatch.context() as stopped:
        stopped.setattr(worker, "is_written_by_another", lambda _: True)
        with calling(clipindex.Index(store), uploads=uploads) as caller:
            answers = [send(caller, picture_bytes(90 + n), id=f"p{n}") for n in range(3)]
            time.sleep(0.1)
            job = caller.get(answers[0].headers["location"]).json()
            assert job["state"] == "queued"
            assert 'kind="uploads"} 3.0' in caller.get("/metrics").text
    (uploads / ".clipindex" / "jobs" / "left.bytes").write_bytes(b"nobody was told of it")
    (uploads / ".clipindex" / "jobs" / "x.json").write_bytes(b"{")
    with calling(clipindex.Index(store), uploads=uploads) as caller:
        done = [ended(caller, answer) for answer in answers]
        assert [job["state"] for job in done] == ["done"] * 3
        assert [job["tags"] for job in done] == [{"upload": f"p{n}"} for n in range(3)]
        assert count(caller) == 9
    assert len(kept_in(uploads)) == 3 + 3 + 1
    with calling(clipindex.Index(store), uploads=uploads) as caller:  # and it is remembered
        assert [ended(caller, answer) for answer in answers] == done


@pytest.mark.usefixtures("one_load")
def test_what_waits_is_done_wherever_its_folder_is_moved(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        stopped.setattr(worker, "is_written_by_another", lambda _: True)
        with calling(clipindex.Index(store), uploads=store.parent / "uploads") as caller:
            answer = send(caller, picture_bytes(99), id="x")
    (store.parent / "uploads").rename(store.parent / "moved")
    with calling(clipindex.Index(store), uploads=store.parent / "moved") as caller:
        assert ended(caller, answer)["state"] == "done"
    assert (store.parent / "moved" / "x").read_bytes() == picture_bytes(99)


@pytest.mark.slow
def test_a_service_that_is_killed_after_its_answer_loses_nothing(
    store: Path, start_clipindex: Start
) -> None:
    uploads = store.parent / "up loads"
    arguments = ("serve", "--store", store, "--port", 0, "--uploads", uploads, "--json", "--quiet")
    process = start_clipindex(*arguments)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"].rstrip("/")
    files = {"image": ("x.jpg", picture_bytes(100))}
    with httpx.Client(base_url=url) as client:
        answer = client.post("/index", files=files, data={"id": "kept", "tag": "a=b"})
        process.send_signal(signal.SIGKILL)
    assert answer.status_code == 202
    process.wait()
    with calling(clipindex.Index(store), uploads=uploads) as caller:
        job = ended(caller, answer)
        assert job["state"] == "done"
        point = caller.get(f"/points/{job['point']}").json()
    assert point["tags"] == {"a": "b", "upload": "kept"}
    assert (uploads / "kept").read_bytes() == picture_bytes(100)


HOLDS = """
import sys, clipindex
from clipindex.collection.opening import open_for_change
with open_for_change(clipindex.Index(sys.argv[1]).place, "ingest"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_job_waits_for_its_turn_behind_an_ingest(caller: Caller, store: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    with writer:
        assert writer.stdout.readline() == "held\n"
        answer = send(caller, picture_bytes(101), id="x")
        assert answer.status_code == 202
        time.sleep(0.3)
        job = caller.get(answer.headers["location"]).json()
        assert (job["state"], job["ended"]) == ("queued", None)
        assert count(caller) == 6
        writer.communicate("")
    assert ended(caller, answer)["state"] == "done"


def test_a_job_that_could_not_be_written_is_tried_again(caller: Caller, store: Path) -> None:
    with open_for_change(clipindex.Index(store).place, "ingest"):  # within this process
        answer = send(caller, picture_bytes(102), id="x")
        time.sleep(0.3)
    assert ended(caller, answer)["state"] == "done"
