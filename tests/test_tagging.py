"""Tagging what a pattern, a query, a filter or a table means, and looking before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import clipindex
from clipindex import Condition, PictureFilter, SelectOptions, Term
from clipindex.errors import UsageError
from conftest import TINY, ingest, make_pictures, picture_bytes
from test_cli import clip, in_terminal

COUNT = 34  # enough to judge a hit by its z


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures in folders `a` and `b`, and a store."""
    folder = tmp_path_factory.mktemp("tagging").resolve()
    make_pictures(folder / "photos" / "a", COUNT - 4)
    make_pictures(folder / "photos" / "b [1]", 4, first_seed=100)
    (folder / "photos" / "b [1]" / "000.jpg").rename(folder / "photos" / "b [1]" / "sea.jpg")
    ingest(clipindex.Index(folder / "store", model=str(TINY)), folder / "photos")
    return folder / "photos", folder / "store"


@pytest.fixture
def photos(made: tuple[Path, Path]) -> Path:
    return made[0]


@pytest.fixture
def tagged(made: tuple[Path, Path]) -> clipindex.Index:
    """The collection, without the tags of the test before."""
    index = clipindex.Index(made[1], model=str(TINY))
    keys = {tag.key for tag in index.tags() if not tag.is_metadata}
    if keys:
        index.untag(sorted(keys), [made[0]])
    return index


def with_tag(index: clipindex.Index, key: str) -> dict[str, str]:
    """Names of the pictures that have it, with its value."""
    pictures = index.select(options=SelectOptions(pictures=PictureFilter(formats=("JPEG",))))
    return {Path(p.path).name: p.tags[key] for p in pictures.pictures if key in p.tags}


def arguments(index: clipindex.Index) -> tuple[str, ...]:
    return ("--store", index.place.name, "--model", str(TINY))


# --- choosing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("00?.jpg", 13),
        ("*.JPG", COUNT),
        ("sea*", 1),
        ("PHOTOS/a/01*.jpg", 10),
        ("PHOTOS/*/001.jpg", 2),
        ("PHOTOS/b*", 4),
        ("PHOTOS/**/sea.jpg", 1),
        ("PHOTOS/b [1]", 4),  # it is there under just this name
        ("PHOTOS/b [1]/sea.jpg", 1),
    ],
)
def test_a_pattern_means_the_indexed_paths_that_match(
    tagged: clipindex.Index, photos: Path, pattern: str, count: int
) -> None:
    assert len(tagged.select([pattern.replace("PHOTOS", str(photos))]).pictures) == count


def test_a_pattern_with_a_slash_begins_in_the_current_folder(
    tagged: clipindex.Index, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    assert len(tagged.select(["link/a/01*"]).pictures) == 10
    monkeypatch.chdir(photos)
    assert len(tagged.select(["a/01*", "b*/sea*"]).pictures) == 11


@pytest.mark.parametrize("path", ["nothing*", "PHOTOS/nothing", "PHOTOS/x/*.jpg"])
def test_a_path_or_a_pattern_that_names_nothing_is_a_usage_error(
    tagged: clipindex.Index, photos: Path, path: str
) -> None:
    with pytest.raises(UsageError, match=r"nothing is indexed|no indexed picture matches"):
        tagged.select([photos, path.replace("PHOTOS", str(photos))])


def test_a_query_chooses_its_hits_best_first(tagged: clipindex.Index, photos: Path) -> None:
    own = Term(str(photos / "a" / "007.jpg"))
    best = tagged.select(options=SelectOptions(terms=[own], limit=3)).pictures
    assert (best[0].path, best[0].score, len(best)) == (str(own.value), 1.0, 3)
    scores = [picture.score or 0.0 for picture in best]
    assert scores == sorted(scores, reverse=True)
    (only,) = tagged.select(options=SelectOptions(terms=[own], min_score=0.9999)).pictures
    assert only.path == own.value
    least = sorted(picture.z or 0.0 for picture in best)[1]
    standing_out = tagged.select(options=SelectOptions(terms=[own], min_z=least)).pictures
    assert all((picture.z or 0.0) >= least for picture in standing_out)
    assert 2 <= len(standing_out) < COUNT
    elsewhere = tagged.select([photos / "b [1]"], SelectOptions(terms=[own], limit=COUNT))
    assert len(elsewhere.pictures) == 4


def test_copies_are_chosen_with_the_picture(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / "photos" / name).write_bytes(picture_bytes(1))
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, tmp_path / "photos")
    options = SelectOptions(terms=[Term("a cat")], min_score=-1)
    assert index.tag({"k": "v"}, index.select(options=options)) == 2


