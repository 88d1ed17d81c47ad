"""`clipindex serve`: searches and pictures over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx

import clipindex
from conftest import TINY, make_pictures
from serving import Caller, calling, listening


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
