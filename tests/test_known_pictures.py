"""A query by an indexed picture takes its stored vector: nothing is decoded, no model loaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.errors import UsageError
from clipindex.search import query as querying
from clipindex.search import terms as reading
from clipindex.search.hits import Hit
from clipindex.search.query import QueryOptions
from clipindex.search.terms import Term, TermKind
from clipindex.stores.address import Server
from conftest import TINY, make_pictures, picture_bytes


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "pictures", 5)
    (tmp_path / "pictures" / "gone.jpg").write_bytes(picture_bytes(77))
    return tmp_path / "pictures"


@pytest.fixture(params=["embedded", "server"])
def index(request: pytest.FixtureRequest, pictures: Path) -> clipindex.Index:
    """The pictures, indexed."""
    if request.param == "server":
        server = Server(request.getfixturevalue("double").url)
        made = clipindex.Index(server=server, source="a", model=str(TINY))
    else:
        made = clipindex.Index(pictures.parent / "store", model=str(TINY))
    made.ingest([pictures])
    return made


def refused(*_: object, **__: object) -> None:
    raise AssertionError("a picture was read, or a model loaded")


@pytest.fixture
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no picture can be read."""
    monkeypatch.setattr(reading, "embed_picture", refused)


def decoded(
    index: clipindex.Index, terms: list[Term], monkeypatch: pytest.MonkeyPatch
) -> list[Hit]:
    """The hits where every picture is decoded and embedded, as in earlier versions."""
    with monkeypatch.context() as patch:
        patch.setattr("clipindex.search.embedded_terms.known_pictures", lambda *_: {})
        return index.query(terms)


def test_an_indexed_picture_gets_the_hits_that_decoding_it_gives(
    index: clipindex.Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = [Term(str(pictures / "002.jpg"))]
    expected = decoded(index, terms, monkeypatch)
    monkeypatch.setattr(reading, "embed_picture", refused)
    hits = querying.find(index.place, terms, load=refused)  # type: ignore[arg-type]
    assert hits == expected
    assert (hits[0].path, hits[0].score) == (str(pictures / "002.jpg"), 1.0)


def test_so_it_does_among_several_terms(
    index: clipindex.Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = str(pictures / "001.jpg"), str(pictures / "003.jpg")
    terms = [Term(one, weight=2.0), Term("a dog"), Term(other, weight=-0.5)]
    expected = decoded(index, terms, monkeypatch)
    monkeypatch.setattr(reading, "embed_picture", refused)
    assert index.query(terms) == expected
    assert all(0.0 < abs(hit.score) < 1.0 for hit in expected[:1])


@pytest.mark.usefixtures("nothing_read")
def test_a_picture_that_is_gone_still_finds_what_is_like_it(
    index: clipindex.Index, pictures: Path
) -> None:
    gone = pictures / "gone.jpg"
    data = gone.read_bytes()
    gone.unlink()
    try:
        first = index.query([Term(str(gone), TermKind.IMAGE)])[0]
        others = index.query([Term(str(gone), TermKind.IMAGE)], QueryOptions(exclude_self=True))
    finally:
        gone.write_bytes(data)
    assert (first.path, first.score) == (str(gone), 1.0)
    assert str(gone) not in [hit.path for hit in others]


def test_an_edited_picture_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (picture,) = make_pictures(tmp_path / "pictures", 1)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([tmp_path / "pictures"])
    times = picture.stat()
    picture.write_bytes(picture_bytes(50))
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))  # only its change time tells
    assert index.query(picture)[0].score < 1.0
    monkeypatch.setattr(reading, "embed_picture", refused)
    with pytest.raises(AssertionError, match="was read"):
        index.query(picture)
    picture.unlink()
    picture.mkdir()  # a folder of that name is no picture that is gone
    monkeypatch.undo()
    with pytest.raises(UsageError, match="a folder, not a picture"):
        index.query([Term(str(picture), TermKind.IMAGE)])


def test_a_point_that_is_another_by_now_is_not_trusted(tmp_path: Path) -> None:
    """The catalogue was copied back from an old backup, or a run has just replaced the point."""
    (picture, _) = make_pictures(tmp_path / "pictures", 2)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([tmp_path / "pictures"])
    catalogue = tmp_path / "store" / "image_embeddings" / "catalogue.sqlite"
    shutil.copy(catalogue, tmp_path / "old")
    before = picture.read_bytes()
    picture.write_bytes(picture_bytes(60))
    index.ingest([tmp_path / "pictures"])
    for name in catalogue.parent.glob("catalogue.sqlite*"):
        name.unlink()
    shutil.copy(tmp_path / "old", catalogue)
    picture.unlink()  # so that nothing of it disagrees with the old catalogue
    with pytest.raises(UsageError, match="there is no such picture"):
        index.query([Term(str(picture), TermKind.IMAGE)])
    picture.write_bytes(before)
    assert index.query(picture)[0].score < 1.0


def test_on_the_command_line_a_missing_path_is_an_error_unless_it_is_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = make_pictures(tmp_path / "my pictures", 3)
    store = tmp_path / "store"
    clipindex.Index(store, model=str(TINY)).ingest([pictures[0].parent])
    store = store.rename(tmp_path / "moved store")
    shutil.rmtree(pictures[0].parent)
    monkeypatch.chdir(tmp_path)
    for term in (str(pictures[1]), "my pictures/001.jpg", "2*my pictures/001.jpg"):
        done = CliRunner().invoke(app, ["query", term, "--store", str(store), "-n", "1"])
        assert (done.exit_code, done.stdout) == (0, f"1.0000\t{pictures[1]}\n"), done.stderr
    for term in ("my pictures/009.jpg", "nosuch.jpg"):
        done = CliRunner().invoke(app, ["query", term, "--store", str(store)])
        assert done.exit_code == 2
        assert "there is no such picture" in done.stderr
    done = CliRunner().invoke(app, ["query", "--store", str(tmp_path / "none"), "nosuch.jpg"])
    assert done.exit_code == 2


def test_the_model_may_be_gone_when_all_that_is_asked_for_is_indexed(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "model")
    (picture,) = make_pictures(tmp_path / "pictures", 1)
    clipindex.Index(tmp_path / "store", model=str(tmp_path / "model")).ingest([picture])
    shutil.rmtree(tmp_path / "model")
    assert clipindex.Index(tmp_path / "store").query(picture)[0].score == 1.0
