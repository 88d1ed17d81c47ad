"""While one process holds a collection, it answers the others; nobody is turned away."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex import errors
from clipindex.collection.lock import QUERY, LockFile, holder_of
from clipindex.collection.opening import open_for_change
from clipindex.collection.sharing import answering, socket_file, wire
from clipindex.collection.sharing.asking import AskedPoints, NoAnswer, ask_for_hand_over
from clipindex.collection.sharing.hold import held
from clipindex.errors import CollectionBusy, StoreError
from clipindex.files.identity import point_id
from clipindex.stores import verified
from clipindex.stores.filter import Filter
from clipindex.stores.payload import path_fields
from clipindex.stores.points import Point, ReadablePoints
from clipindex.upkeep import transfer
from conftest import NOBODY, TINY, ingest, make_pictures, run_clipindex, unprivileged
from test_interrupt import COUNT, Start, ended, photos, read_batches, slow_run, stored, undisturbed

assert callable(photos)  # fixtures of test_interrupt
assert callable(undisturbed)

pytestmark = pytest.mark.skipif(not socket_file.IS_SUPPORTED, reason="no Unix sockets here")


@pytest.fixture
def indexed(index: clipindex.Index, tmp_path: Path) -> clipindex.Index:
    """A collection of three pictures."""
    make_pictures(tmp_path / "in", 3)
    ingest(index, tmp_path / "in")
    return index


def asked(index: clipindex.Index) -> AskedPoints:
    """The points as another process sees them."""
    return AskedPoints(index.place.lock, holder_of(index.place.lock))


def hits(index: clipindex.Index, *more: object) -> list[tuple[str, float]]:
    """A query as a process of its own."""
    done = run_clipindex("query", "a dog", "--store", index.place.store, "--json", *more)
    assert done.code == 0, done.err
    return [(line["path"], line["score"]) for line in done.lines]


# --- beside an ingest ------------------------------------------------------------------------


def test_queries_beside_an_ingest_are_all_answered_and_do_not_disturb_it(
    index: clipindex.Index,
    photos: Path,
    start_clipindex: Start,
    undisturbed: dict[uuid.UUID, object],
) -> None:
    store = index.place.store
    process = start_clipindex(*slow_run(photos, store))
    read_batches(process, 2)
    rest: list[str] = []
    reading = threading.Thread(target=lambda: rest.extend(process.stdout or ()))
    reading.start()
    beside = 0
    while process.poll() is None:
        done = run_clipindex("query", photos / "000.jpg", "--store", store, "--json", "-n", 3)
        assert done.code == 0, done.err
        first = done.lines[0]
        assert (first["path"], first["score"]) == (str(photos / "000.jpg"), 1.0)
        assert len(done.lines) == 3
        beside += 1
    reading.join()
    assert beside >= 1
    summary = json.loads(rest[-1])
    assert (summary["new"], summary["points"], process.returncode) == (COUNT, COUNT, 0)
    assert stored(index) == undisturbed
    assert not (index.place.folder / "sock").exists()


def test_a_held_collection_answers_as_an_open_one_does(indexed: clipindex.Index) -> None:
    located = indexed.place.locate()
    vector = np.zeros(512, np.float32)
    vector[0] = 1
    only = Filter().also_outside("name", ["000.jpg"])

    def everything(points: ReadablePoints) -> list[object]:
        found = dict(points.scroll())
        back = points.retrieve([*found, uuid.uuid4()])
        vectors = {name: (point.vector.tobytes(), point.payload) for name, point in back.items()}
        searches = points.search(vector, limit=2), points.search(vector, limit=9, only=only)
        return [found, vectors, searches, points.count(), points.count(only)]

    with located.place.open_for_reading(located.require(), "test") as points:
        own = everything(points)
    with (
        open_for_change(indexed.place, "tag"),
        located.place.open_for_reading(located.require(), "test") as points,
    ):
        assert everything(points) == own


def test_a_reader_sees_no_batch_before_it_is_verified(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def verify(_points: object, _batch: object) -> None:
        reader = threading.Thread(target=lambda: seen.append(asked(indexed).count()))
        reader.start()
        reader.join(0.5)
        assert not seen, "it was answered in the middle of a batch"

    monkeypatch.setattr(verified, "verify", verify)
    with open_for_change(indexed.place, "test") as collection:
        (point, *_) = collection.points.retrieve(
            [n for n, _ in collection.points.scroll()]
        ).values()
        verified.write_verified(
            collection.points, [Point(uuid.uuid4(), point.vector, point.payload)]
        )
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
    assert seen == [4]


def test_an_export_beside_an_ingest_has_every_point_that_was_there(
    index: clipindex.Index, photos: Path, start_clipindex: Start, tmp_path: Path
) -> None:
    store = index.place.store
    process = start_clipindex(*slow_run(photos, store))
    before = {uuid.UUID(name) for name in read_batches(process, 5)}
    done = run_clipindex("export", tmp_path / "export", "--store", store)
    assert process.poll() is None, "the ingest was over too soon"
    assert done.code == 0, done.err
    assert ended(process).code == 0
    copy = clipindex.Index(tmp_path / "copy", model=str(TINY))
    copy.import_(tmp_path / "export")
    exported, everything = stored(copy), stored(index)
    assert before <= set(exported) <= set(everything)
    assert all(everything[name] == point for name, point in exported.items())


def test_a_picture_that_moves_while_it_is_exported_is_not_missed(
    indexed: clipindex.Index,
) -> None:
    """Its new point lies before the page under way, its old one is gone before it is read."""
    stored_contract = indexed.place.locate().require()
    with open_for_change(indexed.place, "test") as collection:
        points = collection.points
        names = sorted(name for name, _ in points.scroll())
        (last,) = points.retrieve(names[-1:]).values()
        exported = transfer._all_points(points, stored_contract, 1)
        read = list(next(exported))
        source, path = collection.source, "/moved/000.jpg"
        moved = {**last.payload, **path_fields(path.encode())}
        payload = {field: value for field, value in moved.items() if value is not None}
        new = Point(point_id(source, path.encode()), last.vector, payload)
        verified.write_verified(points, [new])
        points.delete([last.id])
        read += [point for batch in exported for point in batch]
    assert sorted(point.id for point in read) == sorted([*names[:-1], new.id])


# --- killed ------------------------------------------------------------------------------------


def test_a_query_outlives_the_ingest_that_answers_it(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    """Killed between two requests of one reader, which then opens the collection itself."""
    process = start_clipindex(*slow_run(photos, index.place.store))
    read_batches(process, 3)
    located = index.place.locate()
    with located.place.open_for_reading(located.require(), QUERY) as points:
        before = points.count()
        assert process.poll() is None
        process.kill()
        process.wait(10)
        assert (index.place.folder / "sock").exists()  # what a kill leaves
        assert points.count() >= before >= 6
    assert not (index.place.folder / "sock").exists()
    assert len(index.query("a dog")) >= 6


@pytest.mark.slow
def test_queries_go_on_while_one_ingest_after_the_other_is_killed(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    ingest(index, photos, limit=5)
    codes: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            codes.append(run_clipindex("query", "a dog", "--store", index.place.store).code)

    with ThreadPoolExecutor(2) as threads:
        asking_threads = [threads.submit(ask) for _ in range(2)]
        for _ in range(4):
            process = start_clipindex(*slow_run(photos, index.place.store))
            read_batches(process, 2)
            process.kill()
        stop.set()
    for thread in asking_threads:
        thread.result()
    assert len(codes) >= 4
    assert set(codes) == {0}
    assert ingest(index, photos).summary.points == COUNT


ASK = """
import sys, time
from pathlib import Path
from clipindex.collection.lock import holder_of
from clipindex.collection.sharing.asking import AskedPoints
lock = Path(sys.argv[1])
points = AskedPoints(lock, holder_of(lock))
print("asking", flush=True)
while True:
    points.count()
