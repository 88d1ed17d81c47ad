"""Duplicates: copies and the same picture in other forms are grouped, others are not, and what a
person decides stays."""

from __future__ import annotations

import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import clipindex
from clipindex import (
    DuplicateGroup,
    DuplicatesOptions,
    DuplicatesProgress,
    DuplicatesSummary,
    NotCompared,
    Step,
    Unread,
)
from clipindex.cli.app import app
from clipindex.collection.lock import locked
from clipindex.collection.verdicts import apart
from clipindex.errors import UsageError
from clipindex.pictures import likeness
from clipindex.upkeep.duplicates import nearest
from clipindex.upkeep.duplicates.groups import grouped
from clipindex.upkeep.duplicates.nearest import Candidates, near_pairs
from conftest import TINY, ingest, picture_bytes

PLAIN = DuplicatesOptions()
MIRRORED = DuplicatesOptions(mirrored=True)


def photograph(seed: int) -> Image.Image:
    """A picture with detail, as photographs have; different for each seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (14, 18, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((360, 280), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def photos(tmp_path: Path, index: clipindex.Index) -> Path:
    """One photograph in five forms and a copy, its mirror image, and three other photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    image = photograph(1)
    save(image, folder / "best.png")
    (folder / "copy.png").write_bytes((folder / "best.png").read_bytes())
    save(image, folder / "quality.jpg", quality=60)
    save(image, folder / "web.webp", quality=50)
    save(image.resize((180, 140)), folder / "small.jpg", quality=90)
    save(image.crop((9, 5, 351, 271)), folder / "cropped.jpg", quality=90)
    save(ImageOps.mirror(image), folder / "mirror.jpg", quality=90)
    for seed in (2, 3, 4):
        save(photograph(seed), folder / f"other{seed}.jpg", quality=90)
    ingest(index, folder)
    return folder


def looked(
    index: clipindex.Index, options: DuplicatesOptions = PLAIN
) -> tuple[list[list[str]], DuplicatesSummary]:
    """The groups' file names in order, and the summary."""
    events = list(index.duplicates_events((), options))
    groups = [event for event in events if isinstance(event, DuplicateGroup)]
    names = [[Path(file.path).name for file in group.files] for group in groups]
    return names, events[-1].summary  # type: ignore[union-attr]


@pytest.mark.usefixtures("photos")
def test_the_same_picture_in_other_forms_is_one_group_with_the_best_first(
    index: clipindex.Index,
) -> None:
    groups, summary = looked(index)
    (group,) = groups
    assert group[:2] == ["best.png", "copy.png"]  # the most pixels and bytes; copies by age
    assert sorted(group[2:]) == ["cropped.jpg", "quality.jpg", "small.jpg", "web.webp"]
    assert group[-1] == "small.jpg"  # the fewest pixels
    assert (summary.groups, summary.duplicates, summary.spare) == (1, 5, 5)
    assert summary.exit_code == 0


@pytest.mark.usefixtures("photos")
def test_a_mirror_image_belongs_to_the_group_only_on_request(
    index: clipindex.Index,
) -> None:
    (group,) = index.duplicates((), MIRRORED)
    roles = {Path(file.path).name: file.role for file in group.files}
    assert roles["mirror.jpg"] == "mirrored"
    assert roles["quality.jpg"] == "near"


def test_exact_opens_no_picture(photos: Path, index: clipindex.Index) -> None:
    for path in photos.iterdir():
        path.unlink()
    groups, summary = looked(index, DuplicatesOptions(exact=True))
    assert groups == [["best.png", "copy.png"]]
    assert summary.not_compared == 0


def test_a_picture_is_read_once_and_then_its_file_may_be_away(
    photos: Path, index: clipindex.Index
) -> None:
    groups, first = looked(index)
    assert first.hashed > 0
    (photos / "small.jpg").unlink()
    again, second = looked(index)
    assert (again, second.hashed, second.away) == (groups, 0, 0)


def test_files_that_are_away_or_edited_are_counted_and_named(
    photos: Path, index: clipindex.Index
) -> None:
    (photos / "small.jpg").unlink()
    (photos / "web.webp").write_bytes(picture_bytes(9, "WEBP"))
    events = list(index.duplicates_events())
    named = {Path(e.path).name: e.why for e in events if isinstance(e, NotCompared)}
    assert named["small.jpg"] is Unread.AWAY
    assert named["web.webp"] is Unread.CHANGED
    summary = events[-1].summary  # type: ignore[union-attr]
    assert (summary.away, summary.changed, summary.exit_code) == (1, 1, 0)
    assert summary.duplicates == 3  # the others are still found


