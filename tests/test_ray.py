"""An ingest by actors of a real Ray cluster ends as one by threads does, whoever dies meanwhile."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import clipindex
from clipindex.errors import ContractMismatch, DiskFull, DiskNotMounted, UsageError
from clipindex.files import access, stores
from clipindex.ingest.events import ActorLost, NodesSeen
from clipindex.ingest.on_ray import door, driver, watching
from clipindex.ingest.options import RayOptions, Redecode
from clipindex.pictures.preprocessing import Preprocessing
from conftest import TINY, ingest, make_pictures, picture_bytes, reconciles
from previews_made import camera_jpeg
from qdrant_double import Double
from test_ingest import same_state
from test_server import is_upsert, on

pytest.importorskip("obstore")
s3 = pytest.importorskip("s3_double")  # it needs botocore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
    pytest.mark.filterwarnings("ignore::clipindex.ClipIndexWarning"),  # a busy machine is slow
]

# What the workers of the cluster find at their start. A file with the mark kills its reader, as a
# fault of a decoder in C does, is slow, or freezes the first process that reads it; with the
# variable a node has another Pillow.
KILLS_ITS_READER = b"kills its reader"
IS_SLOW = b"slow to be read."
FREEZES_ITS_READER = b"freezes a reader"
AT_START = f"""
import os, pathlib, signal, sys, time
if "default_worker.py" in " ".join(sys.orig_argv):
    import hashlib
    true = hashlib.sha256
    def sha256(data=b"", **options):
        if data[-16:] == {KILLS_ITS_READER!r}:
            os.kill(os.getpid(), signal.SIGKILL)
        if data[-16:] == {IS_SLOW!r}:
            sys.modules["clipindex.ingest.stations"].SLOW_AFTER = 0.5
            time.sleep(3)
        frozen = pathlib.Path(__file__).with_name("frozen")
        if data[-16:] == {FREEZES_ITS_READER!r} and not frozen.exists():
            frozen.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return true(data, **options)
    hashlib.sha256 = sha256
    if "TEST_OTHER_PILLOW" in os.environ:
        from clipindex.pictures import decode
        decode.pillow_version = "1.2.3"