"""


def test_a_process_killed_while_it_asks_does_not_disturb_the_holder(
    indexed: clipindex.Index,
) -> None:
    with open_for_change(indexed.place, "test") as collection:
        for _ in range(3):
            command = [sys.executable, "-c", ASK, str(indexed.place.lock)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asker:
                assert asker.stdout is not None
                assert asker.stdout.readline() == "asking\n"
                asker.kill()
        assert len(indexed.query("a dog")) == 3
        assert collection.points.count() == 3


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"[]\n", b"{}\n", b"\xff\n", b'{"protocol":1}\n', b'{"protocol":99}\n']
)
@pytest.mark.parametrize("then", [b"", b"{}\n", b'{"ask":"search"}\n', b'{"ask":["x"]}\n', b"[\n"])
def test_whatever_a_client_sends_the_holder_goes_on(
    indexed: clipindex.Index, sent: bytes, then: bytes
) -> None:
    with open_for_change(indexed.place, "test") as collection:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(indexed.place.folder / "sock"))
            client.settimeout(10)
            client.sendall(sent + then)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert all(isinstance(json.loads(line), dict) for line in answer.splitlines())
        assert asked(indexed).count() == collection.points.count() == 3


def test_a_holder_that_cannot_start_a_thread_refuses_one_and_answers_the_next(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with open_for_change(indexed.place, "test") as collection:
        assert asked(indexed).count() == 3
        for _ in range(answering.AT_ONCE + 1):  # no place may be lost
            with socket.socket(socket.AF_UNIX) as client, monkeypatch.context() as short:
                short.setattr(threading.Thread, "start", no_thread)
                client.connect(str(indexed.place.folder / "sock"))
                client.settimeout(10)
                assert client.recv(1) == b""
        assert asked(indexed).count() == collection.points.count() == 3


def test_an_error_of_the_holder_is_the_askers_error(indexed: clipindex.Index) -> None:
    with open_for_change(indexed.place, "test"), closing(asked(indexed)) as points:
        with pytest.raises(StoreError, match="cannot be searched"):
            points.search(np.ones(3, np.float32), limit=3)
        assert points.count() == 3


# --- who may ask, and where the socket lies ------------------------------------------------------


def test_the_socket_is_for_its_user_alone_and_goes_with_its_holder(
    indexed: clipindex.Index,
) -> None:
    path = indexed.place.folder / "sock"
    umask = os.umask(0)
    try:
        with open_for_change(indexed.place, "test"):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    finally:
        os.umask(umask)
    assert not path.exists()


def test_a_user_who_may_not_ask_is_told_so(reachable: Path) -> None:
    if os.geteuid() != 0:  # pragma: no cover
        pytest.skip("only root can be another user")
    make_pictures(reachable / "photos", 2)
    index = clipindex.Index(reachable / "store", model=str(TINY))
    ingest(index, reachable / "photos")
    with open_for_change(index.place, "ingest"), unprivileged():
        start = time.monotonic()
        with pytest.raises(CollectionBusy, match="only the user who started it") as refusal:
            index.query("a dog")
        assert time.monotonic() - start < 9
        assert "ingest, process" in refusal.value.message
        assert "as that user" in refusal.value.hint


def test_whoever_connects_as_another_user_gets_no_answer(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file's permissions let them, as for a process with every capability."""
    monkeypatch.setattr(answering, "is_allowed", lambda _: False)
    with open_for_change(indexed.place, "test"), pytest.raises(NoAnswer, match="only the user"):
        asked(indexed)


