"""The command line as people and programs meet it: options, streams, field names, terminals."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import shutil
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import app
from clipindex.cli.exits import Ending
from clipindex.errors import ModelError
from clipindex.files.identity import point_id
from conftest import TINY, Ended, make_pictures, picture_bytes, run_clipindex

FILE_FIELDS = {"type", "path", "status", "id", "reason"}
BATCH_FIELDS = {"type", "points", "ids", "verified"}
STATUSES = ("new", "changed", "duplicate", "moved", "unchanged", "quarantined", "skipped")
SUMMARY_FIELDS = {
    *("type", "found", *STATUSES, "newly_quarantined", "deferred", "left_out", "vanished"),
    *("points", "embedded", "by_preview", "written"),
    *("seconds", "pictures_per_second", "model", "provider"),
    *("store", "collection", "exit_code", "tagged", "newly_vanished", "vanished_notes"),
    *("pruned", "accepted", "quarantine_reasons", "skip_reasons", "standing", "nodes"),
    "deaths",
}
HIT_FIELDS = {
    *("rank", "score", "path", "paths", "id", "width", "height", "taken", "tags", "search", "ef"),
    *("z", "fits", "meta", "group"),
}
PREVIEW_FIELDS = {
    *("type", "found", "unchanged", "to_read", "bytes_to_read", "deferred", "quarantined"),
    *("skipped", "vanished", "left_out", "faults", "by_content", "unmatched_globs"),
}
STATUS_FIELDS = {
    *("type", "store", "collection", "model", "revision", "preprocessing", "precision"),
    *("dimension", "bundle", "indexed", "quarantined", "skipped", "roots", "last_run", "aliases"),
    *("vanished", "accepted", "health", "search", "ef", "running", "last_success", "root_options"),
    *("disk_bytes", "reclaimable_bytes", "switch"),
}
RUN_FIELDS = {
    *("started", "finished", "ended", "command", "pid", "host", "exit_code", "reason"),
    *("counts", "summary", "refused"),
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|38|4[0-7]|48|9[0-7])\b[0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A command run in this process leaves its SIGTERM handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def clip(*args: object, env: dict[str, str] | None = None) -> Ended:
    """`clipindex ARGS` in this process, without a terminal."""
    arguments = [arg if isinstance(arg, str) else str(arg) for arg in args]
    done = CliRunner().invoke(app, arguments, env=env, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def of_type(ended: Ended, kind: str) -> list[dict[str, object]]:
    return [line for line in ended.lines if line.get("type") == kind]


def summary(ended: Ended) -> dict[str, object]:
    return ended.lines[-1]


def in_terminal(
    *args: object, columns: int = 80, env: dict[str, str] | None = None, answer: bytes = b""
) -> tuple[int, str]:
    """`clipindex ARGS` in a pseudo-terminal: exit code, and all that it wrote there. `answer` is
    typed when it asks."""
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "clipindex", *map(str, args)]
    actions = [(os.POSIX_SPAWN_DUP2, terminal, number) for number in (0, 1, 2)]
    plain |= {"TERM": "xterm-256color", **(env or {})}
    if answer:  # a session of its own, whose terminal this is: Ctrl-C is a signal there
        actions.insert(0, (os.POSIX_SPAWN_OPEN, 0, os.ttyname(terminal), os.O_RDWR, 0))
        del actions[1]
    pid = os.posix_spawn(sys.executable, command, plain, file_actions=actions, setsid=bool(answer))
    os.close(terminal)
    seen, deadline = b"", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([control], [], [], 1)[0]:
                continue
            try:
                more = os.read(control, 65536)
            except OSError:  # Linux says EIO when the last writer is gone
                break
            if not more:
                break
            seen += more
            if answer and b"[y/N]" in seen:
                os.write(control, answer)
                answer = b""
    finally:
        os.close(control)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen.decode("utf-8", "replace")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder with what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in `a`, `ab` and `a/deep`; `a/000.jpg` has a copy in `ab`. Never changed."""
    folder = tmp_path_factory.mktemp("photos") / "My Pictures 🌊"
    make_pictures(folder / "a", 4)
    make_pictures(folder / "ab", 3, first_seed=10)
    make_pictures(folder / "a" / "deep", 2, first_seed=20)
    shutil.copy(folder / "a" / "000.jpg", folder / "ab" / "copy.jpg")
    return folder


