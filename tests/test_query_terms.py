"""How the arguments of a query are read: one text, several terms, pictures, standard input."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.cli.query_terms import read_terms
from clipindex.errors import UsageError
from clipindex.search.terms import Term, TermKind
from conftest import picture_bytes


def text(value: str, weight: float = 1.0) -> Term:
    return Term(value, TermKind.TEXT, weight)


def picture(value: str, weight: float = 1.0) -> Term:
    return Term(value, TermKind.IMAGE, weight)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and files whose names are also words."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beach").mkdir()
    (tmp_path / "sand").mkdir()
    for name in ("dog", "cat.jpg", "my cat.jpg", "2*cat.jpg", "beach/1.png", "sand/x"):
        (tmp_path / name).write_bytes(picture_bytes(1))


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        (["a dog on a beach"], [text("a dog on a beach")]),
        (["a", "dog", "on", "a", "beach"], [text("a dog on a beach")]),
        (["dog"], [picture("dog")]),  # alone, an existing file is a picture
        (["dog", "run"], [text("dog run")]),  # among several, it takes a slash or an extension
        (["./dog", "run"], [picture("./dog"), text("run")]),
        (["sand/x", "run"], [picture("sand/x"), text("run")]),
        (["black/white", "dog"], [text("black/white dog")]),
        (["black/white"], [text("black/white")]),
        (["beach"], [text("beach")]),  # a folder cannot be searched for
        (["cat.jpg"], [picture("cat.jpg")]),
        (["my cat.jpg", "sun"], [picture("my cat.jpg"), text("sun")]),
        (["a", "cat", "cat.jpg", "at", "sea"], [text("a cat"), picture("cat.jpg"), text("at sea")]),
        (["a dog", "a beach"], [text("a dog"), text("a beach")]),
        (["a dog", "beach"], [text("a dog"), text("beach")]),
        (["2*cat.jpg"], [picture("2*cat.jpg")]),  # a file of that very name
        (["1e1*beach"], [text("beach", 10.0)]),
        (["+2*beach"], [text("beach", 2.0)]),
        (["x*dog"], [text("x*dog")]),
        (["5 * dog"], [text("5 * dog")]),
        (["3*2*cat.jpg"], [picture("2*cat.jpg", 3.0)]),
        (["2*beach"], [text("beach", 2.0)]),
        ([".5*cat.jpg", "sea"], [picture("cat.jpg", 0.5), text("sea")]),
        (["2*a", "big", "dog"], [text("a", 2.0), text("big dog")]),
    ],
    ids=str,
)
def test_words_become_terms(words: list[str], terms: list[Term]) -> None:
    assert list(read_terms(words).terms) == terms


def test_words_read_as_one_text_are_told_once() -> None:
    assert len(read_terms(["a", "dog", "cat.jpg", "the", "sea"]).notes) == 2
    (note,) = read_terms(["a", "dog"]).notes
    assert '"a dog"' in note
    assert not read_terms(["a dog"]).notes
    assert not read_terms(["cat.jpg", "dog"]).notes


@pytest.mark.parametrize(
    "words",
    [
        *(["no.jpg"], ["./no"], ["/no/such"], ["beach/2.PNG"], ["2*no.heic"], ["dog", "no.NEF"]),
        *(["nan*dog"], ["-1*dog"], ["inf*dog"], ["-inf*dog"], ["1,5*dog"], ["2*"], ["2*3*dog"]),
        *(["a", "0*dog"], ["no.psd"], ["cat.jpg/x"], ["-", "-"]),
        *(["beach/"], ["./beach", "dog"], [""], ["dog", ""], ["0*dog"], ["9999999*dog"]),
        *(["M\udcfcller"], ["a", "M\udcfcller"]),  # as an argument that is not UTF-8
    ],
    ids=str,
)
def test_what_can_only_be_a_mistake_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        read_terms(words)
    assert raised.value.hint


def test_an_empty_standard_input_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    with pytest.raises(UsageError, match="standard input is empty"):
        read_terms(["-"])


def test_options_say_what_a_term_is_and_subtract() -> None:
    reading = read_terms((), minus=["people", "cat.jpg"], images=["no.jpg"], texts=["cat.jpg"])
    assert list(reading.terms) == [
        picture("no.jpg"),
        text("cat.jpg"),
        text("people", -1.0),
        picture("cat.jpg", -1.0),
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/*.\\-\0 "), min_size=1)))
def test_bare_words_are_joined_as_if_they_were_quoted(words: list[str]) -> None:
    bare = [word for word in words if not any(map(str.isspace, word))]
    if len(bare) > 1:
        assert list(read_terms(bare).terms) == [text(" ".join(bare))]