def test_one_of_several_copies_is_enough_to_compare_a_picture(
    photos: Path, index: clipindex.Index
) -> None:
    (photos / "best.png").unlink()
    _, summary = looked(index)
    assert (summary.duplicates, summary.away) == (5, 0)


@pytest.mark.usefixtures("photos")
def test_the_collection_is_free_while_pictures_are_read(
    index: clipindex.Index,
) -> None:
    for event in index.duplicates_events():
        if isinstance(event, DuplicatesProgress) and event.step is not Step.POINTS:
            with locked(index.place.lock, "ingest", 0):
                break
    else:
        pytest.fail("no picture was read")


@pytest.mark.usefixtures("photos")
def test_what_an_interrupted_search_has_read_is_not_read_again(
    index: clipindex.Index,
) -> None:
    events = index.duplicates_events()
    for event in events:
        if isinstance(event, DuplicatesProgress) and event.step is Step.PICTURES:
            break
    events.close()
    _, summary = looked(index)
    _, whole = looked(index)
    assert 0 < summary.hashed < summary.pictures
    assert whole.hashed == 0


# --- verdicts --------------------------------------------------------------------------------


def test_different_pictures_are_kept_apart_after_a_rename_and_in_another_store(
    photos: Path, index: clipindex.Index, tmp_path: Path
) -> None:
    assert index.mark_different([photos / "best.png", photos / "small.jpg"]) == 1
    assert index.mark_different([photos / "small.jpg", photos / "copy.png"]) == 0  # the contents'
    (photos / "small.jpg").rename(photos / "renamed.jpg")
    ingest(index, photos)
    index.export(tmp_path / "exported")
    elsewhere = clipindex.Index(tmp_path / "elsewhere", model=str(TINY))
    elsewhere.import_(tmp_path / "exported")
    index.backup(tmp_path / "backup")
    restored = clipindex.Index(tmp_path / "restored", model=str(TINY))
    restored.restore(tmp_path / "backup")
    copied = clipindex.Index(tmp_path / "copied", model=str(TINY))
    index.copy_to(copied)
    for one in (index, elsewhere, restored, copied):
        groups, _ = looked(one)
        assert not any({"best.png", "renamed.jpg"} <= set(group) for group in groups)
        (verdict,) = one.verdicts()
        assert (verdict.verdict, len(verdict.sha256)) == ("different", 2)


def test_what_is_kept_comes_first_and_could_never_go(photos: Path, index: clipindex.Index) -> None:
    assert index.mark_keep([photos / "small.jpg"]) == 1
    (group,) = index.duplicates()
    assert Path(group.files[0].path).name == "small.jpg"
    index.mark_keep([photos / "best.png"])
    (group,) = index.duplicates()
    spare = {Path(file.path).name for file in group.files if file.spare}
    assert spare == {"copy.png", "quality.jpg", "web.webp", "cropped.jpg"}


def test_a_verdict_can_be_taken_back(photos: Path, index: clipindex.Index) -> None:
    index.mark_keep([photos / "small.jpg"])
    index.mark_different([photos / "best.png", photos / "small.jpg", photos / "web.webp"])
    assert index.forget_verdicts([photos / "small.jpg"]) == 3
    assert index.forget_verdicts() == 1
    assert index.verdicts() == []
    assert len(looked(index)[0][0]) == 6


def test_verdicts_name_only_indexed_pictures_of_different_content(
    photos: Path, index: clipindex.Index
) -> None:
    with pytest.raises(UsageError, match="not indexed"):
        index.mark_keep([photos / "nowhere.jpg"])
    with pytest.raises(UsageError, match="same bytes"):
        index.mark_different([photos / "best.png", photos / "copy.png"])
    with pytest.raises(UsageError, match="at least two"):
        index.mark_different([photos / "best.png"])
    assert index.verdicts() == []


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.integers(0, 9)), max_size=30),
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6),
)
def test_no_group_has_two_that_a_person_called_different(
    edges: list[tuple[float, int, int]], pairs: set[tuple[int, int]]
) -> None:
    digests = [bytes([number]) * 32 for number in range(10)]
    different = {apart(digests[one], digests[two]) for one, two in pairs if one != two}
    edges = [edge for edge in edges if edge[1] != edge[2]]
    groups = grouped(edges, digests, different)
    for group in groups:
        for one, two in combinations(group, 2):
            assert apart(digests[one], digests[two]) not in different
    members = [number for group in groups for number in group]
    assert len(members) == len(set(members))
    if not different:  # then whatever is connected is together
        for _, one, two in edges:
            assert any({one, two} <= set(group) for group in groups)