@pytest.fixture(scope="session")
def store(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, indexed. Tests only read it."""
    place = tmp_path_factory.mktemp("indexed")
    for _ in clipindex.Index(place, model=str(TINY)).ingest_events([photos]):
        pass
    return place


# --- help ------------------------------------------------------------------------------------


def words(text: str) -> str:
    """Text without boxes and line ends, so that a sentence can be looked for."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", ESCAPE.sub("", text)).split())


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("command", "teaches"),
    [
        ((), ("Exit codes: 0 done", 'query "a dog on a beach"', "ingest", "query", "status")),
        (("ingest",), ("Safe to interrupt", "--batch-size", "--limit", "--dry-run")),
        (("query",), ("The score is a cosine", "0.2 to 0.35", "--min-score", "--under")),
        (("status",), ("the run under way", "--collection")),
    ],
)
def test_help_teaches(command: tuple[str, ...], flag: str, teaches: tuple[str, ...]) -> None:
    done = clip(*command, flag, env={"COLUMNS": "120"})
    assert done.code == 0
    for sentence in teaches:
        assert sentence in words(done.out)
    assert not done.err


def test_options_tell_the_environment_variable_that_sets_them() -> None:
    shown = words(clip("ingest", "--help", env={"COLUMNS": "300"}).out)
    for name in ("STORE", "COLLECTION", "MODEL", "BATCH_SIZE", "WORKERS", "LIMIT"):
        assert f"CLIPINDEX_{name}" in shown


def test_without_a_command_the_help_is_shown() -> None:
    done = run_clipindex()
    assert done.code == 2
    assert "COMMAND" in words(done.out + done.err)


def test_the_version_is_printed() -> None:
    assert clip("--version") == Ended(0, f"clipindex {clipindex.__version__}\n", "")


def test_an_unknown_command_and_an_unknown_option_are_usage_errors() -> None:
    for args in (["ingets"], ["ingest", "--wrokers", "2", "."], ["query"], ["ingest"]):
        done = clip(*args)
        assert done.code == 2
        assert not done.out
        assert re.search(r"\n  .*clipindex", done.err)  # a hint names the command to type next


# --- ingest: what programs read --------------------------------------------------------------


def test_ingest_json_lines_have_exactly_the_promised_fields(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 5)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_bytes(b"hello")
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--json"]
    done = clip(*run, "--model", TINY, "--batch-size", "2")
    assert done.code == 3
    files, batches = of_type(done, "file"), of_type(done, "batch")
    assert all(set(line) == FILE_FIELDS for line in files)
    assert all(set(line) == BATCH_FIELDS for line in batches)
    assert set(summary(done)) == SUMMARY_FIELDS
    assert len(files) + len(batches) + 1 == len(done.lines)
    assert sorted(line["points"] for line in batches) == [1, 2, 2]
    assert all(line["verified"] is True for line in batches)
    by_status = {line["status"]: line for line in files}
    assert set(by_status) == {"new", "quarantined", "skipped"}
    assert by_status["new"]["reason"] is None
    assert by_status["quarantined"]["id"] is None
    assert by_status["quarantined"]["reason"]
    ids = [id for line in batches for id in line["ids"]]
    assert sorted(ids) == sorted(line["id"] for line in files if line["id"])
    assert summary(done)["exit_code"] == 3
    assert summary(done)["found"] == sum(summary(done)[status] for status in STATUSES) == 7


