"""Standing questions: asked of every new picture, their hits tagged once, whatever interrupts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex import QuestionOptions, QuestionUnasked, StandingHit, Term
from clipindex.cli.app import app
from clipindex.collection.catalogue import Catalogue
from clipindex.errors import UsageError
from clipindex.search.query import QueryOptions
from clipindex.search.terms import TermKind
from clipindex.stores.address import Server
from clipindex.upkeep.standing import asking
from conftest import TINY, Ended, make_pictures, picture_bytes
from conftest import ingest as run_ingest

pytestmark = pytest.mark.usefixtures("one_load")
TAG = ("kind", "receipt")
EVERYTHING = QuestionOptions(tag=TAG, min_score=-1.0)


def clip(*args: object) -> Ended:
    done = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def hits_of(events: list[clipindex.Event]) -> list[StandingHit]:
    return [event for event in events if isinstance(event, StandingHit)]


def tagged(index: clipindex.Index) -> set[str]:
    found = index.query("a dog", QueryOptions(limit=500, where=(TAG,), copies=True))
    return {Path(hit.path).name for hit in found}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "pictures", 40)
    return tmp_path / "pictures"


@pytest.fixture
def index(tmp_path: Path) -> clipindex.Index:
    return clipindex.Index(tmp_path / "store", model=str(TINY))


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, index: clipindex.Index) -> clipindex.Index:
    """Embedded, and on a server."""
    if request.param == "embedded":
        return index
    server = Server(request.getfixturevalue("double").url)
    return clipindex.Index(server=server, source="a", model=str(TINY))


def test_new_pictures_are_asked_and_older_ones_when_it_is_run(
    either: clipindex.Index, pictures: Path
) -> None:
    index = either
    index.ingest([pictures])
    borders = sorted(index.query("a dog", QueryOptions(limit=500)), key=lambda hit: -(hit.z or 0))
    border = (borders[5].z or 0.0) - 0.01
    index.add_standing("dogs", [Term("a dog")], QuestionOptions(tag=TAG, min_z=border))
    assert hits_of(run_ingest(index, pictures).events) == []
    best = Path(borders[0].path)
    (pictures / "copy of the best.jpg").write_bytes(best.read_bytes())
    run = run_ingest(index, pictures)
    (hit,) = hits_of(run.events)
    assert (Path(hit.path).name, hit.tag) == ("copy of the best.jpg", "kind=receipt")
    assert (hit.score, round(hit.z or 0, 1)) == (borders[0].score, round(borders[0].z or 0, 1))
    assert run.summary.standing == {"dogs": 1}
    assert tagged(index) == {"copy of the best.jpg"}

    found = hits_of(list(index.run_standing()))  # type: ignore[arg-type]
    assert len(found) >= 5
    assert best.name in tagged(index)  # a copy of it has the tag
    before = tagged(index)
    assert hits_of(list(index.run_standing())) == []  # type: ignore[arg-type]
    assert tagged(index) == before
    listed = index.standing_hits("dogs")
    assert {path for hit in listed for path in hit.paths} >= {hit.path for hit in found}
    assert index.standing_hits("dogs", "2999") == []


def test_what_a_person_decided_stays(index: clipindex.Index, pictures: Path) -> None:
    index.ingest([pictures / "000.jpg", pictures / "001.jpg"])
    index.tag({"kind": "letter"}, [pictures / "001.jpg"])
    index.add_standing("all", [Term("a dog")], EVERYTHING)
    hits = {Path(hit.path).name: hit.tag for hit in hits_of(list(index.run_standing(["all"])))}  # type: ignore[arg-type]
    assert hits == {"000.jpg": "kind=receipt", "001.jpg": None}  # another value is a person's
    assert tagged(index) == {"000.jpg"}
    index.untag(["kind"], [pictures / "000.jpg"])
    assert hits_of(list(index.run_standing())) == []  # type: ignore[arg-type]
    assert tagged(index) == set()
    (pictures / "000.jpg").rename(pictures / "renamed.jpg")
    (pictures / "copy.jpg").write_bytes((pictures / "renamed.jpg").read_bytes())
    run_ingest(index, pictures)
    assert not tagged(index) & {"000.jpg", "renamed.jpg", "copy.jpg"}  # its content was judged
    assert len(tagged(index)) == 38


def test_an_interrupted_run_leaves_no_picture_unasked(
    index: clipindex.Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.ingest([pictures / "000.jpg"])
    index.add_standing("all", [Term("a dog")], EVERYTHING)
    events = index.ingest_events([pictures], clipindex.IngestOptions(batch_size=10))
    for event in events:
        if isinstance(event, clipindex.BatchVerified):
            break
    events.close()  # after the first batch
    run_ingest(index, pictures)
    assert len(tagged(index)) == 39

    for number in range(5):
        (pictures / f"more-{number}.jpg").write_bytes(picture_bytes(900 + number))
    with monkeypatch.context() as patch:  # killed between the tag and the note of the hit

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Catalogue, "add_found", killed)
        with pytest.raises(KeyboardInterrupt):
            run_ingest(index, pictures)
    assert len(tagged(index)) == 44
    run_ingest(index, pictures)
    assert len(index.standing_hits("all")) == 44
    assert len(tagged(index)) == 44


def test_pictures_wait_until_there_are_enough_to_judge_by(
    index: clipindex.Index, pictures: Path
) -> None:
    index.ingest([pictures / "000.jpg"])
    index.add_standing("far", [Term("a dog")], QuestionOptions(tag=TAG, min_z=-100.0))
    few = run_ingest(index, pictures / "001.jpg", pictures / "002.jpg")
    (note,) = [event for event in few.events if isinstance(event, QuestionUnasked)]
    assert "too few" in note.reason
    assert few.summary.exit_code == 0
    index.add_standing("near", [Term("a dog")], QuestionOptions(min_score=-1.0))
    asked = list(index.run_standing())
    assert [e.question for e in asked if isinstance(e, QuestionUnasked)] == ["far"]
    assert index.standing("near")[0].since == ""
    index.remove_standing("near")
    many = run_ingest(index, pictures)
    assert many.summary.standing == {"far": 39}  # the two that waited among them


def test_filters_and_pictures_may_be_part_of_a_question(tmp_path: Path, pictures: Path) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([pictures])
    only = clipindex.PictureFilter(
        min_bytes=1, where=(clipindex.Condition("owner", "=", "ann"),), formats=("JPEG",)
    )
    like = Term(str(pictures / "007.jpg"), TermKind.IMAGE)
    options = QuestionOptions(tag=TAG, min_score=0.99, under=(pictures,), pictures=only)
    index.add_standing("like", [like], options)
    (pictures / "007.jpg").unlink()  # its stored vector is enough
    assert list(index.run_standing()) == []
    index.tag({"owner": "ann"}, [pictures])
    (hit,) = hits_of(list(index.run_standing()))  # type: ignore[arg-type]
    assert (Path(hit.path).name, hit.score) == ("007.jpg", 1.0)
    (question,) = clipindex.Index(tmp_path / "store").standing()
    assert question.terms == ((str(pictures / "007.jpg"), "image", 1.0),)


def test_after_a_switch_of_the_model_pictures_are_asked_again(
    tmp_path: Path, pictures: Path, other: str
) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([pictures / "000.jpg", pictures / "001.jpg"])
    index.add_standing("some", [Term("a dog")], QuestionOptions(tag=TAG, min_score=-1.0))
    list(index.run_standing())
    index.untag(["kind"], [pictures / "000.jpg"])
    index = clipindex.Index(tmp_path / "store")
    index.switch_model(other)
    before = index.standing("some")[0]
    run = run_ingest(index, pictures / "000.jpg")
    after = index.standing("some")[0]
    assert (before.model == after.model, len(after.query)) == (False, 128)
    assert run.summary.standing == {}  # both were found before; one lost its tag by hand
    assert tagged(index) == {"001.jpg"}
    assert run_ingest(index, pictures).summary.standing == {"some": 38}


def test_a_question_goes_along_with_backups_and_exports(tmp_path: Path, pictures: Path) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([pictures / "000.jpg", pictures / "001.jpg"])
    index.add_standing("all", [Term("a dog")], EVERYTHING)
    list(index.run_standing())
    index.untag(["kind"], [pictures / "000.jpg"])
    index.export(tmp_path / "exported")
    copy = clipindex.Index(tmp_path / "copy")
    copy.import_(tmp_path / "exported")
    assert copy.standing() == index.standing()
    assert copy.standing_hits("all") == index.standing_hits("all")
    assert list(copy.run_standing()) == []  # what was taken off is not given there either
    index.backup(tmp_path / "backups")
    restored = clipindex.Index(tmp_path / "restored")
    restored.restore(tmp_path / "backups")
    assert restored.standing() == index.standing()


def test_wrong_questions_are_refused(tmp_path: Path, pictures: Path) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([pictures / "000.jpg"])
    index.add_standing("all", [Term("a dog")], EVERYTHING)
    for name, terms, options, words in (
        ("all", [Term("a cat")], EVERYTHING, "already"),
        ("a/b", [Term("a cat")], EVERYTHING, "cannot name a standing question"),
        ("new", [Term("a cat")], QuestionOptions(), "nothing says which pictures are hits"),
        ("new", [Term(b"a cat")], EVERYTHING, "cannot remember standard input"),
        ("new", [Term("a cat"), Term("a cat", weight=-1.0)], EVERYTHING, "cancel each other out"),
        ("new", [Term("x")], QuestionOptions(tag=("a b", "c"), min_z=1.0), "not a tag's key"),
    ):
        with pytest.raises(UsageError, match=words):
            index.add_standing(name, terms, options)
    with pytest.raises(UsageError, match="no standing question 'new'"):
        index.remove_standing("new")
    with pytest.raises(UsageError, match="no standing question 'new'"):
        list(index.run_standing(["new"]))
    index.remove_standing("all")
    assert index.standing() == []


def test_a_run_without_questions_reads_nothing_for_them(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = clipindex.Index(tmp_path / "store", model=str(TINY))

    def refused(*_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(asking, "Asker", refused)
    assert run_ingest(index, pictures).summary.standing == {}


def test_on_the_command_line(tmp_path: Path, pictures: Path) -> None:
    store = ("--store", tmp_path / "store")
    clip("ingest", pictures, "--model", TINY, *store)
    added = clip("standing", "add", "dogs", "a dog", "--min-score", -1, "--tag", "kind=dog", *store)
    assert added.code == 0
    assert '"a dog"; score at least -1, tagged kind=dog' in added.out
    assert "standing run dogs" in added.err
    assert "40 new hits, 40 tagged" in clip("standing", "run", "dogs", *store).out
    assert clip("standing", "run", *store).out == "no new hits\n"
    (pictures / "new.jpg").write_bytes(picture_bytes(500))
    lines = clip("ingest", pictures, "--json", *store).lines
    (hit,) = [line for line in lines if line["type"] == "standing"]
    assert hit["tag"] == "kind=dog"
    assert lines[-1]["standing"] == {"dogs": 1}
    (pictures / "newer.jpg").write_bytes(picture_bytes(501))
    log = tmp_path / "log"
    said = clip("ingest", pictures, "--log-file", log, *store)
    assert "1  found by the standing question 'dogs'" in said.out
    assert "'dogs' found" in log.read_text()
    assert clip("standing", "hits", "dogs", "-0", *store).out.count("\0") == 42
    assert clip("standing", "hits", "dogs", "--since", 2999, "--paths", *store).out == ""
    shown = clip("standing", "hits", "dogs", "--json", *store).lines
    assert {len(line["paths"]) for line in shown} == {1}  # type: ignore[arg-type]
    (question,) = clip("standing", "show", "dogs", "--json", *store).lines
    assert json.dumps(question["terms"]) == '[["a dog", "text", 1.0]]'
    assert clip("standing", "--json", *store).lines == [question]
    assert clip("standing", "remove", "dogs", *store).code == 0
    assert clip("standing", "hits", "dogs", *store).code == 2
    for wrong in (("run", "x", "term"), ("list", "x"), ("list", "--min-z", 3), ("add",)):
        assert clip("standing", *wrong, *store).code == 2