# --- the parts -------------------------------------------------------------------------------


def run_to_end(vectors: np.ndarray, bound: float, most: int = 10**6) -> Candidates:  # type: ignore[type-arg]
    search = near_pairs(vectors, bound, 2, most)
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def unit_rows(count: int) -> np.ndarray:  # type: ignore[type-arg]
    rows = np.random.default_rng(0).standard_normal((count, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_every_pair_above_the_bound_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 7)
    vectors = unit_rows(40)
    result = run_to_end(vectors, 0.3)
    wanted = {
        (one, two) for one, two in combinations(range(40), 2) if vectors[one] @ vectors[two] >= 0.3
    }
    assert sorted(map(tuple, result.pairs.tolist())) == sorted(wanted)
    assert result.bound == 0.3


def test_of_too_many_pairs_the_nearest_are_kept_and_the_bound_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 7)
    vectors = unit_rows(40)
    result = run_to_end(vectors, 0.0, most=60)
    assert 0 < len(result.pairs) <= 60
    assert result.bound > 0
    above = {
        (one, two)
        for one, two in combinations(range(40), 2)
        if vectors[one] @ vectors[two] > result.bound + 1e-6
    }
    assert above <= set(map(tuple, result.pairs.tolist()))
    assert result.cosines.min() == np.float32(result.bound)


def hashes_of(*images: Image.Image) -> likeness.Hashes:
    files = []
    for image in images:
        out = io.BytesIO()
        image.save(out, "PNG")
        files.append(likeness.perceptual_hash(out.getvalue()))
    return likeness.unpacked(files)


def test_a_perceptual_hash_survives_a_crop_and_tells_others_and_mirror_images_apart() -> None:
    image = photograph(5)
    cropped = image.crop((0, 14, 342, 280))
    hashes = hashes_of(image, cropped, ImageOps.mirror(image), photograph(6))
    pairs = np.array([[0, 0], [0, 1], [1, 0], [0, 2], [0, 3]])
    same, crop, porc, mirror, other = likeness.differences(hashes, pairs)
    assert same == 0
    assert crop == porc < 0.1
    assert min(mirror, other) > 0.3
    assert likeness.differences(hashes, np.array([[0, 2], [2, 0]]), mirrored=True).max() < 0.02


# --- the command -----------------------------------------------------------------------------


def said(capfd: pytest.CaptureFixture[str], store: Path, *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = app(["duplicates", *words, "--store", str(store)], standalone_mode=False)
    return code, *capfd.readouterr()


def test_the_command_lists_groups_as_lines_paths_and_json(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    code, out, err = said(capfd, store)
    assert code == 0
    assert out.splitlines()[0].split("\t")[:2] == ["1", "best"]
    assert "1 group with 5 duplicates among 10 files" in err

    _, out, _ = said(capfd, store, "-0")
    assert sorted(Path(name).name for name in out.split("\0")[:-1]) == [
        *("copy.png", "cropped.jpg", "quality.jpg", "small.jpg", "web.webp")
    ]
    _, lines, _ = said(capfd, store, "--paths")
    assert lines.splitlines() == out.split("\0")[:-1]

    _, out, _ = said(capfd, store, "--json")
    group, summary = map(json.loads, out.splitlines())
    assert (group["type"], group["group"], group["exact"]) == ("group", 1, False)
    assert [file["role"] for file in group["files"][:2]] == ["best", "copy"]
    assert summary["type"] == "duplicates"
    assert all(path.exists() for path in photos.iterdir())


def test_the_command_searches_below_a_path_and_records_verdicts(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    two = (str(photos / "best.png"), str(photos / "small.jpg"))
    _, out, err = said(capfd, store, *two)
    assert "among 2 files" in err
    assert len(out.splitlines()) == 2
    code, out, _ = said(capfd, store, "different", *two)
    assert (code, out) == (0, "1 pair marked as different\n")
    _, out, err = said(capfd, store, *two)
    assert out == ""
    assert "1 pair kept apart" in err
    _, out, _ = said(capfd, store, "verdicts")
    assert out.split("\t")[0] == "different"
    code, _, err = said(capfd, store, "forget")
    assert code == 2
    assert "--all" in err
    code, _, err = said(capfd, store, str(tmp_path / "nowhere"))
    assert (code, "nothing is indexed" in err) == (2, True)
    code, _, err = said(capfd, store, "keep", two[0], "--mirrored")
    assert code == 2