def test_a_batch_is_reported_after_the_files_it_holds(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 4)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY]
    waiting: set[object] = set()
    for line in clip(*run, "--json", "--batch-size", "2").lines:
        if line["type"] == "file":
            waiting.add(line["id"])
        elif line["type"] == "batch":
            assert waiting == set(line["ids"])
            waiting.clear()
    assert not waiting


def test_files_that_were_not_read_are_listed_only_with_verbose(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_bytes(b"hello")
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--json"]
    clip(*run, "--model", TINY)
    make_pictures(tmp_path / "in" / "later", 2, first_seed=50)
    assert [line["type"] for line in clip(*run, "--limit", "0").lines] == ["summary"]
    done = clip(*run, "--limit", "0", "--verbose")
    files = of_type(done, "file")
    told = sorted(str(line["status"]) for line in files)
    assert told == [*["deferred"] * 2, "quarantined", "skipped", *["unchanged"] * 3]
    assert all(set(line) == FILE_FIELDS for line in files)
    assert all((line["id"] is not None) == (line["status"] == "unchanged") for line in files)


def test_with_json_nothing_but_json_is_on_standard_output(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 2)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--json", "--verbose"]
    for args in ([*run, "--model", TINY], run, [*run, "--dry-run"]):
        done = clip(*args)
        assert done.code == 0
        assert all(isinstance(line, dict) for line in done.lines)


@pytest.mark.parametrize("exists", [False, True])
def test_a_dry_run_writes_nothing(tmp_path: Path, exists: bool) -> None:
    make_pictures(tmp_path / "in", 3)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store"]
    if exists:
        clip(*run, "--model", TINY)
        make_pictures(tmp_path / "in" / "later", 2, first_seed=50)
    before = tree(tmp_path)
    for extra in ([], ["--json"], ["--verbose"]):
        done = clip(*run, "--dry-run", *extra)
        assert done.code == 0
        assert done.out
    assert tree(tmp_path) == before
    assert (tmp_path / "store").exists() is exists


def test_a_dry_run_says_what_would_be_read(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 3)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store"]
    clip(*run, "--model", TINY)
    added = make_pictures(tmp_path / "in" / "later", 2, first_seed=50)
    (tmp_path / "in" / "000.jpg").unlink()
    (line,) = clip(*run, "--dry-run", "--json", "--limit", "1").lines
    assert set(line) == PREVIEW_FIELDS
    counts = [line[name] for name in ("found", "unchanged", "to_read", "deferred", "vanished")]
    assert counts == [4, 2, 1, 1, 1]
    assert line["bytes_to_read"] == added[0].stat().st_size
    assert "2 unchanged" in words(clip(*run, "--dry-run").out)


def test_limit_defers_the_rest_and_the_next_run_goes_on(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 5)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY, "--json"]
    seen = []
    for _ in range(3):
        last = summary(clip(*run, "--limit", "2"))
        seen.append((last["new"], last["unchanged"], last["deferred"]))
    assert seen == [(2, 0, 3), (2, 2, 1), (1, 4, 0)]


def test_batch_size_and_workers_do_not_change_what_is_stored(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 6)
    hits = []
    for size, workers in ((1, 1), (250, 3)):
        place = ["--store", tmp_path / f"store{size}", "--json"]
        options = ["--batch-size", size, "--workers", workers, "--model", TINY]
        assert clip("ingest", tmp_path / "in", *place, *options).code == 0
        hits.append(clip("query", "a dog", *place).out)
    assert hits[0] == hits[1]


# --- ingest: what people read ----------------------------------------------------------------


def test_quiet_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 3)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY, "--quiet"]
    assert clip(*run) == Ended(0, "", "")
    assert clip(*run) == Ended(0, "", "")


def test_quiet_still_tells_of_a_damaged_file(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY, "--quiet"]
    done = clip(*run)
    assert (done.code, done.out) == (3, "")
    assert "bad.jpg" in done.err
    assert clip(*run) == Ended(0, "", "")  # told once; it is not new any more


