"""Interrupted, killed, cut off, locked out: what was reported stays, the next run goes on."""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import clipindex
from clipindex.cli.bar import Bar
from clipindex.collection.lock import locked
from clipindex.errors import CollectionBusy
from clipindex.stores.edge import EdgePoints
from clipindex.stores.points import Point
from conftest import TINY, Ended, ingest, make_pictures, reconciles, run_clipindex

COUNT = 120  # enough that a busy machine cannot finish before the signal arrives
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough pictures for a run of twenty batches. Never changed."""
    folder = tmp_path_factory.mktemp("photos")
    make_pictures(folder, COUNT)
    return folder


@pytest.fixture(scope="session")
def undisturbed(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[uuid.UUID, tuple[bytes, dict[str, object]]]:
    """What a run that nothing disturbs stores of the photos."""
    index = clipindex.Index(tmp_path_factory.mktemp("undisturbed"), model=str(TINY))
    ingest(index, photos)
    return stored(index)


def points_of(index: clipindex.Index) -> list[Point]:
    """Every point, read with the engine alone."""
    place = index.place
    with locked(place.lock, "test"):
        store = EdgePoints(place.shard, 512)
        try:
            return list(store.retrieve([id for id, _ in store.scroll()]).values())
        finally:
            store.close()


def stored(index: clipindex.Index) -> dict[uuid.UUID, tuple[bytes, dict[str, object]]]:
    """Ids with vectors and payloads, `indexed_at` aside."""
    found = {}
    for point in points_of(index):
        payload = {name: value for name, value in point.payload.items() if name != "indexed_at"}
        found[point.id] = (point.vector.tobytes(), payload)
    return found


def slow_run(photos: Path, store: Path) -> list[object]:
    """An ingest in many small batches."""
    run = ["ingest", photos, "--store", store, "--model", TINY, "--json"]
    return [*run, "--batch-size", 2, "--workers", 1]


def read_batches(process: subprocess.Popen[str], wanted: int) -> list[str]:
    """The ids of the first batches that the process reports."""
    ids: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        assert told["type"] != "summary", "the run was over before it could be interrupted"
        if told["type"] == "batch":
            ids += told["ids"]
            wanted -= 1
            if not wanted:
                return ids
    raise AssertionError(f"the run ended early: {process.communicate()}")


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


# --- killed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 6])
def test_what_was_reported_survives_a_kill_and_the_next_run_completes_it(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
    batches: int,
) -> None:
    process = start_clipindex(*slow_run(photos, index.place.store))
    ids = {uuid.UUID(id) for id in read_batches(process, batches)}
    process.kill()
    assert process.wait(timeout=10) == -signal.SIGKILL
    assert len(ids) == 2 * batches
    kept = stored(index)
    assert ids <= set(kept)
    assert {id: kept[id] for id in ids} == {id: undisturbed[id] for id in ids}

    run = ingest(index, photos)
    assert reconciles(run.summary)
    assert run.summary.found == run.summary.points == COUNT
    assert run.summary.new + run.summary.unchanged == COUNT
    assert run.summary.unchanged >= len(ids)
    assert stored(index) == undisturbed
    assert ingest(index, photos).summary.written == 0


@pytest.mark.slow
def test_killed_again_and_again_it_still_ends_where_an_undisturbed_run_ends(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
) -> None:
    reported: set[uuid.UUID] = set()
    for _ in range(4):
        process = start_clipindex(*slow_run(photos, index.place.store))
        reported |= {uuid.UUID(id) for id in read_batches(process, 2)}
        process.kill()
        process.wait(timeout=10)
    assert len(reported) == 16  # no batch was done twice
    assert reported <= set(stored(index))
    assert reconciles(ingest(index, photos).summary)
    assert stored(index) == undisturbed


def test_a_kill_while_the_collection_is_being_made_does_no_harm(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
) -> None:
    for name in ("lock", "shard", "contract.json"):
        process = start_clipindex(*slow_run(photos, index.place.store))
        deadline = time.monotonic() + 30
        while not (index.place.folder / name).exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.wait(timeout=10)
    ingest(index, photos)
    assert stored(index) == undisturbed


# --- interrupted and terminated ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_stopped_run_says_so_and_the_next_one_goes_on(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    process = start_clipindex(*slow_run(photos, index.place.store))
    ids = read_batches(process, 2)
    process.send_signal(number)
    done = ended(process)
    assert done.code == code
    assert f"{word}; finished batches are safe" in done.err
    assert "Traceback" not in done.err
    assert all(line["type"] in ("file", "batch") for line in done.lines)

    run = ingest(index, photos)
    assert reconciles(run.summary)
    assert len(ids) <= run.summary.unchanged < COUNT
    assert stored(index) == undisturbed


def test_status_tells_that_the_last_run_did_not_finish(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    process = start_clipindex(*slow_run(photos, index.place.store))
    read_batches(process, 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    done = run_clipindex("status", "--store", index.place.store)
    assert done.code == 0
    assert "interrupted" in done.out


def test_ctrl_c_in_a_terminal_leaves_it_in_order(index: clipindex.Index, photos: Path) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    run = [arg for arg in slow_run(photos, index.place.store) if arg != "--json"]
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child becomes clipindex
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "clipindex", *map(str, run)])
    termios.tcsetwinsize(terminal, (24, 80))
    seen, pressed, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says EIO when the program is gone
            break
        seen += more
        if b"0%" in seen and not pressed:  # the bar is there
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"Traceback" not in seen
    assert b"interrupted; finished batches are safe" in seen


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("library", ["numpy", "onnxruntime", "qdrant_edge"])
def test_ctrl_c_while_the_program_still_loads_leaves_no_traceback(
    index: clipindex.Index, photos: Path, start_clipindex: Start, library: str
) -> None:
    process = start_clipindex(*slow_run(photos, index.place.store))
    maps, deadline = Path(f"/proc/{process.pid}/maps"), time.monotonic() + 30
    while library not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.code in (130, -signal.SIGINT)  # a shell shows 130 for both
    assert "Traceback" not in done.err


INTERRUPTED_IMPORT = """
import signal, sys

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from clipindex.__main__ import main
main()
"""


def test_ctrl_c_before_the_command_line_is_loaded_leaves_no_traceback() -> None:
    run = [sys.executable, "-c", INTERRUPTED_IMPORT, "--help"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# --- closed pipes ----------------------------------------------------------------------------


def run_unread(*args: object, closed: str) -> tuple[int, str]:
    """`clipindex ARGS` with nobody at the other end of a stream: exit code and other stream."""
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams |= dict.fromkeys(("stdout", "stderr") if closed == "both" else (closed,), writer)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "clipindex", *map(str, args)],
            **streams,  # type: ignore[call-overload]
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, (done.stdout or "") + (done.stderr or "")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three pictures and their store."""
    folder = tmp_path_factory.mktemp("small")
    make_pictures(folder / "in", 3)
    ingest(clipindex.Index(folder / "store", model=str(TINY)), folder / "in")
    return folder / "in", folder / "store"


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["people", "json"])
@pytest.mark.parametrize("command", ["ingest", "query", "status", "dry-run"])
def test_a_closed_pipe_ends_quietly(
    small: tuple[Path, Path], command: str, json_option: list[str]
) -> None:
    photos, store = small
    args = {
        "ingest": ["ingest", photos, "--store", store, "--quiet"],
        "dry-run": ["ingest", photos, "--store", store, "--dry-run"],
        "query": ["query", "a dog", "--store", store],
        "status": ["status", "--store", store],
    }[command]
    assert run_unread(*args, *json_option, closed="stdout") == (0, "")