"""


class Nodes:
    """A Ray cluster on this machine, each node with one core."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self.nodes = [self.add() for _ in range(count)]
        self.address = self._cluster.address

    def add(self, **variables: str) -> Any:
        return self._cluster.add_node(
            num_cpus=1,
            object_store_memory=80 << 20,
            include_dashboard=False,
            env_vars=variables or None,
        )

    def remove_one(self) -> None:
        """Not the one through which the driver is connected: it would die too."""
        import ray

        own = ray.get_runtime_context().get_node_id()
        node = next(n for n in self.nodes if n.node_id != own and not n.head)
        self.nodes.remove(node)
        self.remove(node)

    def remove(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def workers(self) -> list[int]:
        """The processes of actors."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes}
        return [
            int(stat.parent.name)
            for stat in Path("/proc").glob("[0-9]*/stat")
            if (fields := text_of(stat).rpartition(")")[2].split())
            and int(fields[1]) in raylets
            and "ray::Actor" in text_of(stat.with_name("cmdline"))
        ]

    def close(self) -> None:
        self._cluster.shutdown()


def text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:  # the process ended meanwhile
        return ""


@pytest.fixture(scope="module")
def objects() -> Iterator[s3.S3Double]:
    """A store of objects that the nodes can reach."""
    with s3.s3_double() as double:
        yield double


@pytest.fixture
def bucket(objects: s3.S3Double, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.S3Double]:
    """The same, for this process as well."""
    for name, value in credentials(objects).items():
        monkeypatch.setenv(name, value)
    objects.buckets.clear()
    objects.faults.clear()
    forget_stores()
    yield objects
    objects.delay = 0.0
    forget_stores()


def forget_stores() -> None:
    stores.bucket_of.cache_clear()
    access._object_stores.cache_clear()


def credentials(objects: s3.S3Double) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": s3.KEY,
        "AWS_SECRET_ACCESS_KEY": s3.SECRET,
        "AWS_SESSION_TOKEN": s3.TOKEN,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": objects.url,
    }


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, objects: s3.S3Double) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("at-start")
    (folder / "sitecustomize.py").write_text(AT_START)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        for name, value in credentials(objects).items():
            patch.setenv(name, value)
        paths = [str(folder), str(Path(clipindex.__file__).parents[1])]
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        cluster = Nodes(3)
        yield cluster
        cluster.close()


def by_ray(nodes: Nodes, **more: Any) -> dict[str, Any]:
    return {"ray": RayOptions(address=nodes.address), "batch_size": 5, **more}


def counts(summary: clipindex.Summary) -> dict[str, Any]:
    """All that does not depend on the time or on the collection's name."""
    fields = (
        dict(vars(summary))
        if hasattr(summary, "__dict__")
        else {name: getattr(summary, name) for name in summary.__slots__}
    )
    for name in ("seconds", "pictures_per_second", "collection", "nodes", "deaths"):
        del fields[name]
    return fields


def pair(double: Double, **how: Any) -> tuple[clipindex.Index, clipindex.Index]:
    return on(double, collection="threads", **how), on(double, collection="actors", **how)


def test_it_ends_as_threads_do_and_so_does_the_next_run(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 24)
    (photos / "copy.jpg").write_bytes((photos / "003.jpg").read_bytes())
    (photos / "bad.jpg").write_bytes(picture_bytes(1)[:300])
    (photos / "notes.txt").write_text("no picture")
    threads, actors = pair(double)
    one, other = ingest(threads, photos, batch_size=5), ingest(actors, photos, **by_ray(nodes))
    assert counts(one.summary) == counts(other.summary)
    assert other.summary.new == 24
    assert same_state(threads, actors)

    for index in (threads, actors):
        index.tag({"who": "ann"}, [photos / "004.jpg"])
    (photos / "004.jpg").rename(photos / "moved.jpg")
    (photos / "005.jpg").write_bytes(picture_bytes(505))
    (photos / "006.jpg").write_bytes((photos / "007.jpg").read_bytes())
    (photos / "again.jpg").write_bytes((photos / "008.jpg").read_bytes())
    (photos / "009.jpg").unlink()
    os.utime(photos / "010.jpg")
    make_pictures(photos / "more", 6, first_seed=600)
    one, other = ingest(threads, photos, batch_size=5), ingest(actors, photos, **by_ray(nodes))
    assert counts(one.summary) == counts(other.summary)
    assert (other.summary.moved, other.summary.changed, other.summary.new) == (1, 2, 6)
    assert reconciles(other.summary)
    assert same_state(threads, actors)

    monkeypatch.delattr(door, "connected")  # an unchanged folder costs no cluster
    assert ingest(actors, photos, **by_ray(nodes)).summary.embedded == 0


def test_a_bucket_is_read_by_actors_many_objects_at_once(
    double: Double, nodes: Nodes, bucket: s3.S3Double
) -> None:
    for number in range(24):
        bucket.put(f"{number % 3}/{number}.jpg", picture_bytes(number))
    bucket.put("bad.jpg", picture_bytes(1)[:300])
    bucket.put("copy.jpg", picture_bytes(2))
    threads, actors = pair(double)
    one = ingest(threads, "s3://cats", batch_size=25)
    bucket.take()
    bucket.delay = 0.5
    other = ingest(actors, "s3://cats", **by_ray(nodes, batch_size=16, workers=1))
    assert counts(one.summary) == counts(other.summary)
    assert same_state(threads, actors)
    reads = [request for request in bucket.take() if request.startswith("GET")]
    assert len(reads) == len(set(reads)) == 26  # each once
    assert bucket.most_at_once >= 12


def test_an_address_that_only_the_person_here_named_is_read_by_actors(
    double: Double, nodes: Nodes, bucket: s3.S3Double
) -> None:
    """The host is in the house, and the address is signed; no path has either."""
    bucket.put("1.jpg", picture_bytes(1))
    address = f"{bucket.url}/cats/1.jpg"
    index = on(double)
    bucket.queries.clear()
    assert (
        ingest(index, f"{address}?X-Amz-Signature=abc", **by_ray(nodes, workers=1)).summary.new == 1
    )
    assert set(bucket.queries) == {"X-Amz-Signature=abc"}
    (hit,) = index.query(address)
    assert hit.path == address


def test_a_node_that_may_not_read_what_this_machine_reads_ends_the_run(
    double: Double, nodes: Nodes, bucket: s3.S3Double
) -> None:
    for number in range(3):
        bucket.put(f"{number}.jpg", picture_bytes(number))
    bucket.faults["1.jpg"] = [s3.Fault(403, "AccessDenied"), s3.Fault(after=10**9)]
    with pytest.raises(DiskNotMounted, match=r"node \S+ may not read a file") as caught:
        ingest(on(double), "s3://cats", **by_ray(nodes, workers=1))
    assert "with credentials and settings like those of this machine" in caught.value.hint
    bucket.faults["1.jpg"] = [s3.Fault(403, "AccessDenied")]  # for everyone
    run = ingest(on(double), "s3://cats", **by_ray(nodes, workers=1))
    assert (run.summary.points, run.summary.quarantined) == (2, 1)


def test_previews_stand_for_pictures_and_are_decoded_again_as_by_threads(
    double: Double, nodes: Nodes, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 3)
    for number in range(4):
        (photos / f"camera-{number}.jpg").write_bytes(camera_jpeg(number))
    (photos / "copy.jpg").write_bytes(camera_jpeg(0))
    threads, actors = pair(double, preprocessing=Preprocessing.PREVIEWS)
    again = {"redecode": Redecode.PREVIEWS, "batch_size": 2}
    runs: list[dict[str, Any]] = [{}, {**again, "limit": 1}, again, again]
    embedded = []
    for index, engine in ((threads, {}), (actors, by_ray(nodes, workers=1))):
        summaries = [ingest(index, photos, **{**engine, **options}).summary for options in runs]
        embedded.append([(one.embedded, one.by_preview, one.deferred) for one in summaries])
    assert embedded[0] == embedded[1]
    # The copy that the limited run left out takes its content through the model once more.
    assert [count for count, *_ in embedded[0]] == [7, 1, 4, 0]
    assert same_state(threads, actors)


@pytest.mark.parametrize("grace", [30.0, 0.0])
def test_a_run_that_ends_in_time_loses_nothing_whether_or_not_it_waits_for_what_is_in_hand(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: float
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 40)
    index, late = on(double), 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late)
    monkeypatch.setattr(driver, "time", clock)
    monkeypatch.setattr(driver, "GRACE", grace)
    options = clipindex.IngestOptions(**by_ray(nodes, batch_size=2, max_seconds=3600.0))
    for event in index.ingest_events([photos], options):
        if isinstance(event, clipindex.BatchVerified):
            late = 3600.0
    assert isinstance(event, clipindex.RunFinished)
    first = event.summary
    assert reconciles(first)
    assert 2 <= first.new <= 2 + 3 * 2 * 2  # the first slice, and two in each actor's hands
    assert first.deferred == 40 - first.new
    run = ingest(index, photos)
    assert not any(isinstance(event, clipindex.PointsMissing) for event in run.events)
    assert (run.summary.unchanged, run.summary.new) == (first.new, 40 - first.new)
    assert run.summary.points == 40