def test_a_socket_that_another_user_planted_is_not_asked(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_file, "_peer", lambda _: NOBODY)
    with (
        open_for_change(indexed.place, "test"),
        pytest.raises(CollectionBusy, match="only the user"),
    ):
        indexed.query("a dog")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for sockets; that of pytest is too long for some."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("why", ["too long", "link", "file", "folder"])
def test_where_the_folder_has_no_socket_it_lies_in_the_runtime_folder(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    deep = tmp_path / ("d" * 100) if why == "too long" else tmp_path
    index = clipindex.Index(deep / "store", model=str(TINY))
    make_pictures(tmp_path / "in", 3)
    ingest(index, tmp_path / "in")
    sock = index.place.folder / "sock"
    victim = tmp_path / "victim"
    victim.write_text("years of work")
    if why == "link":
        sock.symlink_to(victim)
    elif why == "file":
        sock.write_text("somebody else's")
    elif why == "folder":
        sock.mkdir()
    with open_for_change(index.place, "test"):
        note = holder_of(index.place.lock)
        assert note is not None
        assert note.socket is not None
        (private,) = short_folder.iterdir()
        assert Path(note.socket).parent == private
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert len(hits(index)) == 3
    assert list(short_folder.iterdir()) == []
    assert victim.read_text() == "years of work"
    assert victim.stat().st_mode & 0o777 != 0o600
    assert sock.exists() == (why != "too long")


def test_what_a_killed_holder_left_in_the_runtime_folder_the_next_one_deletes(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    killed = socket_file.listen(deep)
    assert killed is not None
    killed.socket.close()  # as the kernel does
    assert killed.path.parent.parent == short_folder
    following = socket_file.listen(deep)
    assert following is not None
    assert following.path == killed.path
    other = socket_file.listen(tmp_path / ("e" * 100))
    assert other is not None
    assert other.path.parent != killed.path.parent
    for listener in (following, other):
        listener.stop()
        listener.socket.close()
    assert list(short_folder.iterdir()) == []


@pytest.mark.parametrize("taken", ["a link", "open to others", "another user's", "a file"])
def test_a_runtime_folder_that_somebody_else_made_is_never_used(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    first = socket_file.listen(deep)
    assert first is not None
    place = first.path.parent
    first.stop()
    first.socket.close()
    if taken == "a link":
        (short_folder / "elsewhere").mkdir(0o700)
        place.symlink_to("elsewhere")
    elif taken == "a file":
        place.write_text("")
    else:
        place.mkdir(0o777 if taken == "open to others" else 0o700)
        place.chmod(0o777 if taken == "open to others" else 0o700)
        if taken == "another user's":
            if os.geteuid() != 0:
                pytest.skip("only root can give a folder away")
            os.chown(place, 12345, 12345)
    listener = socket_file.listen(deep)
    assert listener is not None
    assert listener.path.parent != place
    assert listener.path.parent.parent == short_folder
    assert not place.is_dir() or list(place.iterdir()) == []
    listener.stop()
    listener.socket.close()


def test_where_no_socket_can_be_made_a_query_says_busy_and_the_run_goes_on(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(socket_file, "_listen_at", refuse)
    with open_for_change(indexed.place, "test") as collection:
        start = time.monotonic()
        with pytest.raises(CollectionBusy, match=r"test, process .*; it answers no queries"):
            indexed.query("a dog")
        assert time.monotonic() - start < 9  # 0.8 on an idle machine
        assert collection.points.count() == 3


def test_an_unknown_protocol_is_busy_and_says_which_versions(
    indexed: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wire.greeting

    def newer(**more: str) -> wire.Message:
        return {**real(**more), "protocol": 99, "clipindex": "9.9"}

    with open_for_change(indexed.place, "ingest"):
        monkeypatch.setattr(answering.wire, "greeting", newer)
        with pytest.raises(CollectionBusy, match=r"clipindex 9\.9") as refusal:
            indexed.query("a dog")
        assert "same version" in refusal.value.hint


@pytest.mark.slow
def test_a_holder_that_was_stopped_is_named(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    process = start_clipindex(*slow_run(photos, index.place.store))
    read_batches(process, 2)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(CollectionBusy, match=rf"process {process.pid}, .*did not answer within"):
        index.query("a dog")
    process.send_signal(signal.SIGCONT)
    assert len(index.query("a dog")) >= 4
    assert ended(process).code == 0


# --- many readers --------------------------------------------------------------------------------


def test_sixteen_queries_at_once_are_all_answered(
    indexed: clipindex.Index, start_clipindex: Start
) -> None:
    run = ["query", "a dog", "--store", indexed.place.store, "--json"]
    all_at_once = [start_clipindex(*run) for _ in range(16)]
    answers = [ended(process) for process in all_at_once]
    assert [done.code for done in answers] == [0] * 16, {done.err for done in answers}
    assert len({done.out for done in answers}) == 1
    assert answers[0].out.count("\n") == 3


def test_a_query_waits_for_its_turn_behind_one_that_does_not_answer(
    indexed: clipindex.Index,
) -> None:
    """As an earlier version's, or one on Windows."""
    file = LockFile(indexed.place.lock)
    assert file.try_to_take()
    file.sign(QUERY)
    threading.Timer(2.0, file.close).start()
    assert len(indexed.query("a dog")) == 3


def test_threads_that_each_open_the_collection_do_not_turn_one_another_away(
    indexed: clipindex.Index,
) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: len(indexed.query(f"a dog {n}")), range(24)))
    assert answers == [3] * 24


# --- an Index that stays open --------------------------------------------------------------------


def test_an_open_index_answers_its_threads_and_other_processes(indexed: clipindex.Index) -> None:
    once = indexed.query("a dog")
    with indexed as index, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: index.query("a dog"), range(80))) == [once] * 80
        note = holder_of(index.place.lock)
        assert note is not None
        assert (note.pid, note.purpose) == (os.getpid(), "an open Index")
        assert hits(index) == [(hit.path, hit.score) for hit in once]
    with closing(LockFile(indexed.place.lock)) as file:
        assert file.try_to_take()
    assert not (indexed.place.folder / "sock").exists()


def test_an_open_index_hands_over_to_a_writer_at_once_and_goes_on(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    with indexed as index:
        assert index.query("a dog", clipindex.QueryOptions(where=(("a", "b"),))) == []
        done = run_clipindex(
            "tag", "a=b", tmp_path / "in", "--store", index.place.store, "--wait", 0
        )
        assert (done.code, done.err) == (0, "")
        assert len(index.query("a dog", clipindex.QueryOptions(where=(("a", "b"),)))) == 3


def test_an_open_index_is_answered_by_the_writer_meanwhile(
    index: clipindex.Index, photos: Path, start_clipindex: Start
) -> None:
    ingest(index, photos, limit=4)
    with index:
        assert len(index.query("a dog")) == 4
        process = start_clipindex(*slow_run(photos, index.place.store))
        read_batches(process, 3)
        for _ in range(20):
            assert len(index.query("a dog")) == 10
        assert process.poll() is None
        process.kill()
        process.wait(10)
        assert len(index.query("a dog")) == 10
        note = holder_of(index.place.lock)
        assert note is not None
        assert note.pid == os.getpid()


def test_an_open_index_writes_and_its_threads_query_meanwhile(
    index: clipindex.Index, photos: Path
) -> None:
    ingest(index, photos, limit=4)
    stop = threading.Event()
    with index, ThreadPoolExecutor(2) as threads:

        def ask() -> int:
            count = 0
            while not stop.is_set():
                assert len(index.query("a dog")) >= 4
                count += 1
            return count

        counts = [threads.submit(ask) for _ in range(2)]
        try:
            assert ingest(index, photos, limit=40, batch_size=5).summary.new == 40
            assert index.tag({"a": "b"}, [photos]) == 44
        finally:
            stop.set()
        assert all(count.result() for count in counts)


def test_an_index_left_while_threads_still_query_stays_closed(indexed: clipindex.Index) -> None:
    with indexed as index, ThreadPoolExecutor(4) as threads:
        index.query("a dog")
        asking_threads = [threads.submit(index.query, "a dog") for _ in range(40)]
        index.__exit__()
        assert [len(thread.result()) for thread in asking_threads] == [3] * 40
    with closing(LockFile(indexed.place.lock)) as file:
        assert file.try_to_take()


def test_where_no_writer_could_ask_an_open_index_holds_nothing(
    indexed: clipindex.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_file, "IS_SUPPORTED", False)
    with indexed as index, ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda n: len(index.query(f"a dog {n}")), range(12))
        assert list(answers) == [3] * 12
        assert index.tag({"a": "b"}, [tmp_path / "in"]) == 3


# --- writers -------------------------------------------------------------------------------------


def test_a_second_writer_waits_as_long_as_it_is_told_and_names_the_first(
    indexed: clipindex.Index, tmp_path: Path
) -> None:
    run = ["tag", "a=b", tmp_path / "in", "--store", indexed.place.store]
    with held(indexed.place.lock, "ingest"):
        start = time.monotonic()
        done = run_clipindex(*run, "--wait", "0")
        assert time.monotonic() - start < 9
        assert done.code == 11
        assert f"ingest, process {os.getpid()}, since 20" in done.err
        assert "--wait" in done.err
    with ThreadPoolExecutor() as threads:
        with held(indexed.place.lock, "ingest"):
            waiting = threads.submit(run_clipindex, *run, "--wait", "1m")
            time.sleep(3)
            assert not waiting.done()
        done = waiting.result()
    assert (done.code, done.out) == (0, "3 tagged\n")
    assert f"waiting for ingest, process {os.getpid()}" in done.err


def test_a_wait_that_is_no_duration_is_a_usage_error(tmp_path: Path) -> None:
    done = run_clipindex("reindex", "--store", tmp_path, "--wait", "soon")
    assert done.code == 2
    assert "--wait: 'soon' is not a duration" in done.err


def test_a_holder_at_work_hands_over_to_nobody(indexed: clipindex.Index) -> None:
    lock = indexed.place.lock
    with open_for_change(indexed.place, "test"):
        assert ask_for_hand_over(lock, holder_of(lock)) is False
        assert asked(indexed).count() == 3


# --- the protocol --------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
LISTS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3).map(tuple)), max_size=3).map(tuple)


