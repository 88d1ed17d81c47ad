"""Daily use: the walk's policy, tags, remembered folders, moved disks, parts, several terms."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.errors import UsageError
from clipindex.search.terms import Term, TermKind, embed_query, parse_term
from clipindex.upkeep.relocate import new_path
from conftest import TINY, ingest, make_pictures, picture_bytes, reconciles, run_clipindex
from test_ingest import same_state, stored

RUNNER = CliRunner()


def found(index: clipindex.Index, *paths: Path, **policy: object) -> set[str]:
    """Names of the files that an ingest with this policy indexes."""
    events = index.ingest_events(paths, policy=clipindex.WalkPolicy(**policy))  # type: ignore[arg-type]
    return {Path(event.path).name for event in events if isinstance(event, clipindex.FileDone)}


# --- the walk's policy -----------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """a.jpg, b.JPG, sub/c.jpg, sub/private/d.jpg, .hidden/e.jpg, @eaDir/f.jpg, link -> sub."""
    names = ["a.jpg", "b.JPG", "sub/c.jpg", "sub/private/d.jpg", ".hidden/e.jpg", "@eaDir/f.jpg"]
    for seed, name in enumerate(names):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(seed))
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "g.jpg").write_bytes(picture_bytes(20))
    (tmp_path / "outside" / "loop").symlink_to(tmp_path / "outside")
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ({}, "a.jpg b.JPG c.jpg d.jpg"),
        ({"hidden": True}, "a.jpg b.JPG c.jpg d.jpg e.jpg f.jpg"),
        ({"follow": True}, "a.jpg b.JPG c.jpg d.jpg g.jpg"),
        ({"exclude": ("private",)}, "a.jpg b.JPG c.jpg"),
        ({"exclude": ("sub/private",)}, "a.jpg b.JPG c.jpg"),
        ({"exclude": ("sub/*.jpg",)}, "a.jpg b.JPG d.jpg"),
        ({"exclude": ("sub/**/*.jpg",)}, "a.jpg b.JPG"),
        ({"exclude": ("private/*",)}, "a.jpg b.JPG c.jpg d.jpg"),
        ({"include": ("*.JPG",), "exclude": ("sub",)}, "a.jpg b.JPG"),
        ({"include": ("a*", "d*")}, "a.jpg d.jpg"),
        ({"one_file_system": True}, "a.jpg b.JPG c.jpg d.jpg"),
    ],
    ids=str,
)
def test_the_policy_decides_what_the_walk_goes_into(
    index: clipindex.Index, tree: Path, policy: dict[str, object], names: str
) -> None:
    assert found(index, tree, **policy) == set(names.split())


def test_another_file_system_is_left_out_where_that_is_asked(
    index: clipindex.Index, tree: Path
) -> None:
    (tree / "disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", tree / "disk"], check=False)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        (tree / "disk" / "h.jpg").write_bytes(picture_bytes(30))
        assert "h.jpg" not in found(index, tree, one_file_system=True)
        assert "h.jpg" in found(index, tree)
    finally:
        subprocess.run(["umount", tree / "disk"], check=True)


def test_what_is_left_out_is_counted_and_named_when_asked(tree: Path, tmp_path: Path) -> None:
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY)]
    result = RUNNER.invoke(app, ["ingest", str(tree), "--verbose", *options])
    assert "3 names excluded" in result.stdout
    for name in (".hidden", "@eaDir", "link"):
        assert f"excluded: {tree / name}" in result.stderr


def test_the_store_below_a_root_is_not_walked(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    assert ingest(index, tmp_path).summary.found == 2
    again = ingest(index, tmp_path).summary
    assert (again.found, again.left_out) == (2, 1)


# --- tags ------------------------------------------------------------------------------------


def tags_in(index: clipindex.Index) -> dict[str, dict[str, str]]:
    from clipindex.stores.payload import tags_of

    return {Path(path).name: dict(tags_of(point.payload)) for path, point in stored(index).items()}


def test_tags_are_put_on_all_that_is_found_without_inference(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    (tmp_path / "photos" / "new.jpg").write_bytes(picture_bytes(9))
    events = list(index.ingest_events([tmp_path / "photos"], tags={"owner": "ann", "year": "2019"}))
    summary = events[-1].summary  # type: ignore[union-attr]
    assert (summary.new, summary.unchanged, summary.tagged, summary.embedded) == (1, 3, 3, 1)
    assert all(tags == {"owner": "ann", "year": "2019"} for tags in tags_in(index).values())
    again = list(index.ingest_events([tmp_path / "photos"], tags={"owner": "ann"}))[-1]
    assert again.summary.written == 0  # type: ignore[union-attr]


def test_tags_survive_an_edit_a_rename_and_a_touch(index: clipindex.Index, tmp_path: Path) -> None:
    edited, renamed, touched = make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    index.tag({"kind": "keep"}, [tmp_path / "photos"])
    edited.write_bytes(picture_bytes(50))
    renamed.rename(tmp_path / "photos" / "x.jpg")
    os.utime(touched)
    ingest(index, tmp_path / "photos")
    assert tags_in(index) == {name: {"kind": "keep"} for name in ("000.jpg", "x.jpg", "002.jpg")}


def test_tag_and_untag_keep_to_their_paths_and_queries_filter_by_them(
    index: clipindex.Index, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "a", 2)
    (single,) = make_pictures(tmp_path / "ab", 1, first_seed=5)
    ingest(index, tmp_path)
    assert index.tag({"who": "ann"}, [tmp_path / "a"]) == 2
    assert index.tag({"who": "ann"}, [tmp_path / "a"]) == 0
    assert index.tag({"who": "bob"}, [single]) == 1

    def names(**options: object) -> set[str]:
        hits = index.query("x", clipindex.QueryOptions(**options))  # type: ignore[arg-type]
        return {os.path.relpath(hit.path, tmp_path) for hit in hits}

    assert names(where=(("who", "ann"),)) == {"a/000.jpg", "a/001.jpg"}
    assert names(where_not=(("who", "ann"),)) == {"ab/000.jpg"}
    assert index.untag(["who"], [tmp_path / "a"]) == 2
    assert names(where=(("who", "ann"),)) == set()
    assert names(where=(("who", "bob"),)) == {"ab/000.jpg"}


@pytest.mark.parametrize("text", ["owner", "=x", "a b=c", "a.b=c", "ä=1"])
def test_a_tag_that_no_field_can_hold_is_a_usage_error(text: str, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["tag", text, ".", "--store", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not a tag" in result.stderr


# --- remembered folders and moved disks ------------------------------------------------------


def test_reindex_takes_every_remembered_folder_with_its_own_options(
    index: clipindex.Index, tree: Path, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "other", 1, first_seed=40)
    index.ingest([tree], policy=clipindex.WalkPolicy(exclude=("sub",)), tags={"of": "tree"})
    ingest(index, tmp_path / "other")
    (tree / "late.jpg").write_bytes(picture_bytes(60))
    (tree / "sub" / "late.jpg").write_bytes(picture_bytes(61))
    (tmp_path / "other" / "late2.jpg").write_bytes(picture_bytes(62))
    summary = index.reindex()
    assert (summary.new, summary.unchanged) == (2, 3)
    assert tags_in(index)["late.jpg"] == {"of": "tree"}
    assert tags_in(index)["late2.jpg"] == {}
    assert index.status().roots == sorted([str(tmp_path / "other"), str(tree)])
    index.forget(tmp_path / "other")
    assert index.status().roots == [str(tree)]
    with pytest.raises(UsageError, match="not a remembered folder"):
        index.forget(tmp_path / "other")
    assert len(stored(index)) == 5


def test_reindex_without_a_memory_says_what_to_do(index: clipindex.Index, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ingest(index, tmp_path / "empty")
    with pytest.raises(UsageError, match="remembers no folder"):
        index.reindex()


def test_relocate_ends_where_an_ingest_at_the_new_place_would(
    index: clipindex.Index, tmp_path: Path
) -> None:
    paths = make_pictures(tmp_path / "old" / "sub", 5)
    shutil.copy(paths[0], tmp_path / "old" / "copy.jpg")
    (tmp_path / "old" / "bad.jpg").write_bytes(picture_bytes(1)[:300])
    ingest(index, tmp_path / "old")
    index.tag({"k": "v"}, [paths[1]])
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert index.relocate(tmp_path / "old", tmp_path / "new") == 6
    assert index.status().roots == [str(tmp_path / "new")]
    assert tags_in(index)["001.jpg"] == {"k": "v"}
    after = ingest(index, tmp_path / "new").summary
    assert (after.unchanged, after.quarantined, after.newly_quarantined) == (6, 1, 0)
    assert (after.written, after.embedded, after.points) == (0, 0, 6)
    fresh = clipindex.Index(tmp_path / "fresh", model=str(TINY))
    ingest(fresh, tmp_path / "new")
    index.untag(["k"], [tmp_path / "new"])
    assert same_state(index, fresh)


def test_an_interrupted_relocate_is_finished_by_the_same_call(
    index: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipindex.upkeep import relocate as room

    make_pictures(tmp_path / "old", 9)
    ingest(index, tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    code = (
        "import os, clipindex\nfrom clipindex.upkeep import relocate as room\n"
        "from clipindex.stores.edge import EdgePoints\n"
        "room.POINTS_AT_ONCE = 2\n"
        "delete, left = EdgePoints.delete, [2]\n"
        "def dying(self, ids):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), 9)\n"
        "    return delete(self, ids)\n"
        "EdgePoints.delete = dying\n"
        f"clipindex.Index({str(tmp_path / 'store')!r}).relocate("
        f"{str(tmp_path / 'old')!r}, {str(tmp_path / 'new')!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    assert len(stored(index)) == 11  # two moved, two there twice, five at their old place
    monkeypatch.setattr(room, "POINTS_AT_ONCE", 4)
    index.relocate(tmp_path / "old", tmp_path / "new")
    summary = ingest(index, tmp_path / "new").summary
    assert (summary.unchanged, summary.points, summary.written) == (9, 9, 0)


def test_relocate_refuses_what_would_help_nobody(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    with pytest.raises(UsageError, match="no such folder"):
        index.relocate(tmp_path / "photos", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nothing below"):
        index.relocate(tmp_path / "else", tmp_path / "photos")


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        (b"/a/b.jpg", b"/a", b"/mnt", b"/mnt/b.jpg"),
        (b"/a/b.jpg", b"/a/", b"/", b"/b.jpg"),
        (b"/b.jpg", b"/", b"/mnt", b"/mnt/b.jpg"),
        (b"/a", b"/a", b"/mnt", b"/mnt"),
    ],
)
def test_a_new_path_keeps_what_lies_below(
    path: bytes, old: bytes, new: bytes, expected: bytes
) -> None:
    assert new_path(path, old, new) == expected


# --- parts, sources, time --------------------------------------------------------------------


def test_all_parts_together_are_one_whole_run(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 12)
    whole = clipindex.Index(tmp_path / "whole", model=str(TINY))
    ingest(whole, tmp_path / "photos")
    counts = []
    for number in (1, 2, 3):
        part = clipindex.Part(number, 3)
        summary = index.ingest([tmp_path / "photos"], part=part)
        assert reconciles(summary)
        assert summary.vanished == 0
        counts.append(summary.found)
    assert sum(counts) == 12
    assert max(counts) < 12
    assert same_state(index, whole)


def test_each_source_judges_only_its_own_files(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 3)
    mine = clipindex.Index(tmp_path / "store", model=str(TINY), source="one")
    other = clipindex.Index(tmp_path / "store", model=str(TINY), source="two")
    ingest(mine, tmp_path / "photos")
    summary = ingest(other, tmp_path / "photos").summary
    assert (summary.new, summary.points) == (3, 6)
    assert ingest(mine, tmp_path / "photos").summary.unchanged == 3
    (hit,) = mine.query(tmp_path / "photos" / "000.jpg", clipindex.QueryOptions(limit=1))
    assert len(hit.paths) == 2


def test_when_the_time_is_up_the_rest_is_deferred(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 40)
    summary = ingest(index, tmp_path / "photos", max_seconds=0.0, batch_size=5).summary
    assert summary.deferred > 0
    assert reconciles(summary)
    assert summary.points == summary.new
    assert ingest(index, tmp_path / "photos").summary.points == 40


@pytest.mark.parametrize("text", ["4", "0/3", "4/3", "a/b", "1/0"])
def test_a_part_that_is_none_is_a_usage_error(text: str, tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["ingest", str(tmp_path), "--part", text]).exit_code == 2


# --- queries ---------------------------------------------------------------------------------


def test_terms_are_added_by_weight_and_brought_back_to_length_one(
    tiny_model: clipindex.index.Model,  # type: ignore[name-defined]
) -> None:
    dog, cat = tiny_model.encode_texts(["a dog"])[0], tiny_model.encode_texts(["a cat"])[0]
    terms = [parse_term("2*a dog"), Term("a cat", weight=-1.0)]
    both = embed_query(terms, tiny_model, clipindex.Preprocessing.EXACT).vector
    expected = 2 * dog - cat
    assert np.allclose(both, expected / np.linalg.norm(expected), atol=1e-6)


def test_terms_that_cancel_out_are_a_usage_error(tiny_model: clipindex.index.Model) -> None:  # type: ignore[name-defined]
    terms = [Term("a dog"), Term("a dog", weight=-1.0)]
    with pytest.raises(UsageError, match="cancel"):
        embed_query(terms, tiny_model, clipindex.Preprocessing.EXACT)


def test_a_weight_is_a_number_and_a_star_before_the_term() -> None:
    assert parse_term("2*dog") == Term("dog", weight=2.0)
    assert parse_term(".5*big dog") == Term("big dog", weight=0.5)
    assert parse_term("x*dog") == Term("x*dog")
    assert parse_term("5 * dog") == Term("5 * dog")


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder of five indexed pictures, and the options that name the store."""
    store = tmp_path / "store"
    make_pictures(tmp_path / "photos", 5)
    ingest(clipindex.Index(store, model=str(TINY)), tmp_path / "photos")
    return tmp_path / "photos", ["--store", str(store)]