def test_no_cluster_is_started_once_the_time_is_over(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 3)
    monkeypatch.delattr(door, "connected")
    summary = ingest(on(double), tmp_path / "photos", ray=RayOptions(), max_seconds=0.0).summary
    assert (summary.deferred, summary.new) == (3, 0)


def test_whoever_is_killed_nothing_is_lost_or_counted_twice(
    double: Double, nodes: Nodes, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 80)
    threads, actors = pair(double)
    one = ingest(threads, photos, batch_size=5)
    kills = 0

    def kill() -> None:
        nonlocal kills
        workers = nodes.workers()
        if workers and kills < 3:
            os.kill(random.choice(workers), signal.SIGKILL)
            kills += 1
        elif kills == 3:
            kills += 1
            nodes.remove_one()

    events = []
    options = clipindex.IngestOptions(**by_ray(nodes))
    for event in actors.ingest_events([photos], options):
        if isinstance(event, clipindex.BatchVerified):
            kill()
        events.append(event)
    nodes.nodes.append(nodes.add())
    assert kills == 4
    assert any(isinstance(event, ActorLost) for event in events)
    done = [event.path for event in events if isinstance(event, clipindex.FileDone)]
    assert len(done) == len(set(done)) == 80
    assert counts(events[-1].summary) == counts(one.summary)
    assert same_state(threads, actors)


