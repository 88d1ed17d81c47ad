"""`query --batch`: many queries with one model and one open collection, a JSON line for each."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.model.encoder import Model
from clipindex.search.query import QueryOptions
from clipindex.search.terms import Term, TermKind
from conftest import TINY, Ended, make_pictures


def batch(lines: str | bytes, *args: object) -> Ended:
    done = CliRunner().invoke(
        app, ["query", "--batch", "-", *map(str, args)], input=lines, catch_exceptions=False
    )
    return Ended(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_pictures(tmp_path_factory.mktemp("pictures") / "my pictures", 4)


@pytest.fixture(scope="module")
def store(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    clipindex.Index(place, model=str(TINY)).ingest([pictures[0].parent])
    return place


def test_each_line_gets_the_hits_that_it_gets_alone(store: Path, pictures: list[Path]) -> None:
    done = batch(f"a red dog\n\n{pictures[2]}\r\n2*sea\n", "--store", store, "-n", 2)
    assert done.code == 0
    answers = done.lines
    assert [answer["line"] for answer in answers] == [1, 3, 4]
    assert [answer["query"] for answer in answers] == ["a red dog", str(pictures[2]), "2*sea"]
    index = clipindex.Index(store)
    for answer, terms in zip(answers, ("a red dog", pictures[2], "sea"), strict=True):
        alone = index.query(terms, QueryOptions(limit=2))
        assert [(hit["path"], hit["score"]) for hit in answer["hits"]] == [  # type: ignore[attr-defined]
            (hit.path, hit.score) for hit in alone
        ]
    assert answers[1]["hits"][0]["score"] == 1.0  # type: ignore[index]


def test_an_object_names_texts_pictures_a_limit_and_its_id(
    store: Path, pictures: list[Path]
) -> None:
    asked = {"id": "x1", "text": ["a dog", "sea"], "image": str(pictures[0]), "minus": "people"}
    done = batch(json.dumps({**asked, "limit": 3}) + "\n", "--store", store)
    (answer,) = done.lines
    terms = [Term(str(pictures[0]), TermKind.IMAGE), Term("a dog"), Term("sea")]
    alone = clipindex.Index(store).query(
        [*terms, Term("people", weight=-1.0)], QueryOptions(limit=3)
    )
    assert (answer["id"], answer["query"]) == ("x1", {**asked, "limit": 3})
    assert [hit["path"] for hit in answer["hits"]] == [hit.path for hit in alone]  # type: ignore[attr-defined]


BAD = {
    "nosuch.jpg": "there is no such picture",
    "nan*dog": "no usable weight",
    "{broken": "not JSON",
    "-": "standard input",
    '{"texts": "dog"}': "'texts' is no field",
    '{"text": 7}': "'text' is neither",
    '{"text": "dog", "limit": 0}': "limit",
    '{"text": "dog", "limit": true}': "limit",
    '{"id": 4}': "nothing to search for",
    '{"text": "-"}': "standard input",
    "[" * 3: "",
}


def test_a_bad_line_is_an_error_in_its_place_and_the_others_are_answered(store: Path) -> None:
    done = batch("a dog\n" + "\n".join(BAD) + "\na cat\n", "--store", store)
    assert done.code == 3
    kinds = [line["type"] for line in done.lines]
    assert kinds == ["answer", *["error"] * (len(BAD) - 1), "answer", "answer"]
    for line, words in zip(done.lines[1:], BAD.values(), strict=False):
        if line["type"] == "error":
            assert words in str(line["message"])
            assert line["code"] == 2
    assert done.lines[1]["query"] == "nosuch.jpg"
    assert done.lines[9]["id"] == 4


def test_bytes_that_are_not_utf8_are_one_bad_line(store: Path) -> None:
    done = batch(b"caf\xe9\na dog\n", "--store", store)
    assert (done.code, [line["type"] for line in done.lines]) == (3, ["error", "answer"])


def test_one_model_is_loaded_for_the_whole_batch(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = Model.__init__

    def counted(self: Model, *args: object, **options: object) -> None:
        loads.append(args)
        load(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "__init__", counted)
    assert batch("one fox\ntwo foxes\nthree foxes\n", "--store", store).code == 0
    assert len(loads) == 1


def test_what_a_filter_leaves_out_is_in_each_answer(store: Path) -> None:
    done = batch("a dog\na cat\n", "--store", store, "--taken", 2024)
    assert [line["hits"] for line in done.lines] == [[], []]
    for line in done.lines:
        assert line["notes"] == ["4 pictures without a date are left out"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a dog"], "takes its queries from the file"),
        (["--text", "a dog"], "takes its queries from the file"),
        (["--paths"], "prints JSON"),
        (["-0"], "prints JSON"),
    ],
)
def test_what_a_batch_has_no_use_for_is_refused(store: Path, args: list[str], words: str) -> None:
    done = batch("a dog\n", *args, "--store", store)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_a_missing_file_and_a_missing_collection_end_it(tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["query", "--batch", str(tmp_path / "no")])
    assert missing.exit_code == 2
    assert "the queries cannot be read" in missing.stderr
    assert batch("a dog\n", "--store", tmp_path / "none").code == 6


def test_an_answer_comes_before_the_next_line_is_read_and_ctrl_c_ends_between_two(
    store: Path, start_clipindex: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_clipindex("query", "--batch", "-", "--store", store, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("a dog\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["line"] == 1
    time.sleep(0.3)  # until it waits for the next line
    process.send_signal(signal.SIGINT)
    rest, words = process.communicate(timeout=30)
    assert (process.returncode, rest) == (130, "")
    assert words.strip() == "interrupted"