def test_paths_come_alone_and_zero_terminated_byte_for_byte(
    asked: tuple[Path, list[str]],
) -> None:
    photos, options = asked
    odd = os.fsencode(photos) + b"/new\nline \xff.jpg"
    with open(odd, "wb") as file:
        file.write(picture_bytes(70))
    run_clipindex("ingest", photos, *options)
    done = subprocess.run(
        [sys.executable, "-m", "clipindex", "query", odd, "-0", "-n", "3", *options],
        capture_output=True,
        check=True,
    )
    assert done.stdout.split(b"\0")[0] == odd
    assert done.stdout.count(b"\0") == 3
    lines = RUNNER.invoke(app, ["query", str(photos / "001.jpg"), "--paths", *options]).stdout
    assert lines.splitlines()[0] == str(photos / "001.jpg")


def test_standard_input_is_a_text_or_a_picture(asked: tuple[Path, list[str]]) -> None:
    photos, options = asked
    data = (photos / "002.jpg").read_bytes()
    as_picture = RUNNER.invoke(app, ["query", "-", "--paths", *options], input=data)
    assert as_picture.stdout.splitlines()[0] == str(photos / "002.jpg")
    as_text = RUNNER.invoke(app, ["query", "-", "--json", *options], input="a dog\n")
    typed = RUNNER.invoke(app, ["query", "a dog", "--json", *options])
    assert as_text.stdout == typed.stdout


