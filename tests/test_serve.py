"""`clipindex serve`: searches and pictures over HTTP."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx

import clipindex
from clipindex import Condition, Hit, PictureFilter, QueryOptions, Sort
from clipindex.cli.app import _build
from clipindex.cli.results import remarks
from clipindex.search.judge import nothing_fits
from clipindex.serve.bodies import SIGNS
from clipindex.serve.options import Limits
from clipindex.serve.parameters import PARAMETERS
from clipindex.serve.wanted import wanted
from clipindex.stores.search_method import Accuracy
from conftest import TINY, make_pictures, picture_bytes
from serving import Caller, calling, listening

pytestmark = pytest.mark.usefixtures("one_load")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with forty pictures, of which ten are a client's, and one copy."""
    folder = tmp_path_factory.mktemp("serve")
    paths = make_pictures(folder / "pictures", 40)
    (folder / "pictures" / "copy.jpg").write_bytes(paths[0].read_bytes())
    index = clipindex.Index(folder / "store", model=str(TINY))
    index.ingest(folder / "pictures")
    index.tag({"client": "acme"}, paths[:10])
    index.tag({"client": "globex"}, paths[10:])
    return folder


@pytest.fixture
def index(folder: Path) -> clipindex.Index:
    return clipindex.Index(folder / "store", model=str(TINY))


@pytest.fixture
def caller(index: clipindex.Index) -> Iterator[Caller]:
    with calling(index) as caller:
        yield caller


def test_a_text_finds_what_the_command_finds(caller: Caller) -> None:
    answer = caller.get("/search", params={"q": "a cat", "limit": 5}).json()
    hits = caller.service.index.query("a cat", clipindex.QueryOptions(limit=5))
    assert [result["id"] for result in answer["results"]] == [hit.id for hit in hits]
    assert [result["similarity"] for result in answer["results"]] == [hit.score for hit in hits]
    assert [result["z"] for result in answer["results"]] == [hit.z for hit in hits]
    assert answer["more"] is True


def test_a_picture_finds_itself_however_it_is_sent(caller: Caller, folder: Path) -> None:
    data = (folder / "pictures" / "007.jpg").read_bytes()
    encoded = base64.b64encode(data).decode()
    answers = [
        caller.post("/search", files={"image": ("x.jpg", data)}, data={"limit": "1"}),
        caller.post("/search", json={"image": encoded, "limit": 1}),
        caller.post("/search", json={"image": [f"data:image/jpeg;base64,{encoded}"], "limit": 1}),
    ]
    for answer in answers:
        (result,) = answer.json()["results"]
        assert (result["name"], result["similarity"]) == ("007.jpg", 1.0)


def test_an_indexed_picture_is_a_term_by_its_id(caller: Caller) -> None:
    (first,) = caller.get("/search", params={"q": "a cat", "limit": 1}).json()["results"]
    assert caller.paths(like=first["id"], limit=1) == [first["name"]]
    assert first["name"] not in caller.paths(like=first["id"], limit=40, exclude_self="true")
    unknown = caller.get("/search", params={"like": "nonsense"})
    assert unknown.status_code == 400


def test_pages_are_the_list_cut_into_pieces(caller: Caller) -> None:
    whole = caller.paths(q="a cat", limit=40)
    pages = [caller.paths(q="a cat", limit=15, offset=offset) for offset in (0, 15, 30)]
    assert [name for page in pages for name in page] == whole
    by_path = [
        caller.paths(q="a cat", limit=15, offset=offset, sort="path") for offset in (0, 15, 30)
    ]
    assert by_path == [sorted(page) for page in pages]


def test_a_missing_query_says_so(caller: Caller) -> None:
    for query in ({}, {"q": ""}, {"limit": 3}, {"where": "client=acme"}):
        answer = caller.get("/search", params=query)
        assert (answer.status_code, answer.json()["error"]) == (400, "Missing query")


# Options of the command that have no place in a request, and why.
NOT_OF_A_REQUEST = (
    {"terms"}  # `q`
    | {"store", "url", "collection", "timeout", "config", "model"}  # the service's own
    | {"batch"}  # a request asks one thing
    | {"json", "paths", "null", "quiet", "verbose", "log_file"}  # how a terminal is written to
    | {"show", "open_hits", "html"}  # for who sits before it: the page has its own ways
)


def test_every_option_of_query_is_a_parameter_of_a_search() -> None:
    options = {parameter.name for parameter in _build("query").params} - {"help"}
    assert options >= NOT_OF_A_REQUEST
    missing = options - NOT_OF_A_REQUEST - {*PARAMETERS} - {*SIGNS}
    assert not missing, f"enter them in clipindex.serve.parameters: {missing}"