def test_verbose_names_every_file_with_its_status(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", 2)
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--verbose"]
    first, second = clip(*run, "--model", TINY), clip(*run)
    for path in paths:
        assert f"new: {path}" in first.err
        assert f"unchanged: {path}" in second.err


def test_a_run_says_first_what_it_uses(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    place = ["--store", tmp_path / "store", "--collection", "mine"]
    done = clip("ingest", tmp_path / "in", *place, "--model", TINY, "--preprocessing", "exact")
    first = done.err.splitlines()[0]
    for fact in ("tiny-clip", "exact", str(tmp_path / "store"), "mine"):
        assert fact in first
    (status,) = clip("status", *place, "--json").lines
    assert (status["preprocessing"], status["collection"]) == ("exact", "mine")


def test_the_summary_counts_in_words(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", 3)
    shutil.copy(paths[0], tmp_path / "in" / "copy.jpg")
    (tmp_path / "in" / ".hidden.jpg").write_bytes(paths[0].read_bytes())
    done = clip("ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY)
    said = words(done.out)
    assert "3 new 1 copy of a known picture 4 found in all (1 name excluded)" in said
    assert "4 pictures in collection 'image_embeddings'; 4 written and verified, 3 embedded" in said


@pytest.mark.parametrize("command", ["ingest", "query", "status", "verbose", "dry-run"])
def test_without_a_terminal_no_control_character_is_written(
    tmp_path: Path, photos: Path, store: Path, command: str
) -> None:
    new = ["ingest", photos, "--store", tmp_path / "store", "--model", TINY]
    args = {
        "ingest": new,
        "verbose": [*new, "--verbose"],
        "dry-run": [*new, "--dry-run"],
        "query": ["query", "a dog", "--store", store],
        "status": ["status", "--store", store],
    }[command]
    done = run_clipindex(*args, env={"TERM": "xterm-256color"})
    assert done.code == 0
    assert done.out
    assert not CONTROL.search(done.out + done.err)


# --- environment -----------------------------------------------------------------------------


def test_the_environment_names_store_collection_and_model(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 2)
    env = {
        "CLIPINDEX_STORE": str(tmp_path / "by environment"),
        "CLIPINDEX_COLLECTION": "mine",
        "CLIPINDEX_MODEL": str(TINY),
        "CLIPINDEX_JSON": "1",
        "CLIPINDEX_BATCH_SIZE": "1",
    }
    done = clip("ingest", tmp_path / "in", env=env)
    assert (tmp_path / "by environment" / "mine" / "contract.json").is_file()
    assert len(of_type(done, "batch")) == 2
    (status,) = clip("status", env=env).lines
    assert (status["collection"], status["indexed"]) == ("mine", 2)
    assert len(clip("query", "a dog", env={**env, "CLIPINDEX_QUERY_LIMIT": "1"}).lines) == 1


def test_an_option_wins_over_the_environment(tmp_path: Path, store: Path) -> None:
    env = {"CLIPINDEX_STORE": str(tmp_path / "nowhere"), "CLIPINDEX_COLLECTION": "nothing"}
    place = ["--store", store, "--collection", "image_embeddings"]
    assert clip("status", *place, env=env).code == 0
    assert not (tmp_path / "nowhere").exists()


# --- query -----------------------------------------------------------------------------------


def test_query_json_lines_have_exactly_the_promised_fields(store: Path) -> None:
    done = clip("query", "a dog", "--store", store, "--json")
    assert done.code == 0
    assert all(set(line) == HIT_FIELDS for line in done.lines)
    assert [line["rank"] for line in done.lines] == list(range(1, 10))
    scores = [line["score"] for line in done.lines]
    assert scores == sorted(scores, reverse=True)
    assert all(score == round(score, 4) and -1 <= score <= 1 for score in scores)
    assert all((line["width"], line["height"]) == (320, 240) for line in done.lines)


def test_without_a_terminal_a_hit_is_score_tab_path(store: Path, photos: Path) -> None:
    done = run_clipindex("query", photos / "ab" / "001.jpg", "--store", store, "-n", 2)
    first, second = done.out.splitlines()
    assert first == f"1.0000\t{photos / 'ab' / '001.jpg'}"
    assert re.fullmatch(r"-?[01]\.\d{4}\t/.*\.jpg", second)
    assert not done.err


def test_the_picture_itself_comes_first_with_all_its_copies(store: Path, photos: Path) -> None:
    for own in (photos / "a" / "000.jpg", photos / "ab" / "copy.jpg"):
        done = clip("query", own, "--store", store, "--json", "--limit", "9")
        assert len(done.lines) == 9  # ten files, nine different pictures
        first = done.lines[0]
        assert (first["score"], first["path"]) == (1.0, str(own))
        copies = {str(photos / "a" / "000.jpg"), str(photos / "ab" / "copy.jpg")}
        assert set(first["paths"]) == copies
        assert [len(line["paths"]) for line in done.lines[1:]] == [1] * 8


def test_under_a_folder_means_below_it_and_not_beside_it(store: Path, photos: Path) -> None:
    run = ["query", "a dog", "--store", store, "--json"]
    paths = [path for line in clip(*run, "--under", photos / "a").lines for path in line["paths"]]
    assert len(paths) == 6
    assert all(Path(path).is_relative_to(photos / "a") for path in paths)
    assert len(clip(*run, "--under", photos / "ab").lines) == 4
    assert len(clip(*run, "--under", f"{photos}/a/deep/../deep/").lines) == 2


def test_min_score_leaves_out_what_is_below_it(store: Path, photos: Path) -> None:
    run = ["query", photos / "a" / "001.jpg", "--store", store, "--json"]
    scores = [line["score"] for line in clip(*run).lines]
    kept = [line["score"] for line in clip(*run, "--min-score", scores[2]).lines]
    assert kept == scores[:3]


def test_an_empty_result_is_no_error_but_said_in_a_word(store: Path) -> None:
    done = clip("query", "a dog", "--store", store, "--min-score", "1")
    assert (done.code, done.out) == (0, "")
    assert "nothing found" in done.err
    with_json = clip("query", "a dog", "--store", store, "--min-score", "1", "--json")
    assert (with_json.code, with_json.out) == (0, "")


@pytest.mark.parametrize("term", ["holiday.JPG", "./beach", "2*cat.png", "no/such/IMG_1.heic"])
def test_a_mistyped_path_of_a_picture_is_2_and_not_a_text(store: Path, term: str) -> None:
    for words in ([term], ["a dog", term], ["sand", "dog", term]):
        done = clip("query", *words, "--store", store)
        assert (done.code, done.out) == (2, "")
        assert "there is no such picture" in done.err
    assert clip("query", "--text", "holiday.JPG", "--store", store).code == 0


def test_a_text_may_begin_with_a_dash(store: Path) -> None:
    done = clip("query", "--store", store, "--limit", "1", "--", "-dog")
    assert done.code == 0
    assert len(done.out.splitlines()) == 1


def test_a_query_changes_nothing_but_the_lock_note(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 3)
    place = ["--store", tmp_path / "store"]
    clip("ingest", tmp_path / "in", *place, "--model", TINY)
    points = clip("query", "a dog", *place, "--json").out
    before = tree(tmp_path)
    assert clip("query", "a dog", *place, "--json").out == points
    after = tree(tmp_path)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"store/image_embeddings/lock"}


# --- status ----------------------------------------------------------------------------------


def test_status_json_is_one_object_with_the_documented_fields(store: Path, photos: Path) -> None:
    (line,) = clip("status", "--store", store, "--json").lines
    assert set(line) == STATUS_FIELDS
    assert (line["indexed"], line["quarantined"], line["skipped"]) == (10, 0, 0)
    assert (line["model"], line["dimension"]) == ("tiny-clip", 512)
    assert line["roots"] == [str(photos)]
    last_run = line["last_run"]
    assert set(last_run) == RUN_FIELDS
    assert (line["running"], line["last_success"]) == (None, last_run)
    assert (last_run["command"], last_run["exit_code"]) == ("ingest", 0)
    assert last_run["summary"]["new"] == 9


def test_status_says_it_in_words_too(store: Path, photos: Path) -> None:
    shown = words(run_clipindex("status", "--store", store, env={"COLUMNS": "300"}).out)
    for fact in ("tiny-clip", "dct-scaled", "pictures 10", str(photos), str(store)):
        assert fact in shown


# --- odd names -------------------------------------------------------------------------------

ODD_NAMES = [
    b"two\nlines.jpg",
    b"\x1b[31mred\x1b]0;title\x07.jpg",
    b"caf\xe9 \xff.jpg",
    b"-n.jpg",
    b"[bold]rich.jpg",
    "fu\u0308r \u202egpj.jpg".encode(),  # a combining mark, and letters turned right to left
    b"a\\x1b.jpg",
    b" spaces .jpg",
]


@pytest.fixture
def odd(tmp_path: Path) -> list[bytes]:
    """One different picture for each odd name."""
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    paths = [os.path.join(folder, name) for name in ODD_NAMES]
    for seed, path in enumerate(paths):
        try:
            with open(path, "wb") as file:
                file.write(picture_bytes(seed))
        except OSError:
            pytest.skip("this file system refuses such names")
    return paths


def test_odd_names_go_in_and_come_back(tmp_path: Path, odd: list[bytes]) -> None:
    place = ["--store", tmp_path / "store", "--json"]
    done = clip("ingest", tmp_path / "in", *place, "--model", TINY)
    assert summary(done)["new"] == len(odd)
    assert {line["id"] for line in of_type(done, "file")} == {
        str(point_id("local", path)) for path in odd
    }
    for path in odd:
        (first,) = clip("query", *place, "--limit", "1", "--", os.fsdecode(path)).lines
        assert first["score"] == 1.0
        assert first["id"] == str(point_id("local", path))
        assert first["path"] == path.decode("utf-8", "backslashreplace")
    assert summary(clip("ingest", tmp_path / "in", *place))["unchanged"] == len(odd)


def test_a_file_named_like_an_option_is_found_by_its_bare_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "in", 1)[0].rename(tmp_path / "in" / "-n.jpg")
    monkeypatch.chdir(tmp_path / "in")
    place = ["--store", tmp_path / "store", "--json"]
    assert summary(clip("ingest", *place, "--model", TINY, "--", "-n.jpg"))["new"] == 1
    (first,) = clip("query", *place, "--", "-n.jpg").lines
    assert (first["score"], first["path"]) == (1.0, str(tmp_path / "in" / "-n.jpg"))


def test_no_name_can_steer_the_terminal(tmp_path: Path, odd: list[bytes]) -> None:
    cut = os.fsencode(tmp_path / "in") + b"/\x1b[2Jcut.jpg"
    with open(cut, "wb") as file:
        file.write(picture_bytes(99)[:400])
    place = ["--store", tmp_path / "store"]
    code, seen = in_terminal("ingest", tmp_path / "in", *place, "--model", TINY, "--verbose")
    assert code == 3
    seen += in_terminal("query", os.fsdecode(odd[1]), *place)[1]
    seen += in_terminal("status", *place)[1]
    seen += in_terminal("query", os.fsdecode(cut), *place)[1]
    for steering in ("\x1b[31mred", "\x1b]0;", "\x07", "\x1b[2J", "\u202e"):
        assert steering not in seen
    assert "\\x1b[31mred" in seen
    assert "[bold]rich.jpg" in seen


# --- terminals -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def forty(photos: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands write to a terminal of 40 columns."""
    new = tmp_path_factory.mktemp("forty")
    runs = {
        "ingest": ["ingest", photos, "--store", new, "--model", TINY],
        "query": ["query", photos / "a" / "000.jpg", "--store", store],
        "status": ["status", "--store", store],
        "help": ["--help"],
    }
    seen = {}
    for name, args in runs.items():
        code, seen[name] = in_terminal(*args, columns=40)
        assert code == 0
    return seen


@pytest.mark.parametrize("command", ["status", "help"])
def test_tables_fit_a_terminal_of_40_columns(forty: dict[str, str], command: str) -> None:
    lines = ESCAPE.sub("", forty[command]).splitlines()
    assert lines
    assert max(map(len, lines)) <= 40


def test_a_table_of_40_columns_still_shows_score_and_whole_path(
    forty: dict[str, str], photos: Path
) -> None:
    shown = "".join(ESCAPE.sub("", forty["query"]).split())
    assert "1.0000" in shown
    assert "".join(str(photos / "a" / "001.jpg").split()) in re.sub(r"0\.\d{4}|\d$", "", shown)
    assert "(+1)" in shown  # the copy


def test_the_bar_is_drawn_on_a_terminal_within_its_width(forty: dict[str, str]) -> None:
    bars = [part for part in re.split(r"[\r\n]", forty["ingest"]) if re.search(r"\d%", part)]
    assert bars
    assert max(map(len, bars)) <= 40
    assert "%" not in forty["ingest"].splitlines()[-1]  # it is cleared away at the end


@pytest.mark.parametrize("command", ["query", "status", "ingest"])
def test_no_color_is_respected(tmp_path: Path, photos: Path, store: Path, command: str) -> None:
    args = {
        "query": ["query", "a dog", "--store", store],
        "status": ["status", "--store", store],
        "ingest": ["ingest", photos, "--store", tmp_path / "store", "--model", TINY],
    }[command]
    code, seen = in_terminal(*args, env={"NO_COLOR": "1"})
    assert code == 0
    assert not COLOUR.search(seen)


def test_the_module_and_the_command_are_the_same_program(store: Path) -> None:
    module = run_clipindex("status", "--store", store, "--json")
    assert json.loads(module.out) == clip("status", "--store", store, "--json").lines[0]


@pytest.mark.parametrize("how", [[], ["--json"], ["--dry-run"], ["--dry-run", "--json"]])
def test_a_pattern_that_matched_nothing_is_told(tmp_path: Path, how: list[str]) -> None:
    make_pictures(tmp_path / "photos", 2)
    globs = ["--exclude", "001.jpg", "--exclude", "*.jpeg", "--include", "*.jpg"]
    options = ["--store", str(tmp_path / "store"), "--model", str(TINY), *globs, *how]
    run = run_clipindex("ingest", tmp_path / "photos", *options)
    assert run.code == 0
    notes = [line for line in run.err.splitlines() if "matched nothing" in line]
    assert notes == ["note: the pattern '*.jpeg' matched nothing"]


def test_the_patterns_of_a_remembered_folder_are_not_told_again_each_night(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    store = ["--store", str(tmp_path / "store")]
    run_clipindex("ingest", tmp_path / "photos", *store, "--model", TINY, "--exclude", "*.tmp")
    assert "matched nothing" not in run_clipindex("reindex", *store).err


# --- errors for which nothing had better words -----------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "Permission denied (a)"),
        (OSError(errno.ENOSPC, "No space left on device", b"a"), 9, "No space left on device (a)"),
        (MemoryError(), 1, "there is not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "there is not enough memory"),
        (RuntimeError("can't start new thread"), 1, "no more threads can be started"),
        (ModelError("cannot load: std::bad_alloc", path="m"), 4, "cannot load: std::bad_alloc (m)"),
        (KeyError("x"), 1, "unexpected KeyError: 'x'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_system_ends_in_words_and_a_hint(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert Ending([]).run(fail) == code
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith(f"clipindex: {said}")
    assert "please report" not in hint or isinstance(error, KeyError)
