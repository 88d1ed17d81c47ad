"""`clipindex serve` beside other commands: an ingest, a switch to another model, a stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx

import clipindex
from clipindex import Server
from clipindex.serve import service
from clipindex.serve.options import Limits
from conftest import TINY, make_pictures, run_clipindex
from qdrant_double import Double
from serving import Caller, calling, listening
from test_serve_safety import bomb


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facets are as fresh as searches."""
    monkeypatch.setattr(service, "FACETS_KEEP", 0.0)


Start = Callable[..., subprocess.Popen[str]]
SEARCH = "/search?q=a+cat&limit=1000"


def count(caller: Caller | httpx.Client) -> int:
    answer = caller.get(SEARCH)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["results"])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with forty pictures."""
    make_pictures(tmp_path / "old", 40)
    clipindex.Index(tmp_path / "store", model=str(TINY)).ingest(tmp_path / "old")
    return tmp_path / "store"


@pytest.mark.slow
def test_an_ingest_gets_the_collection_and_searches_go_on(
    store: Path, tmp_path: Path, start_clipindex: Start
) -> None:
    make_pictures(tmp_path / "new", 150, first_seed=1000)
    waits: list[float] = []
    counts: list[int] = []
    with listening(clipindex.Index(store)) as url, httpx.Client(base_url=url) as client:
        count(client)
        run = start_clipindex("ingest", tmp_path / "new", "--store", store, "--batch-size", 10)
        while run.poll() is None:
            start = time.perf_counter()
            counts.append(count(client))
            waits.append(time.perf_counter() - start)
            time.sleep(0.02)
        assert run.returncode == 0, run.communicate()
        assert count(client) == 190  # without a restart
    assert counts == sorted(counts)
    assert [number for number in counts if 40 < number < 190]  # answered by the ingest itself
    assert sorted(waits)[int(0.95 * len(waits))] < 1
    assert max(waits) < 3  # a loaded machine; alone it is below one second


@pytest.mark.usefixtures("one_load")
def test_new_pictures_show_without_a_restart(store: Path, tmp_path: Path) -> None:
    with calling(clipindex.Index(store)) as caller:
        assert count(caller) == 40
        make_pictures(tmp_path / "new", 5, first_seed=1000)
        clipindex.Index(store).ingest(tmp_path / "new")
        assert count(caller) == 45
        assert caller.get("/facets").json()["points"] == 45
        clipindex.Index(store).forget_and_prune(tmp_path / "new")
        assert count(caller) == 40


@pytest.mark.usefixtures("one_load")
def test_a_switch_to_another_model_is_followed(store: Path, other: str) -> None:
    answers: list[httpx.Response] = []
    with calling(clipindex.Index(store)) as caller:
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                answers.append(caller.get(SEARCH))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            clipindex.Index(store).switch_model(other)
        finally:
            ended.set()
            asking.join()
        assert {answer.status_code for answer in answers} == {200}
        assert caller.get("/facets").json()["model"] == "other-clip"
        (first, *_) = caller.get(SEARCH).json()["results"]
        assert caller.paths(like=first["id"], limit=1) == [first["name"]]


@pytest.mark.filterwarnings("default::clipindex.ClipIndexWarning")  # of a machine that is busy
@pytest.mark.usefixtures("one_load")
def test_a_collection_of_a_server_is_searched_too(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", 12)
    index = clipindex.Index(server=Server(double.url), source="here", model=str(TINY))
    index.ingest(tmp_path / "pictures")
    with calling(clipindex.Index(server=Server(double.url), source="here")) as caller:
        assert count(caller) == 12
        make_pictures(tmp_path / "new", 3, first_seed=50)
        index.ingest(tmp_path / "new")
        assert count(caller) == 15
        facets = caller.get("/facets").json()
        assert (facets["points"], len(facets["folders"])) == (15, 2)
        (first, *_) = caller.get(SEARCH).json()["results"]
        assert caller.paths(like=first["id"], limit=1) == [first["name"]]
        assert caller.get(f"/original/{first['id']}").status_code == 200
    elsewhere = clipindex.Index(server=Server(double.url), source="elsewhere", model=str(TINY))
    with calling(elsewhere) as caller:
        answer = caller.get(f"/original/{first['id']}")
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            "the file is on another machine",
        )


@pytest.mark.usefixtures("one_load")
def test_a_store_that_went_away_is_an_answer_too(store: Path) -> None:
    with calling(clipindex.Index(store)) as caller:
        store.rename(store.with_name("elsewhere"))
        answer = caller.get(SEARCH)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "there is no collection" in answer.json()["error"]
        store.with_name("elsewhere").rename(store)
        assert count(caller) == 40


@pytest.mark.slow
def test_sigterm_ends_it_once_the_requests_in_flight_are_answered(
    store: Path, start_clipindex: Start
) -> None:
    process = start_clipindex("serve", "--store", store, "--port", 0, "--json", "--quiet")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    request = httpx.Request("POST", f"{url}search", files={"image": ("x.png", bomb(9_000))})
    headers = {**request.headers, "expect": "100-continue", "connection": "close"}
    with socket.create_connection((request.url.host, request.url.port or 80), 30) as connection:
        lines = ["POST /search HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # from now on it is in flight
        process.send_signal(signal.SIGTERM)
        connection.sendall(request.read())
        answer = connection.recv(100)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert answer.startswith(b"HTTP/1.1 200")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_that_is_taken_is_said(store: Path) -> None:
    with listening(clipindex.Index(store), limits=Limits(connections=5)) as url:
        port = url.rpartition(":")[2]
        done = run_clipindex("serve", "--store", store, "--port", port)
    assert done.code == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.err
    assert "--port" in done.err