def test_every_parameter_reaches_the_query() -> None:
    fields = {
        "q": ["2*dog"],
        "minus": ["cat"],
        "under": ["/a"],
        "where": ["a=b", "n<3"],
        "where_not": ["c=d"],
        "taken": ["2024"],
        "camera": ["canon"],
        "near": ["1,2"],
        "within": ["5km"],
        "type": ["jpg"],
        "min_size": ["10x20"],
        "orientation": ["square"],
        "limit": ["7"],
        "offset": ["3"],
        "min_score": ["0.1"],
        "min_z": ["2"],
        "exact": ["true"],
        "ensemble": ["1"],
        "exclude_self": [""],
        "group_by": ["sku"],
        "copies": ["true"],
        "pairs": ["1"],
        "sort": ["taken"],
        "after": ["2024-02"],
        "before": ["2024-05"],
        "text": ["3*x"],
        "like": ["0.5*id"],
        "unlike": ["id"],
    }
    asked = wanted(fields, [], ())
    assert [(term.value, term.weight) for term in asked.terms] == [
        *[("dog", 2.0), ("3*x", 1.0), ("id", 0.5)],
        *[("cat", -1.0), ("id", -1.0)],
    ]
    assert asked.offset == 3
    assert asked.options == QueryOptions(
        limit=7,
        min_score=0.1,
        min_z=2.0,
        under=(Path("/a"),),
        pictures=PictureFilter(
            since="2024-02-01",
            before="2024-05-01",
            cameras=("canon",),
            near=(1.0, 2.0, 5000.0),
            formats=("JPEG",),
            orientations=("square",),
            min_width=10,
            min_height=20,
            where=(Condition("a", "=", "b"), Condition("n", "<", "3")),
            where_not=(Condition("c", "=", "d"),),
        ),
        accuracy=Accuracy.EXACT,
        ensemble=True,
        sort=Sort.TAKEN,
        group_by="sku",
        exclude_self=True,
        copies=True,
        pairs=True,
    )


NO_VALUES = [
    ({"limit": "0"}, "limit is a whole number from 1 to 1,000"),
    ({"limit": "x"}, "limit is a whole number"),
    ({"offset": "9999", "limit": "2"}, "ends after 10,000"),
    ({"min_score": "nan"}, "min_score is a number from -1 to 1"),
    ({"min_z": "2000"}, "min_z is a number"),
    ({"sort": "size"}, "sort is one of score, taken, path"),
    ({"copies": "perhaps"}, "copies is true or false"),
    ({"exact": "1", "approximate": "1"}, "exclude each other"),
    ({"limit": ["1", "2"]}, "limit is given twice"),
    ({"colour": "red"}, "there is no parameter 'colour'"),
    ({"under": "Pictures"}, "whole path"),
    ({"where": "client"}, "is not a condition"),
    ({"taken": "yesterday"}, "is not a date"),
    ({"within": "5km"}, "within needs a place"),
    ({"near": "here"}, "is not a place"),
    ({"type": "doc"}, "is not a type"),
    ({"min_size": "big"}, "is not a size"),
    ({"orientation": "up"}, "orientation is one of"),
    ({"group_by": "sku"}, "no picture has a tag or metadata called 'sku'"),
    ({"q": "0*dog"}, "no usable weight"),
    ({"like": "nonsense"}, "no picture has the id 'nonsense'"),
    ({"under": "/nowhere"}, "nothing is indexed below"),
    ({"camera": "canon"}, "no picture was taken with a camera"),
    ({"where": "a\0=b"}, "NUL"),
]


def test_a_value_that_is_none_is_said(caller: Caller) -> None:
    for query, words in NO_VALUES:
        answer = caller.get("/search", params={"q": "a cat", **query})
        assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text


def test_a_parameter_that_is_misspelt_is_answered_with_the_nearest(caller: Caller) -> None:
    answer = caller.get("/search", params={"q": "a cat", "camra": "canon"}).json()
    assert answer == {"error": "there is no parameter 'camra'", "hint": "is camera meant?"}
    hint = caller.get("/search", params={"q": "a cat", "xyzzy": "1"}).json()["hint"]
    assert hint.startswith("there are after, ")


def test_bodies_that_cannot_be_read_are_refused(caller: Caller) -> None:
    json = {"content-type": "application/json"}
    answers = [
        (400, caller.post("/search", content=b"{", headers=json)),
        (400, caller.post("/search", content=b"[" * 100_000, headers=json)),
        (400, caller.post("/search", json=["cat"])),
        (400, caller.post("/search", json={"q": {"text": "cat"}})),
        (422, caller.post("/search", json={"image": "%%%"})),
        (415, caller.post("/search", content=b"cat", headers={"content-type": "text/plain"})),
        (400, caller.post("/search", files={"file": b"x"})),
        (400, caller.post("/search", files=[("image", b"x")] * 17)),
    ]
    for status, answer in answers:
        assert (answer.status_code, "error" in answer.json()) == (status, True)


def test_a_picture_is_subtracted(caller: Caller, folder: Path) -> None:
    data = (folder / "pictures" / "007.jpg").read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    wanted = {"q": "a cat", "limit": 50}
    answers = [
        caller.post("/search", data=wanted, files={"minus": ("x.jpg", data)}).json(),
        caller.post("/search", json={**wanted, "minus": [url]}).json(),
    ]
    for answer in answers:
        assert answer["results"][-1]["name"] == "007.jpg"