def over_the_wire(message: wire.Message) -> wire.Message:
    back: wire.Message = json.loads(json.dumps(message))
    return back


@given(st.builds(Filter, equals=PAIRS, differs=PAIRS, among=LISTS, outside=LISTS))
def test_a_filter_arrives_as_it_was_sent(only: Filter) -> None:
    assert wire.filter_from(over_the_wire(wire.filter_to(only))) == only


@given(
    st.lists(st.floats(width=32, allow_nan=False), max_size=9),
    st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.floats(allow_nan=False), st.none())),
)
def test_a_point_arrives_bit_for_bit(numbers: list[float], payload: dict[str, object]) -> None:
    point = Point(uuid.uuid4(), np.array(numbers, np.float32), payload)
    (back,) = wire.points_from(over_the_wire({"_": wire.points_to([point])})["_"]).values()
    assert (back.id, back.vector.tobytes(), back.payload) == (
        point.id,
        point.vector.tobytes(),
        payload,
    )
    page = [(point.id, payload)]
    for after in (None, uuid.uuid4()):
        assert wire.page_from(over_the_wire(wire.page_to(page, after))) == (page, after)


@pytest.mark.parametrize(
    "kind", [errors.DiskFull, errors.CollectionBusy, errors.VerificationFailed]
)
def test_an_error_arrives_as_what_it_is(kind: Callable[..., errors.ClipIndexError]) -> None:
    sent = kind("what happened", path="/a", hint="do this")
    back = wire.error_from(over_the_wire(wire.error_to(sent)))
    assert (type(back), back.message, back.path, back.hint) == (
        kind,
        "what happened",
        "/a",
        "do this",
    )


def test_an_error_of_a_newer_version_is_a_store_error() -> None:
    assert type(wire.error_from({"error": "Unheard"})) is StoreError
    assert type(wire.error_from({"error": "ExitCode"})) is StoreError