def test_what_a_query_means_must_be_said(tagged: clipindex.Index) -> None:
    with pytest.raises(UsageError, match="has a nearest picture"):
        SelectOptions(terms=[Term("a cat")])
    with pytest.raises(UsageError, match="is that of a query"):
        SelectOptions(min_z=3)
    with pytest.raises(UsageError, match="no picture is named"):
        tagged.select()


def test_z_chooses_nothing_where_it_says_nothing(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 3)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    ingest(index, tmp_path / "photos")
    with pytest.raises(UsageError, match="too few or too alike"):
        index.select(options=SelectOptions(terms=[Term("a cat")], min_z=3))


def test_filters_choose_alone_and_with_paths(tagged: clipindex.Index, photos: Path) -> None:
    tagged.tag({"n": "1"}, [photos / "a" / "001.jpg", photos / "b [1]" / "sea.jpg"])
    wanted = SelectOptions(pictures=PictureFilter(where=(Condition("n", "=", "1"),)))
    assert len(tagged.select(options=wanted).pictures) == 2
    (one,) = tagged.select([photos / "a"], wanted).pictures
    assert (Path(one.path).name, one.tags) == ("001.jpg", {"n": "1"})
    none = SelectOptions(pictures=PictureFilter(where=(Condition("n", "=", "2"),)))
    with pytest.warns(clipindex.ClipIndexWarning, match="no picture has n=2"):
        assert tagged.select(options=none).pictures == ()


# --- tagging ---------------------------------------------------------------------------------


def test_a_selection_is_tagged_and_untagged(tagged: clipindex.Index) -> None:
    chosen = tagged.select(["sea*"])
    assert tagged.tag({"k": "v", "m": "w"}, chosen) == 1
    assert tagged.tag({"k": "v"}, chosen) == 0
    again = tagged.select(["sea*"])
    assert tagged.untag(["k"], again) == 1
    with pytest.raises(UsageError, match="none of these pictures has the tag 'k'"):
        tagged.untag(["k"], tagged.select(["sea*"]))
    assert with_tag(tagged, "m") == {"sea.jpg": "w"}