def test_image_and_text_say_what_a_term_is(
    asked: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, options = asked
    monkeypatch.chdir(photos)
    as_picture = RUNNER.invoke(app, ["query", "--image", "000.jpg", *options])
    assert as_picture.stdout.startswith("1.0000")
    as_text = RUNNER.invoke(app, ["query", "--text", "000.jpg", *options])
    assert not as_text.stdout.startswith("1.0000")
    missing = RUNNER.invoke(app, ["query", "--image", "none.jpg", *options])
    assert missing.exit_code == 2
    assert RUNNER.invoke(app, ["query", *options]).exit_code == 2


def test_a_picture_minus_itself_is_a_usage_error(asked: tuple[Path, list[str]]) -> None:
    photos, options = asked
    one = str(photos / "000.jpg")
    result = RUNNER.invoke(app, ["query", one, "--minus", one, *options])
    assert result.exit_code == 2
    assert "cancel" in result.stderr


def test_kinds_of_terms_are_closed() -> None:
    assert {kind.value for kind in TermKind} == {"auto", "text", "image", "point"}


# --- the rest of the shell -------------------------------------------------------------------


@pytest.mark.parametrize(("end", "flags"), [(b"\n", []), (b"\0", ["-0"])])
def test_files_from_takes_exactly_the_named_files(
    tmp_path: Path, end: bytes, flags: list[str]
) -> None:
    paths = make_pictures(tmp_path / "photos", 6)
    listing = end.join(os.fsencode(path) for path in [paths[1], paths[4], paths[1]]) + end
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY), "--json"]
    for source, data in (("-", listing), (str(tmp_path / "list"), b"")):
        (tmp_path / "list").write_bytes(listing)
        result = RUNNER.invoke(
            app, ["ingest", "--files-from", source, *flags, *options], input=data
        )
        assert result.exit_code == 0
        assert '"found": 2,' in result.stdout
    status = clipindex.Index(tmp_path / "store").status()
    assert (status.indexed, status.roots) == (2, [])