def test_a_picture_that_kills_its_reader_is_found_and_refused(
    double: Double, nodes: Nodes, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    make_pictures(photos, 12)
    bad = photos / "005.jpg"
    bad.write_bytes(bad.read_bytes() + KILLS_ITS_READER)
    index = on(double)
    run = ingest(index, photos, **by_ray(nodes))
    assert run.status(bad) == "quarantined"
    assert run.files[str(bad)].reason == "3 processes died one after another while they read it"
    assert (run.summary.new, run.summary.newly_quarantined, run.summary.points) == (11, 1, 11)
    deaths = sum(isinstance(event, ActorLost) for event in run.events)
    assert 3 <= deaths <= 12
    again = ingest(index, photos, **by_ray(nodes)).summary  # it is not read once more
    assert (again.unchanged, again.quarantined, again.exit_code) == (11, 1, 0)


def test_where_every_actor_dies_no_picture_is_refused_for_it(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on nodes without enough memory."""
    monkeypatch.setattr(driver, "MOST_IN_A_ROW", 8)
    for path in make_pictures(tmp_path / "photos", 4):
        path.write_bytes(path.read_bytes() + KILLS_ITS_READER)
    index = on(double)
    with pytest.raises(clipindex.ClipIndexError, match=r"8 actors died .* finished nothing"):
        ingest(index, tmp_path / "photos", **by_ray(nodes, batch_size=1))
    assert index.status().quarantined == 0


def test_a_slow_file_is_named_with_its_node_and_a_frozen_process_is_replaced(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY", 0.5)
    monkeypatch.setattr(watching, "SILENCE", 2.0)
    photos = tmp_path / "photos"
    slow, freezing, *_ = make_pictures(photos, 12)
    slow.write_bytes(slow.read_bytes() + IS_SLOW)
    freezing.write_bytes(freezing.read_bytes() + FREEZES_ITS_READER)
    with pytest.warns(clipindex.ClipIndexWarning, match="has not answered for 2 s"):
        run = ingest(on(double), photos, **by_ray(nodes, batch_size=1))
    seen = [event for event in run.events if isinstance(event, clipindex.SlowFile)]
    assert {event.path for event in seen} == {str(slow)}
    assert all(event.node and event.seconds >= 0.5 for event in seen)
    assert (run.summary.new, sum(run.summary.deaths.values())) == (12, 1)
    states = [event.nodes for event in run.events if isinstance(event, NodesSeen)]
    assert max(state.slices for nodes in states for state in nodes.values()) >= 2
    (last,) = states[-1].values()
    assert (last.pictures, last.deaths, last.slices) == (12, 1, 0)


def test_a_server_whose_disk_fills_up_ends_the_run_and_the_next_one_goes_on(
    double: Double, nodes: Nodes, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 30)
    index = on(double)
    options = clipindex.IngestOptions(**by_ray(nodes, batch_size=2))
    safe: set[str] = set()

    def run_until_full() -> None:
        for event in index.ingest_events([tmp_path / "photos"], options):
            if isinstance(event, clipindex.BatchVerified):
                safe.update(event.ids)
                double.fail("disk full", when=is_upsert, times=99)

    with pytest.raises(DiskFull, match=r"node \S+: .* has no room left") as caught:
        run_until_full()
    assert caught.value.exit_code == 9
    assert safe
    double.faults.clear()
    summary = ingest(index, tmp_path / "photos").summary
    assert summary.unchanged >= len(safe)
    assert (summary.points, summary.found) == (30, 30)


def test_a_cluster_that_loses_its_head_is_not_waited_for(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 12)
    monkeypatch.setattr(watching, "EVERY", 0.1)
    monkeypatch.setattr(watching, "HEADLESS", 0.2)
    monkeypatch.setattr(door, "is_head_there", lambda: False)
    with pytest.raises(clipindex.ClipIndexError, match="the head of the Ray cluster has been away"):
        ingest(on(double), tmp_path / "photos", **by_ray(nodes, workers=1))


def test_a_node_with_another_pillow_is_refused_by_name(
    double: Double, nodes: Nodes, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 40)
    other = nodes.add(TEST_OTHER_PILLOW="1")
    try:
        with pytest.raises(ContractMismatch, match=r"node \S+ .* it has Pillow 1\.2\.3") as caught:
            ingest(on(double), tmp_path / "photos", **by_ray(nodes, workers=4))
        assert "on every node" in caught.value.hint
    finally:
        nodes.remove(other)


def test_ctrl_c_ends_a_run_and_its_cluster_and_the_next_run_goes_on(
    double: Double, tmp_path: Path, start_clipindex: Callable[..., subprocess.Popen[str]]
) -> None:
    photos = tmp_path / "my photos"
    make_pictures(photos, 60)
    run = ["ingest", photos, "--url", double.url, "--model", TINY, "--engine", "ray", "--json"]
    run += ["--batch-size", "3", "--workers", "1", "--source", "here"]
    process = start_clipindex(*run)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["type"] == "batch":
            break
    children = [int(pid) for pid in descendants(process.pid)]
    assert children
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # of someone impatient: the cluster is ended all the same
    lines += map(json.loads, process.stdout)
    assert process.wait(60) == 130
    deadline = time.monotonic() + 20
    while alive := [pid for pid in children if Path(f"/proc/{pid}/stat").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)
    safe = {one for line in lines if line["type"] == "batch" for one in line["ids"]}
    summary = ingest(on(double), photos).summary
    assert summary.unchanged >= len(safe)
    assert (summary.points, summary.found) == (60, 60)


def test_a_job_that_is_stopped_ends_in_order(
    double: Double,
    nodes: Nodes,
    tmp_path: Path,
    start_clipindex: Callable[..., subprocess.Popen[str]],
) -> None:
    """`ray job stop` sends SIGTERM; Ray has handlers of its own for it."""
    make_pictures(tmp_path / "photos", 60)
    run = ["ingest", tmp_path / "photos", "--url", double.url, "--model", TINY, "--batch-size", "1"]
    run += ["--engine", "ray", "--ray-address", nodes.address, "--metrics-file"]
    process = start_clipindex(*run, tmp_path / "m.prom", "--log-file", tmp_path / "log", "--json")
    assert process.stdout is not None
    next(line for line in process.stdout if json.loads(line)["type"] == "batch")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "terminated; finished batches are safe" in err
    assert "***" not in err
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("terminated")
    assert "clipindex_exit_code" in (tmp_path / "m.prom").read_text()


def test_a_cluster_that_is_not_there_is_said_at_once(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"cluster does not answer: .*refused") as caught:
        ingest(on(double), tmp_path / "photos", ray=RayOptions(address=f"127.0.0.1:{port}"))
    assert time.monotonic() - began < 10
    assert "--ray-address takes HOST:6379" in caught.value.hint


def descendants(pid: int) -> list[str]:
    text = text_of(Path(f"/proc/{pid}/task/{pid}/children"))
    return [each for child in text.split() for each in (child, *descendants(int(child)))]


def test_a_node_that_does_not_see_the_pictures_ends_the_run(
    double: Double, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the folder were mounted on the driver's machine alone."""
    photos = tmp_path / "photos"
    paths = make_pictures(photos, 6)
    monkeypatch.setattr(driver, "is_gone", lambda _path: False)
    real = driver.slices_of

    def unlink_first(*args: Any) -> Any:
        paths[2].unlink()
        return real(*args)

    monkeypatch.setattr(driver, "slices_of", unlink_first)
    with pytest.raises(DiskNotMounted, match=r"node \S+ does not see a file that is there"):
        ingest(on(double), photos, **by_ray(nodes))