def test_a_table_brings_tags_in_either_form(tagged: clipindex.Index, tmp_path: Path) -> None:
    long, wide = tmp_path / "long.csv", tmp_path / "wide.jsonl"
    rows = "sea;year;2019\nsea.jpg;who;ann\n00?.jpg;year;2018\nghost;year;1\na/000.jpg;who;\n"
    long.write_text("name;key;value\n" + rows)
    report = tagged.tag_from(long, dry_run=True)
    assert (report.rows, report.pictures, report.changed) == (5, 14, 14)
    assert with_tag(tagged, "year") == {}
    report = tagged.tag_from(long)
    assert [row.key for row in report.unmatched] == ["ghost"]
    assert with_tag(tagged, "year")["sea.jpg"] == "2019"  # text, as tags are
    assert with_tag(tagged, "who") == {"sea.jpg": "ann"}
    assert tagged.tag_from(long).changed == 0

    wide.write_text('{"path": "sea.jpg", "who": ["bob", "cy"], "n": 3}\n')
    assert tagged.tag_from(wide).changed == 1
    assert with_tag(tagged, "who") == {"sea.jpg": "bob, cy"}
    assert with_tag(tagged, "n") == {"sea.jpg": "3"}
    report = tagged.tag_from(long, remove=True)
    assert report.changed == 14
    assert with_tag(tagged, "year") == {}
    assert with_tag(tagged, "who") == {"sea.jpg": "bob, cy"}  # another value than the table's


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,key,value\nsea,a b,1\n", "row 2 has the key 'a b'"),
        ("key,value\na,1\n", "no column that names pictures"),
        ("", "no rows"),
    ],
)
def test_a_file_that_is_no_table_of_tags_changes_nothing(
    tagged: clipindex.Index, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        tagged.tag_from(tmp_path / "t.csv")


# --- the commands ----------------------------------------------------------------------------


def test_a_preview_lists_and_changes_nothing(tagged: clipindex.Index, photos: Path) -> None:
    own = str(photos / "a" / "003.jpg")
    query = ("--query", own, "--min-score", "0.9999", "--dry-run", *arguments(tagged))
    done = clip("tag", "k=v", *query)
    assert re.fullmatch(rf"1\.0000  z \d+\.\d  {re.escape(own)}\n", done.out)
    assert "1 picture; nothing was changed" in done.err
    (line,) = clip("tag", "k=v", *query, "--json").lines
    assert (line["type"], line["path"], line["score"]) == ("selected", own, 1.0)
    assert with_tag(tagged, "k") == {}
    listed = clip("untag", "k", "sea*", "--dry-run", *arguments(tagged))
    assert listed.out == f"{photos / 'b [1]' / 'sea.jpg'}\n"


def test_what_is_meant_is_counted_before_it_is_changed(
    tagged: clipindex.Index, photos: Path
) -> None:
    done = clip("tag", "k=v", "00?.jpg", *arguments(tagged))
    assert done.out == "13 tagged\n"
    assert f"13 pictures: {photos / 'a' / '000.jpg'}, " in done.err
    assert " and 10 more" in done.err
    named = clip("tag", "k=w", str(photos / "a"), *arguments(tagged))
    assert (named.out, named.err) == (f"{COUNT - 4} tagged\n", "")
    done = clip("untag", "k", "--where", "k=v", "--type", "jpeg", *arguments(tagged))
    assert done.out == "3 untagged\n"
    nothing = clip("tag", "k=v", "--camera", "canon", *arguments(tagged))
    assert nothing.code == 2  # there is no such camera


def test_a_terminal_is_asked_before_more_is_changed_than_was_named(
    tagged: clipindex.Index,
) -> None:
    args = ("tag", "k=v", "sea*", *arguments(tagged))
    code, seen = in_terminal(*args, columns=40, answer=b"n\n")
    assert (code, "nothing was changed" in seen) == (0, True)
    assert with_tag(tagged, "k") == {}
    code, seen = in_terminal(*args, answer=b"y\n")
    assert "Tag them with k=v? [y/N]" in seen
    assert with_tag(tagged, "k") == {"sea.jpg": "v"}
    assert "[y/N]" not in in_terminal(*args, "--yes")[1]


def test_the_command_line_takes_tags_from_a_table(tagged: clipindex.Index, tmp_path: Path) -> None:
    table = tmp_path / "my tags.csv"
    table.write_text("name,kind\nsea,water\nghost,none\n")
    place = arguments(tagged)
    done = clip("tag", "--from", str(table), "--dry-run", *place)
    assert "1 would be tagged" in done.out
    done = clip("tag", "--from", str(table), *place)
    assert done.out == "2 rows for 1 picture: 1 tagged\n"
    assert "row 3 matches no picture: ghost" in done.err
    assert with_tag(tagged, "kind") == {"sea.jpg": "water"}
    unmatched, line = clip("untag", "--from", str(table), "--json", *place).lines
    assert unmatched == {"type": "unmatched", "row": 3, "key": "ghost"}
    assert (line["type"], line["count"], line["unmatched"]) == ("untagged", 1, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["tag"], "missing argument 'KEY=VALUE'"),
        (["untag"], "missing argument 'KEY'"),
        (["tag", "k=v"], "no picture is named"),
        (["tag", "k=v", "--query", "a cat"], "whatever it asks for"),
        (["tag", "k=v", "--from", "t.csv"], "brings the tags"),
        (["tag", "--from", "t.csv", "--type", "jpeg"], "not with --from"),
        (["tag", "--from", "none.csv"], "cannot be read"),
        (["tag", "k=v", "--query", "a", "--min-z", "nan"], "nan is not a number"),
    ],
)
def test_what_makes_no_sense_together_is_a_usage_error(
    tagged: clipindex.Index, line: list[str], message: str
) -> None:
    done = clip(*line, *arguments(tagged))
    assert (done.code, message in done.err) == (2, True), done.err