def test_a_named_file_that_is_missing_is_told_and_is_3(tmp_path: Path) -> None:
    (one,) = make_pictures(tmp_path / "photos", 1)
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY)]
    result = RUNNER.invoke(
        app, ["ingest", "--files-from", "-", *options], input=f"{one}\n{one}.gone\n"
    )
    assert result.exit_code == 3
    assert f"could not be read: {one}.gone: no such file" in result.stderr


def test_the_log_file_holds_each_file_with_its_time(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no picture")
    log = tmp_path / "log.txt"
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY), "--log-file", str(log)]
    RUNNER.invoke(app, ["ingest", str(tmp_path / "photos"), "--quiet", *options])
    RUNNER.invoke(app, ["ingest", str(tmp_path / "nowhere"), *options])
    lines = log.read_text().splitlines()
    assert all(line[:4].isdigit() and "T" in line[:12] for line in lines)
    text = "\n".join(lines)
    for words in ("new: ", "quarantined: ", "batch of 2 verified", "finished: 3 found", "failed: "):
        assert words in text


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 6)
    ingest(clipindex.Index(tmp_path / "store", model=str(TINY)), tmp_path / "photos")
    file = tmp_path / "config.toml"
    file.write_text(f'store = "{tmp_path / "store"}"\n[query]\nlimit = 2\n')

    def hits(*flags: str, env: dict[str, str] | None = None) -> int:
        args = ["query", "x", "--config", str(file), *flags]
        return len(RUNNER.invoke(app, args, env=env or {}).stdout.splitlines())

    assert hits() == 2
    assert hits(env={"CLIPINDEX_QUERY_LIMIT": "3"}) == 3
    assert hits("--limit", "4", env={"CLIPINDEX_QUERY_LIMIT": "3"}) == 4