def test_groups_show_the_best_of_each(caller: Caller) -> None:
    answer = caller.get("/search", params={"q": "a cat", "group_by": "client"}).json()
    assert {result["group"] for result in answer["results"]} == {"acme", "globex"}
    assert answer["more"] is False


def test_what_does_nothing_here_is_noted(caller: Caller) -> None:
    answer = caller.get("/search", params={"q": "a cat", "approximate": "1", "limit": 1}).json()
    assert answer["notes"] == ["an embedded store is always searched exactly"]


def test_nothing_fits_is_said_as_the_command_says_it() -> None:
    hit = Hit(rank=1, score=0.1, path="a", paths=("a",), id="a", width=1, height=1, taken=None)
    weak, good = replace(hit, z=1.0, fits=False), replace(hit, z=3.0, fits=True)
    assert nothing_fits([weak, weak], [weak]) is True
    assert nothing_fits([weak], []) is True
    assert nothing_fits([weak, good], [weak, good]) is False
    assert nothing_fits([hit], [hit]) is None
    assert nothing_fits([], []) is None
    assert list(remarks([weak], [weak], None)) == ["nothing fits: best z 1.0"]


# --- pictures by URL ---------------------------------------------------------------------------


class Pictures(BaseHTTPRequestHandler):
    """A host with a picture and the traps of one."""

    data = picture_bytes(7)

    def do_GET(self) -> None:
        where = {"/away": "http://127.0.0.2/x", "/on": "/x.jpg", "/round": "/round"}.get(self.path)
        self.send_response(302 if where else 200 if "x.jpg" in self.path else 404)
        if where:
            self.send_header("location", where)
        self.end_headers()
        self.wfile.write(self.data if self.path == "/x.jpg" else self.data * 99)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_picture_is_fetched_from_hosts_that_are_allowed(
    index: clipindex.Index, host: str
) -> None:
    port = host.partition(":")[2]
    limits = Limits(body=len(Pictures.data) * 2)
    with calling(index, fetch_from=(host, f"localhost:{port}"), limits=limits) as caller:
        for path in ("/x.jpg", "/on"):
            answer = caller.post("/search", json={"url": f"http://{host}{path}", "limit": 1})
            assert answer.json()["results"][0]["name"] == "007.jpg"
        named = caller.get("/search", params={"url": f"http://localhost:{port}/x.jpg"})
        assert named.status_code == 200  # its address is allowed by itself
        refused = {
            f"http://{host}/away": 403,  # a redirect to another host
            f"http://{host}/round": 502,
            f"http://{host}/missing": 502,
            f"http://{host}/large/x.jpg": 413,
            "http://127.0.0.1:1/x.jpg": 403,
            "http://169.254.169.254/latest/meta-data": 403,
            f"http://127.0.0.2:{port}/x.jpg": 403,
            f"http://ann@{host}/x.jpg": 400,
            "file:///etc/passwd": 400,
            "ftp://127.0.0.1/x.jpg": 400,
            "nonsense": 400,
        }
        for url, status in refused.items():
            assert caller.get("/search", params={"url": url}).status_code == status, url
    with calling(index, fetch_from=(f"localhost:{port}",)) as caller:  # its address is private
        answer = caller.get("/search", params={"url": f"http://localhost:{port}/x.jpg"})
        assert answer.status_code == 403
    with calling(index) as caller:
        assert caller.get("/search", params={"url": f"http://{host}/x.jpg"}).status_code == 403


def test_notes_are_in_the_answer(caller: Caller) -> None:
    notes = caller.get("/search", params={"q": "a cat", "after": "2020"}).json()["notes"]
    assert notes == ["41 pictures without a date are left out"]


def test_a_picture_by_its_id(caller: Caller) -> None:
    (result,) = caller.get("/search", params={"q": "a cat", "limit": 1}).json()["results"]
    point = caller.get(f"/points/{result['id']}").json()
    assert (point["path"], len(point["sha256"])) == (result["path"], 64)
    original = caller.get(f"/original/{result['id']}")
    assert original.content == Path(result["path"]).read_bytes()
    assert original.headers["content-type"] == "image/jpeg"
    again = caller.get(
        f"/original/{result['id']}", headers={"if-none-match": original.headers["etag"]}
    )
    assert again.status_code == 304


def test_facets_count_what_there_is(caller: Caller, folder: Path) -> None:
    facets = caller.get("/facets").json()
    assert facets["points"] == 41
    assert facets["tags"] == {"client": [["globex", 30], ["acme", 10]]}
    assert facets["types"] == [["JPEG", 41]]
    assert facets["folders"] == [[str(folder / "pictures"), 41]]


def test_it_listens_and_answers(index: clipindex.Index) -> None:
    with listening(index) as url, httpx.Client() as client:
        assert client.get(f"{url}/healthz").json()["status"] == "ok"
        assert client.get(f"{url}/").status_code == 200