def test_head_takes_the_best_hit_and_nobody_complains(small: tuple[Path, Path]) -> None:
    photos, store = small
    query = [sys.executable, "-m", "clipindex", "query", photos / "001.jpg", "--store", store]
    with subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = subprocess.run(
            ["head", "-n", "1"], stdin=process.stdout, capture_output=True, text=True, check=True
        ).stdout
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
    assert first == f"1.0000\t{photos / '001.jpg'}\n"


@pytest.mark.parametrize("closed", ["stderr", "both"])
def test_an_error_keeps_its_exit_code_when_nobody_reads_it(tmp_path: Path, closed: str) -> None:
    assert run_unread("query", "a dog", "--store", tmp_path, closed=closed) == (6, "")


def test_an_ingest_whose_progress_nobody_reads_does_not_claim_to_be_done_without_doing_it(
    index: clipindex.Index, photos: Path
) -> None:
    store = index.place.store
    run = ["ingest", photos, "--store", store, "--model", TINY]
    code, _ = run_unread(*run, closed="stderr")
    done = len(points_of(index)) if index.place.contract.exists() else 0
    assert (code == 0) == (done == COUNT)


# --- locked ----------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from clipindex.collection.lock import locked
with locked(Path(sys.argv[1]), "ingest"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(index: clipindex.Index) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the collection; it lets go when its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(index.place.lock)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload]
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def indexed(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A collection of three pictures."""
    make_pictures(tmp_path / "in", 3)
    ingest(index, tmp_path / "in")
    return index


def test_a_query_says_busy_within_a_second_and_names_the_holder(indexed: clipindex.Index) -> None:
    run = ["query", "a dog", "--store", indexed.place.store]
    with held(indexed) as holder:
        start = time.monotonic()
        done = run_clipindex(*run)
        assert time.monotonic() - start < 9  # a writer waits for ten
        assert (done.code, done.out) == (11, "")
        assert f"ingest, process {holder.pid}, since 20" in done.err
        assert "try again" in done.err
        (error,) = run_clipindex(*run, "--json").lines
        assert (error["code"], error["kind"]) == (11, "CollectionBusy")
    assert run_clipindex(*run).code == 0


@pytest.mark.slow
def test_while_an_ingest_runs_status_answers_and_a_query_says_busy(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    store = index.place.store
    process = start_clipindex(*slow_run(photos, store))
    read_batches(process, 2)
    process.send_signal(signal.SIGSTOP)  # so that it is surely still at it
    try:
        status = run_clipindex("status", "--store", store, "--json")
        assert status.code == 0
        assert 4 <= status.lines[0]["indexed"] < COUNT
        assert status.lines[0]["last_run"]["finished"] is None
        assert "running" in run_clipindex("status", "--store", store).out
        preview = run_clipindex("ingest", photos, "--store", store, "--dry-run", "--json")
        assert preview.lines[0]["found"] == COUNT
        query = run_clipindex("query", "a dog", "--store", store)
        assert query.code == 11
        assert f"ingest, process {process.pid}" in query.err
    finally:
        process.send_signal(signal.SIGCONT)
    done = ended(process)
    assert done.code == 0
    assert done.lines[-1]["points"] == COUNT


def test_an_ingest_waits_for_a_reader_to_be_done(
    indexed: clipindex.Index, tmp_path: Path, start_clipindex: Start
) -> None:
    with held(indexed) as holder:
        process = start_clipindex("ingest", tmp_path / "in", "--store", indexed.place.store)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        holder.communicate()  # closes its standard input
        assert ended(process).code == 0


@pytest.mark.slow
def test_an_ingest_gives_up_after_ten_seconds_and_names_the_holder(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    with held(indexed) as holder:
        done = run_clipindex("ingest", tmp_path / "in", "--store", indexed.place.store)
    assert done.code == 11
    assert f"process {holder.pid}" in done.err


def test_two_ingests_at_once_end_as_one(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
) -> None:
    run = ["ingest", photos, "--store", index.place.store, "--model", TINY, "--json"]
    both = [ended(process) for process in [start_clipindex(*run), start_clipindex(*run)]]
    assert [done.code for done in both] == [0, 0]
    assert sum(done.lines[-1]["embedded"] for done in both) == COUNT
    assert stored(index) == undisturbed


def test_a_dead_holder_locks_nobody_out(indexed: clipindex.Index) -> None:
    with held(indexed) as holder:
        holder.kill()
        holder.wait(timeout=10)
        assert len(indexed.query("a dog")) == 3


def test_a_refused_query_leaves_the_holders_note_in_place(indexed: clipindex.Index) -> None:
    with held(indexed) as holder:
        for _ in range(2):
            with pytest.raises(CollectionBusy, match=f"ingest, process {holder.pid}"):
                indexed.query("a dog")


def test_a_bar_that_is_interrupted_while_it_is_drawn_first_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(io.StringIO):
        def write(self, _: str) -> int:
            raise KeyboardInterrupt

    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda fault: ignored.append(fault.exc_value))
    with pytest.raises(KeyboardInterrupt):
        Bar(total=5, file=Interrupted())
    gc.collect()
    assert ignored == []