def test_the_users_own_file_is_read_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(clipindex.Index(tmp_path / "store", model=str(TINY)), tmp_path / "photos")
    (tmp_path / "clipindex").mkdir()
    (tmp_path / "clipindex" / "config.toml").write_text(f'store = "{tmp_path / "store"}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "1" in RUNNER.invoke(app, ["status"]).stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[query]\nlimmit = 2", "limmit"),
        ("[qerry]\nlimit = 2", "qerry"),
        ("limit = ", "cannot be read"),
        (None, "no such configuration"),
    ],
)
def test_a_wrong_configuration_is_a_usage_error_in_plain_words(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    result = RUNNER.invoke(app, ["query", "x", "--config", str(file)])
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_dry_run_with_checksums_tells_what_each_file_is(
    index: clipindex.Index, tmp_path: Path
) -> None:
    one, two, three, four = make_pictures(tmp_path / "photos", 4)
    ingest(index, tmp_path / "photos")
    one.write_bytes(picture_bytes(50))
    two.rename(tmp_path / "photos" / "x.jpg")
    shutil.copy(three, tmp_path / "photos" / "y.jpg")
    os.utime(four)
    (tmp_path / "photos" / "z.jpg").write_bytes(picture_bytes(51))
    (tmp_path / "photos" / "notes.txt").write_text("none")
    preview = index.dry_run([tmp_path / "photos"], checksum=True)
    kinds = dict.fromkeys(["changed", "moved", "duplicate", "unchanged", "new", "skipped"], 1)
    assert preview.by_content == kinds
    assert len(stored(index)) == 4


OPENS = """
import os, sys
from collections import Counter
import clipindex

store, photos, command = sys.argv[1:]
opened = Counter()

def count(event, args):
    if event in ("open", "sqlite3.connect") and not isinstance(args[0], int):
        opened[os.path.basename(os.fsdecode(args[0]))] += 1

sys.addaudithook(count)
index = clipindex.Index(store)
summary = index.ingest([photos]) if command == "ingest" else index.reindex()
assert (summary.unchanged, summary.written) == (3, 0), summary
print(*(opened[name] for name in ("contract.json", "model.json", "catalogue.sqlite")))
"""


@pytest.mark.parametrize("command", ["ingest", "reindex"])
def test_an_unchanged_run_reads_contract_model_and_catalogue_once(
    index: clipindex.Index, tmp_path: Path, command: str
) -> None:
    """The contract once more under the lock: another run may have created the collection."""
    make_pictures(tmp_path / "photos", 3)
    ingest(index, tmp_path / "photos")
    args = [str(index.place.store), str(tmp_path / "photos"), command]
    done = subprocess.run(
        [sys.executable, "-c", OPENS, *args], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "1", "1"]
