"""Zero-shot labels: the nearest label, "none of these", and tags that overwrite nothing."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import clipindex
from clipindex import Classified, ClassifyOptions, Label
from clipindex.cli.app import app
from clipindex.errors import UsageError
from clipindex.search.classifying import Classifier, parse_labels
from clipindex.search.judging import Calibration
from clipindex.search.query import QueryOptions
from conftest import TINY, Ended, make_pictures, picture_bytes, unpack

pytestmark = pytest.mark.usefixtures("one_load")
LABELS = [Label("dog", "a dog"), Label("sea", "the sea"), Label("tax", "a tax report")]


def clip(*args: object) -> Ended:
    done = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def labelled(results: object) -> dict[str, Classified]:
    return {
        Path(result.path).name: result
        for result in results  # type: ignore[attr-defined]
        if isinstance(result, Classified)
    }


@pytest.fixture
def index(tmp_path: Path) -> clipindex.Index:
    make_pictures(tmp_path / "my pictures", 40)
    made = clipindex.Index(tmp_path / "store", model=str(TINY))
    made.ingest([tmp_path / "my pictures"])
    return made


def test_labels_are_lines_with_or_without_a_text() -> None:
    labels = parse_labels("dog\n\n  sea : a photo of the sea \nred: car: fast\n")
    assert labels == [
        Label("dog", "dog"),
        Label("sea", "a photo of the sea"),
        Label("red", "car: fast"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 labels"),
        ("\n \n", "0 labels"),
        ("dog\ndog: a dog", "'dog' is there twice"),
        ("dog:", "line 1"),
        (": a dog", "line 1"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_labels(text)


@given(st.text())
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        labels = parse_labels(text)
    except UsageError:
        return
    assert len({label.name for label in labels}) == len(labels) >= 1
    assert all(label.name and label.text for label in labels)


def test_the_nearest_label_is_the_one_with_the_highest_score(index: clipindex.Index) -> None:
    results = labelled(index.classify(LABELS))
    assert len(results) == 40
    scores = {
        label.name: {
            Path(hit.path).name: (hit.score, hit.z)
            for hit in index.query(label.text, QueryOptions(limit=100))
        }
        for label in LABELS
    }
    for name, result in results.items():
        best = max(scores, key=lambda label: scores[label][name][0])
        assert (result.label, result.nearest, result.fits) == (best, best, None)
        assert (result.score, result.z) == pytest.approx(scores[best][name], abs=0.011)


def test_the_cut_is_further_the_more_labels_there_are() -> None:
    """A picture leads by 0.2: enough among two labels, too little among three hundred."""
    queries = np.eye(300, 512, dtype=np.float32)
    picture = np.zeros((1, 512), np.float32)
    picture[0, 0], picture[0, 400] = 0.2, 0.96**0.5

    def label(count: int) -> bool | None:
        made = Classifier(
            labels=[Label(str(number), "") for number in range(count)],
            queries=queries[:count],
            neutral=np.zeros(512, np.float32),
            means=np.zeros(count),
            spreads=np.full(count, 0.1),
            calibration=Calibration(base=0.15, growth=0.02),
        )
        return made.classify(picture)[0].fits

    assert (label(2), label(300)) == (True, False)


def test_filters_files_and_borders_choose(index: clipindex.Index, tmp_path: Path) -> None:
    folder = tmp_path / "my pictures"
    index.tag({"owner": "ann"}, [folder / "003.jpg"])
    only = clipindex.PictureFilter(where=(clipindex.Condition("owner", "=", "ann"),))
    assert list(labelled(index.classify(LABELS, (), ClassifyOptions(pictures=only)))) == ["003.jpg"]
    none = labelled(index.classify(LABELS, (), ClassifyOptions(min_z=99.0)))
    assert {result.label for result in none.values()} == {None}
    (tmp_path / "new.jpg").write_bytes(picture_bytes(3))
    alone = labelled(index.classify(LABELS, [tmp_path / "new.jpg"]))["new.jpg"]
    indexed = labelled(index.classify(LABELS))["003.jpg"]
    assert (alone.label, alone.id) == (indexed.label, None)
    assert alone.score == pytest.approx(indexed.score, abs=0.0002)
    with pytest.raises(UsageError, match="nothing is indexed below"):
        list(index.classify(LABELS, (), ClassifyOptions(under=(tmp_path / "no",))))
    with pytest.raises(UsageError, match="get no tag"):
        list(index.classify(LABELS, [tmp_path / "new.jpg"], ClassifyOptions(tag="kind")))


def test_a_tag_that_is_there_stays_unless_it_is_to_be_replaced(
    index: clipindex.Index, tmp_path: Path
) -> None:
    folder = tmp_path / "my pictures"
    index.tag({"kind": "own"}, [folder / "000.jpg"])
    results = labelled(index.classify(LABELS, (), ClassifyOptions(tag="kind")))
    assert sum(result.tagged for result in results.values()) == 39
    kept = {value.value: value.count for value in index.tags(["kind"])}
    assert kept.pop("own") == 1
    assert sum(kept.values()) == 39
    again = labelled(index.classify(LABELS, (), ClassifyOptions(tag="kind")))
    assert not any(result.tagged for result in again.values())
    replaced = labelled(index.classify(LABELS, (), ClassifyOptions(tag="kind", replace=True)))
    assert [name for name, result in replaced.items() if result.tagged] == ["000.jpg"]
    with pytest.raises(UsageError, match="not a tag's key"):
        list(index.classify(LABELS, (), ClassifyOptions(tag="a b")))


def test_on_the_command_line(index: clipindex.Index, tmp_path: Path) -> None:
    store = ("--store", index.place.name)
    file = tmp_path / "labels.txt"
    file.write_text("dog: a dog\nsea\n")
    lines = clip("classify", "--labels", file, *store).out.splitlines()
    assert len(lines) == 40
    assert {line.split("\t")[0] for line in lines} <= {"dog", "sea"}
    dry = clip("classify", "--labels", file, "--tag", "kind", "--dry-run", *store)
    assert "40 would be tagged kind=LABEL" in dry.err
    assert clip("tags", *store).out == ""
    done = clip("classify", "--labels", file, "--tag", "kind", "--json", *store).lines
    (end,) = [line for line in done if line["type"] == "classified"]
    assert (end["pictures"], end["tagged"], end["none"]) == (40, 40, 0)
    assert sum(end["labels"].values()) == 40  # type: ignore[attr-defined]
    assert {line["type"] for line in done} == {"label", "batch", "classified"}
    assert "40 tagged" not in clip("classify", "--labels", file, "--tag", "kind", *store).err
    (tmp_path / "broken.jpg").write_text("no picture")
    some = clip("classify", "--labels", file, tmp_path / "broken.jpg", tmp_path / "no", *store)
    assert (some.code, some.out) == (3, "")
    assert "broken.jpg: the query picture cannot be read" in some.err
    for wrong in (
        (),
        ("--labels", tmp_path / "no"),
        ("--labels", tmp_path),
        ("--labels", file, "--dry-run"),
        ("--labels", file, "--always", "--min-z", 2),
    ):
        assert clip("classify", *wrong, *store).code == 2


@pytest.mark.slow
def test_what_is_no_label_of_the_list_is_mostly_refused(test_data: Path, tmp_path: Path) -> None:
    """The figures of docs/query.md: half of 200 photographs have a label in the list."""
    with tarfile.open(test_data / "photos.tar") as tar:
        unpack(tar, tmp_path / "photos")
    rows = [json.loads(line) for line in (test_data / "photos.jsonl").read_text().splitlines()]
    index = clipindex.Index(tmp_path / "store", model="mini")
    index.ingest([tmp_path / "photos"])
    labels = [Label(row["file"], row["text"]) for row in rows[::2]]
    results = labelled(index.classify(labels))
    present = [results[label.name] for label in labels]
    absent = [results[row["file"]] for row in rows[1::2]]
    right = sum(result.nearest == Path(result.path).name for result in present)
    kept = sum(result.label == Path(result.path).name for result in present)
    refused = sum(result.label is None for result in absent)
    assert right >= 80
    assert kept >= 72
    assert refused >= 50
