"""Standard streams, signals and logs that fail: the work goes on, the exit code tells the truth."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipindex.cli.words import count_of, printable, printable_json, printable_path
from conftest import TINY, make_pictures, run_clipindex

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def shell(redirected: str, *args: object) -> int:
    """`clipindex ARGS` with redirections as a shell writes them; the exit code."""
    command = [sys.executable, "-m", "clipindex", *map(str, args)]
    line = f'exec "$@" {redirected}'
    return subprocess.run(["sh", "-c", line, "sh", *command], check=False, timeout=120).returncode


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "in", 3)
    return tmp_path / "in"


@pytest.fixture
def new(photos: Path, tmp_path: Path) -> list[object]:
    """An ingest into a new store."""
    return ["ingest", photos, "--store", tmp_path / "store", "--model", TINY]


def indexed(tmp_path: Path) -> object:
    return json.loads(run_clipindex("status", "--store", tmp_path / "store", "--json").out)[
        "indexed"
    ]


@posix
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_with_streams_closed_the_work_is_done_and_no_file_takes_their_place(
    tmp_path: Path, new: list[object], closed: str
) -> None:
    assert shell(closed, *new) == 0
    assert shell(closed, *new, "--json") == 0
    assert shell(closed, "query", "a dog", "--store", tmp_path / "store") == 0
    assert indexed(tmp_path) == 3


@posix
@full
def test_a_full_disk_behind_standard_output_is_9_and_the_work_is_done(
    tmp_path: Path, new: list[object]
) -> None:
    assert shell(">/dev/full", *new, "--json") == 9
    assert indexed(tmp_path) == 3
    assert shell(">/dev/full", "query", "a dog", "--store", tmp_path / "store") == 9
    assert shell(">/dev/full", "--help") == 9


@posix
@full
def test_a_full_disk_behind_standard_error_loses_only_words(
    tmp_path: Path, new: list[object]
) -> None:
    assert shell("2>/dev/full", *new, "--verbose") == 0
    assert indexed(tmp_path) == 3


@full
def test_a_log_file_whose_disk_is_full_is_told_once_and_the_work_is_done(
    tmp_path: Path, new: list[object]
) -> None:
    done = run_clipindex(*new, "--quiet", "--log-file", "/dev/full")
    assert done.code == 9
    assert done.err.count("the work goes on without it") == 1
    assert "unexpected" not in done.err
    assert indexed(tmp_path) == 3


def test_a_log_file_that_cannot_be_opened_is_2_before_any_work(
    tmp_path: Path, new: list[object]
) -> None:
    done = run_clipindex(*new, "--json", "--log-file", tmp_path / "no" / "such" / "log")
    (error,) = done.lines
    assert (done.code, error["kind"]) == (2, "UsageError")
    assert not (tmp_path / "store").exists()


def test_every_command_has_a_log_and_errors_are_in_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_clipindex("query", "a dog", "--store", tmp_path / "none", "--log-file", log)
    run_clipindex("status", "--store", tmp_path / "none", "--log-file", log, "--quiet")
    lines = log.read_text("utf-8").splitlines()
    first, second = lines[:3], lines[3:]
    assert [line[26:].split(":")[0] for line in first] == ["started", "failed", "ended"]
    assert "there is no collection" in first[1]
    assert [line[26:] for line in first[1:]] == [line[26:] for line in second[1:]]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_locale_lacks_are_escaped_and_json_stays_json(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "in").mkdir()
    make_pictures(tmp_path, 1)[0].rename(tmp_path / "in" / "犬 😀 é.jpg")
    env = {"PYTHONIOENCODING": encoding}
    store = ["--store", tmp_path / "store"]
    run = ["ingest", tmp_path / "in", *store, "--model", TINY, "--json"]
    assert subprocess_bytes(*run, env=env)[0] == 0
    code, out = subprocess_bytes("query", "a dog", *store, "--json", env=env)
    assert code == 0
    assert json.loads(out.decode(encoding))["path"] == str(tmp_path / "in" / "犬 😀 é.jpg")
    code, out = subprocess_bytes("query", "a dog", *store, env=env)
    path = out.decode(encoding).rstrip("\r\n").split("\t")[1]
    assert code == 0
    assert path == str(tmp_path / "in" / "犬 😀 é.jpg").encode(encoding, "backslashreplace").decode(
        encoding
    )


def subprocess_bytes(*args: object, env: dict[str, str]) -> tuple[int, bytes]:
    command = [sys.executable, "-m", "clipindex", *map(str, args)]
    done = subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no hang-up")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_hang_up_ends_a_run_in_order_unless_its_caller_ignores_it(
    tmp_path: Path, ignored: bool
) -> None:
    make_pictures(tmp_path / "in", 150)
    store = tmp_path / "store"
    command = [sys.executable, "-m", "clipindex", "ingest", str(tmp_path / "in"), "--json"]
    command += ["--store", str(store), "--model", str(TINY), "--batch-size", "5"]
    shell_ = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"] if ignored else []
    process = subprocess.Popen([*shell_, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    lines = []
    while not any(b'"batch"' in line for line in lines):
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=120)
    assert process.returncode == (0 if ignored else 143)
    assert b"Traceback" not in err
    reported = sum(
        json.loads(line)["points"] for line in [*lines, *out.splitlines()] if b'"batch"' in line
    )
    assert indexed(tmp_path) >= reported  # type: ignore[operator]
    assert ignored or b"finished batches are safe" in err


@posix
def test_a_terminal_that_hangs_up_does_not_stop_a_run_that_outlives_it(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    make_pictures(tmp_path / "in", 60)
    control, terminal = pty.openpty()
    command = [sys.executable, "-m", "clipindex", "ingest", str(tmp_path / "in")]
    command += ["--store", str(tmp_path / "store"), "--model", str(TINY)]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    seen = b""
    while b"model" not in seen:
        seen += os.read(control, 4096)
    os.close(control)  # every write to it fails from now on
    assert process.wait(120) == 0
    assert indexed(tmp_path) == 60


def test_an_interrupt_is_told_and_logged(
    tmp_path: Path, start_clipindex: Callable[..., subprocess.Popen[str]]
) -> None:
    make_pictures(tmp_path / "in", 150)
    log = tmp_path / "log"
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY]
    process = start_clipindex(*run, "--log-file", log, "--batch-size", "5")
    deadline = time.monotonic() + 60
    while not (log.exists() and "verified" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished batches are safe" in err
    last = log.read_text().splitlines()[-1]
    assert "ended: exit code 130; " in last
    assert last.endswith("; interrupted")


# --- names -----------------------------------------------------------------------------------

ODD = [
    ("plain é 犬 😀 \u202f\u3000\u200d.jpg", "plain é 犬 😀 \u202f\u3000\u200d.jpg"),
    ("two\nlines", r"two\x0alines"),
    ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
    ("right\u202eleft", r"right\u202eleft"),
    (r"zip\name[0]", r"zip\name[0]"),
    (r"a\x1b", r"a\\x1b"),  # a backslash that would read as an escape
    ("a\\\x1b", r"a\\\x1b"),
]


@pytest.mark.parametrize(("name", "shown"), ODD)
def test_a_name_is_shown_so_that_it_steers_nothing_and_can_be_turned_back(
    name: str, shown: str
) -> None:
    assert printable_path(name.encode("utf-8", "surrogatepass")) == shown


def test_bytes_that_are_not_utf_8_are_shown_as_escapes() -> None:
    assert printable_path(b"caf\xe9 \xff") == r"caf\xe9 \xff"
    assert printable("caf\udce9") == r"caf\xe9"


@pytest.mark.parametrize("text", ["a\u202eb\x9b\x7f", "\U000e0001\ud800", "é 犬"])
def test_json_with_unsafe_characters_is_still_the_same_json(text: str) -> None:
    line = printable_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert not any(character in line for character in "\u202e\x9b\x7f\U000e0001\ud800")


def test_counts_agree_with_their_nouns() -> None:
    assert count_of(1, "picture") == "1 picture"
    assert count_of(0, "picture") == "0 pictures"
    assert count_of(2_000, "copy", "copies") == "2,000 copies"


SIGNALLED = """
import os, signal, sys, threading, time
from clipindex.cli import streams
streams.prepare()
class Interrupted(Exception): pass
def stop(*_): raise Interrupted
signal.signal(signal.SIGUSR1, stop)
main, done = os.getpid(), threading.Event()
def shoot():
    while not done.is_set():
        os.kill(main, signal.SIGUSR1)
        time.sleep(0.0001)
thread = threading.Thread(target=shoot)
number = 0
def work():
    global number
    while number < 4000:
        try:
            number += 1
            print(f"line {number}", flush=True)
        except Interrupted:
            pass
while True:
    try:
        if not thread.is_alive(): thread.start()
        work()
        break
    except Interrupted:
        pass
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
done.set()
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_signal_while_a_line_is_written_does_not_write_it_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=60, check=True
    )
    numbers = [int(word) for word in re.findall(r"line (\d+)", done.stdout)]
    assert len(numbers) > 1000
    assert len(set(numbers)) == len(numbers)
