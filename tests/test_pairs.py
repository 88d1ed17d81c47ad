"""One shot in two files, a camera raw file beside its JPEG, is shown once and kept together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex import DuplicateGroup, DuplicatesOptions, Hit, QueryOptions
from clipindex.cli.app import app
from clipindex.search.pairs import are_pair, best_of_pairs
from conftest import TINY, ingest
from test_duplicates import photograph
from test_heic import exif
from test_raw import coded, raw_file

MOMENT, LATER = "2024-05-06T07:08:09", "2024-05-06T07:08:10"


@dataclass(frozen=True)
class File:
    path: str
    taken: str | None = None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (File("a/IMG_1.CR2", MOMENT), File("a/IMG_1.JPG", MOMENT)),
        (File("a/IMG_1.CR2", MOMENT), File("a/img_1.jpg", MOMENT)),
        (File("a/IMG_1.HEIC", MOMENT), File("a/IMG_1.JPG", MOMENT)),
        (File("a/IMG_1.CR3"), File("a/IMG_1.JPG", MOMENT)),
        (File("a/IMG_1.nef", MOMENT), File("a/IMG_1.jpg")),
        (File("a/IMG_1.nef"), File("a/IMG_1.jpg")),
    ],
)
def test_one_shot_in_two_files_is_a_pair(one: File, other: File) -> None:
    assert are_pair(one, other)
    assert are_pair(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (File("a/1.png"), File("a/1.jpg")),
        (File("a/1.heic", MOMENT), File("a/1.jpg")),
        (File("a/IMG_1.CR2", MOMENT), File("a/IMG_1.JPG", LATER)),
        (File("a/IMG_1.CR2", MOMENT), File("b/IMG_1.JPG", MOMENT)),
        (File("a/IMG_1.CR2", MOMENT), File("a/IMG_2.JPG", MOMENT)),
        (File("a/IMG_1.jpg", MOMENT), File("a/IMG_1.JPG", MOMENT)),
        (File("a/IMG_1.CR2", MOMENT), File("a/IMG_1-edited.JPG", MOMENT)),
    ],
)
def test_a_like_name_alone_makes_no_pair(one: File, other: File) -> None:
    assert not are_pair(one, other)
    assert not are_pair(other, one)


def hit(number: int, *paths: str, taken: str | None = MOMENT) -> Hit:
    score = round(1 - number / 1000, 4)
    return Hit(
        rank=0, score=score, path=paths[0], paths=paths, id="", width=1, height=1, taken=taken
    )


@given(
    limit=st.integers(1, 6),
    names=st.lists(st.sampled_from([f"{n}{end}" for n in range(6) for end in (".nef", ".jpg")])),
)
def test_no_shot_is_lost_and_none_is_there_twice(limit: int, names: list[str]) -> None:
    hits = [hit(number, name) for number, name in enumerate(dict.fromkeys(names))]
    best = best_of_pairs(lambda count: hits[:count], limit)
    shots = list(dict.fromkeys(Path(name).stem for name in names))
    assert [Path(shown.path).stem for shown in best] == shots[:limit]
    for shown in best:
        first = next(each for each in hits if Path(each.path).stem == Path(shown.path).stem)
        assert (shown.score, shown.path) == (first.score, first.path)
        assert {Path(path).stem for path in shown.paths} == {Path(shown.path).stem}


def test_a_pair_is_one_wherever_their_copies_lie_side_by_side() -> None:
    hits = [hit(0, "album/1.jpg", "card/1.jpg"), hit(1, "backup/1.nef", "card/1.nef")]
    (shown,) = best_of_pairs(lambda count: hits[:count], 5)
    assert shown.path == "album/1.jpg"
    assert len(shown.paths) == 4


@pytest.fixture
def shots(tmp_path: Path, index: clipindex.Index) -> Path:
    """Two shots, each as a camera raw file and a JPEG, and a smaller JPEG of the first."""
    pytest.importorskip("rawpy")
    folder = tmp_path / "a card"
    folder.mkdir()
    for number in (1, 2):
        image = photograph(number)
        jpeg = coded(image, quality=92, exif=exif())
        (folder / f"IMG_{number}.DNG").write_bytes(raw_file(jpeg, image.size))
        (folder / f"IMG_{number}.jpg").write_bytes(coded(image, quality=80, exif=exif()))
    photograph(1).resize((300, 240)).save(folder / "web.jpg")
    ingest(index, folder)
    return folder


def test_a_query_shows_each_shot_once(index: clipindex.Index, shots: Path) -> None:
    asked = shots / "IMG_1.jpg"
    apart = index.query(asked, QueryOptions(limit=5))
    hits = index.query(asked, QueryOptions(limit=5, pairs=True))
    assert (len(apart), len(hits)) == (5, 3)
    assert (hits[0].path, hits[0].score) == (str(asked), 1.0)
    assert hits[0].paths == (str(asked), str(shots / "IMG_1.DNG"))
    assert [each.rank for each in hits] == [1, 2, 3]
    assert len(index.query(asked, QueryOptions(limit=2, pairs=True))) == 2
    other = index.query(asked, QueryOptions(pairs=True, exclude_self=True))
    assert sorted(Path(hit.path).stem for hit in other) == ["IMG_2", "web"]


def test_the_command_line_shows_each_shot_once(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store"), "--model", str(TINY)]
    with pytest.raises(SystemExit) as end:
        app(["query", str(shots / "IMG_1.jpg"), "--pairs", "--paths", *store])
    assert not end.value.code
    assert len(capsys.readouterr().out.splitlines()) == 3


def groups(index: clipindex.Index, *, pairs: bool) -> list[DuplicateGroup]:
    events = index.duplicates_events([], DuplicatesOptions(pairs=pairs))
    return [event for event in events if isinstance(event, DuplicateGroup)]


@pytest.mark.usefixtures("shots")
def test_a_pair_is_kept_together_and_is_no_group_by_itself(index: clipindex.Index) -> None:
    assert len(groups(index, pairs=False)) == 2
    (group,) = groups(index, pairs=True)
    roles = {Path(file.path).name: (file.role.value, file.spare) for file in group.files}
    assert roles["web.jpg"] == ("near", True)
    pair = [roles["IMG_1.DNG"], roles["IMG_1.jpg"]]
    assert pair in list(map(list, permutations([("best", False), ("pair", False)])))
