"""What an ingest on Ray does without Ray: slices, the search for a picture that kills, the work of
one actor, the options."""

from __future__ import annotations

import pickle
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipindex
from clipindex.collection.opening import Settings, open_for_ingest
from clipindex.errors import ContractMismatch, StoreError, UsageError
from clipindex.files import addresses, stores
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import point_id
from clipindex.files.sidecars import Sidecars
from clipindex.ingest import stations
from clipindex.ingest.on_ray import door, station
from clipindex.ingest.on_ray.agreement import Job, check_versions, named_by, versions_here
from clipindex.ingest.on_ray.slices import DEATHS, MOST_BYTES, Slice, after_death, slices_of
from clipindex.ingest.on_ray.station import Done, Looked, SliceWorker, copies_of
from clipindex.ingest.options import RayOptions
from clipindex.ingest.scope import Part, scope_of
from clipindex.model.loading import open_model
from clipindex.model.providers import Provider
from clipindex.pictures.content import read_content
from clipindex.upkeep.metadata import Joiner
from conftest import TINY, ingest, make_pictures, picture_bytes, run_clipindex
from qdrant_double import Double
from test_server import on

sizes = st.lists(st.integers(0, 2 * MOST_BYTES), max_size=60)


def files(sizes: list[int]) -> list[FileRecord]:
    return [FileRecord(b"/%d" % number, size, 0, 0) for number, size in enumerate(sizes)]


@given(sizes, st.integers(1, 20))
def test_slices_hold_every_file_once_in_order_and_are_bounded(sizes: list[int], most: int) -> None:
    records = files(sizes)
    slices = list(slices_of(records, most, {}, ()))
    assert [record for slice_ in slices for record in slice_.records] == records
    for slice_ in slices:
        assert 1 <= len(slice_.records) <= most
        held = sum(record.size for record in slice_.records)
        assert held <= MOST_BYTES or len(slice_.records) == 1


def test_a_slice_has_the_sidecars_of_its_files_and_knows_which_may_have_moved() -> None:
    sidecars: dict[bytes, Sidecars] = {b"/1": files([7])[0:1], b"/2": files([8])}  # type: ignore[dict-item]
    first, second = slices_of(files([10, 20, 30, 20]), 2, sidecars, {20})
    assert (set(first.sidecars), set(second.sidecars)) == ({b"/1"}, {b"/2"})
    assert (first.may_have_moved, second.may_have_moved) == ({b"/1"}, {b"/3"})


def test_a_slice_has_the_signatures_of_its_addresses_and_the_hosts_that_were_named() -> None:
    signature = "?X-Amz-Signature=abc"
    tar = addresses.canonical(b"https://one.example/cats.tar" + signature.encode())
    addresses.name_host(tar)
    records = [FileRecord(path, 1, 0, 0) for path in (tar + b"/1.jpg", b"https://two.example/2")]
    first, second = slices_of(records, 1, {}, ())
    assert first.given.hosts == {"https://one.example"}
    assert first.given.signatures == {tar.decode(): signature}
    assert (second.given.hosts, second.given.signatures) == (set(), {})
    with addresses.knowing(first.given):
        with addresses.knowing(first.given):  # another slice of the same tar file
            pass
        assert addresses.query_of(tar.decode()) == signature
    assert addresses.query_of(tar.decode()) == ""  # as in an actor: forgotten with its slice


def test_slices_are_cut_when_they_are_asked_for() -> None:
    endless = (FileRecord(b"/x", 1, 0, 0) for _ in iter(int, 1))
    assert len(next(slices_of(endless, 25, {}, ())).records) == 25


@given(st.integers(1, 200), st.data())
def test_every_picture_that_kills_is_found_and_no_other_is_refused(
    count: int, data: st.DataObject
) -> None:
    killers = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    records = files([1] * count)
    bad = {records[number].path for number in killers}
    waiting, done, refused, deaths = deque([Slice(records=tuple(records))]), [], [], 0
    while waiting:
        slice_ = waiting.popleft()
        paths = [record.path for record in slice_.records]
        if not bad.intersection(paths):
            done += paths
            continue
        deaths += 1
        again = after_death(slice_)
        assert all(one.is_suspect for one in again)
        waiting.extend(again)
        refused += [] if again else paths
    assert sorted(refused) == sorted(bad)
    assert sorted(done) == sorted(record.path for record in records if record.path not in bad)
    assert deaths <= DEATHS + len(bad) * (count.bit_length() + DEATHS)


def test_a_node_that_dies_twice_under_a_slice_cuts_nothing() -> None:
    (once,) = after_death(Slice(records=tuple(files([1, 1]))))
    (twice,) = after_death(once)
    assert twice.records == once.records
    assert len(after_death(twice)) == 2


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (("clipindex 1", "Pillow 9", "libjpeg 3"), "has Pillow 9, .* has Pillow 12"),
        (("clipindex 1", "libjpeg 3"), "has less, .* has Pillow 12"),
        (("clipindex 1", "Pillow 12", "rawpy 1", "libjpeg 3"), "has rawpy 1, .* has less"),
    ],
)
def test_other_libraries_are_refused_with_the_name_of_the_node(
    own: tuple[str, ...], said: str
) -> None:
    driver = ("clipindex 1", "Pillow 12", "libjpeg 3")
    check_versions(driver, driver, "node7")
    with pytest.raises(ContractMismatch, match=f"node node7 .* it {said}"):
        check_versions(driver, own, "node7")


# --- the work of one actor -------------------------------------------------------------------


@pytest.fixture
def job(double: Double, tmp_path: Path) -> Job:
    """For a collection of three pictures."""
    make_pictures(tmp_path / "photos", 3)
    index = on(double)
    ingest(index, tmp_path / "photos")
    located = index.place.locate(for_writing=True)
    with open_for_ingest(located, Settings(), open_model) as (collection, encoder):
        return Job(
            place=collection.place,  # type: ignore[arg-type]
            contract=collection.contract,
            label=collection.points.label,  # type: ignore[attr-defined]
            bundle=str(encoder.bundle.folder),
            versions=versions_here(),
            provider=Provider.CPU,
            threads=2,
            scope=scope_of([tmp_path], None, None, Part(), {"who": "ann"}, index.place),
            joiner=Joiner(),
        )


def work(job: Job, *paths: Path, may_have_moved: bool = False) -> Done:
    worker = SliceWorker("node7")
    assert worker.join(job).provider == "CPUExecutionProvider"
    records = tuple(read_content(bytes(path)).record for path in paths)
    moved = frozenset(record.path for record in records) if may_have_moved else frozenset()
    return worker.work(Slice(records=records, may_have_moved=moved))


def test_known_content_takes_its_vector_and_keeps_the_tags_of_its_point(
    job: Job, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, copy, new = (tmp_path / "photos" / name for name in ("000.jpg", "copy.jpg", "new.jpg"))
    copy.write_bytes(known.read_bytes())
    new.write_bytes(picture_bytes(99))
    embedded: list[int] = []
    real = station.Stations.embed

    def counting(self: Any, batch: Any) -> Any:
        embedded.append(len(batch))
        return real(self, batch)

    monkeypatch.setattr(station.Stations, "embed", counting)
    done = work(job, copy, new)
    assert embedded == [1]
    assert [written.is_written for written in done.written] == [True, True]
    assert (done.known, done.faulty) == ((), ())
    (hit,) = on(double).query(copy, clipindex.QueryOptions(limit=1))
    assert hit.score == 1.0
    assert str(copy) in hit.paths


def test_known_content_that_may_have_moved_is_left_to_the_driver(job: Job, tmp_path: Path) -> None:
    copy, new = tmp_path / "photos" / "copy.jpg", tmp_path / "photos" / "new.jpg"
    copy.write_bytes((tmp_path / "photos" / "000.jpg").read_bytes())
    new.write_bytes(picture_bytes(99))
    done = work(job, copy, new, may_have_moved=True)
    assert [known.record.path for known in done.known] == [bytes(copy)]
    assert [written.record.path for written in done.written] == [bytes(new)]


@pytest.mark.usefixtures("job")
def test_copies_are_asked_for_once_a_slice_however_many_there_are(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tmp_path / "photos" / "000.jpg"
    for number in range(6):
        (tmp_path / "photos" / f"copy{number}.jpg").write_bytes(one.read_bytes())
    index = on(double)
    ingest(index, tmp_path / "photos")
    digests = [read_content(bytes(tmp_path / "photos" / f"00{n}.jpg")).sha256.hex() for n in (0, 1)]
    with index.place.open_for_reading(index.place.locate().require(), "test") as points:
        before = len(double.log)
        copies = copies_of(points, "here", [*digests, "0" * 64])  # type: ignore[arg-type]
        assert len(double.log) == before + 1
        assert set(copies) == set(digests)
        assert len(copies[digests[0]]) == 4
        assert copies[digests[1]] == [point_id("here", bytes(tmp_path / "photos" / "001.jpg"))]
        monkeypatch.setattr(station, "POINTS_AT_ONCE", 3)  # the copies of one fill the page
        assert set(copies_of(points, "here", digests)) == set(digests)  # type: ignore[arg-type]
        assert copies_of(points, "elsewhere", digests) == {}  # type: ignore[arg-type]


def test_an_actor_that_reaches_another_collection_of_that_name_is_refused(job: Job) -> None:
    with pytest.raises(StoreError, match=r"node node7: .* is not the collection"):
        SliceWorker("node7").join(replace(job, label=("another", "id")))


def test_an_actor_without_the_model_says_on_which_node(job: Job) -> None:
    contract = replace(job.contract, model="nowhere")
    with pytest.raises(clipindex.ModelError, match="node node7: "):
        SliceWorker("node7").join(replace(job, contract=contract, bundle="/no/such/folder"))


def test_an_actor_says_while_it_works_what_it_waits_for(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slice is answered only once the server is back."""
    photo = tmp_path / "new.jpg"
    photo.write_bytes(picture_bytes(99))
    worker = SliceWorker("node7")
    worker.join(job)
    assert worker.look() == Looked(node="node7", slow=None)
    monkeypatch.setattr(stations, "SLOW_AFTER", 0.0)
    seen: list[Looked] = []
    real = stations.read_content

    def reading(path: bytes) -> Any:
        warnings.warn("the server does not answer", clipindex.ClipIndexWarning, stacklevel=1)
        seen.append(worker.look())
        return real(path)

    monkeypatch.setattr(stations, "read_content", reading)
    done = worker.work(Slice(records=(real(bytes(photo)).record,)))
    (looked,) = seen
    assert looked.slow is not None
    assert (looked.slow.path, looked.slow.node) == (str(photo), "node7")
    assert (looked.notes, done.notes) == (("the server does not answer",), ())


def test_what_an_actor_cannot_do_is_said_with_its_node(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SliceWorker("node7")
    worker.join(job)
    objects = Slice(records=(FileRecord(b"s3://cats/1.jpg", 1, 0, 0),))
    monkeypatch.setattr(stores, "find_spec", lambda _name: None)
    stores.bucket_of.cache_clear()
    with pytest.raises(UsageError, match="node node7: s3:"):
        worker.work(objects)


def errors(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for own in kind.__subclasses__():
        yield own
        yield from errors(own)


@pytest.mark.parametrize("kind", [clipindex.ClipIndexError, *errors(clipindex.ClipIndexError)])
def test_every_error_reaches_the_driver_with_its_words(
    kind: type[clipindex.ClipIndexError],
) -> None:
    with pytest.raises(kind) as caught, named_by("node7"):
        raise kind("it failed", path="/a", hint="do this")
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is kind
    told = (str(error), error.message, error.path, error.hint)
    assert told == ("node node7: it failed", "node node7: it failed", "/a", "do this")


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"cpus_per_actor": 0}, {"gpus_per_actor": -1.0}, {"gpus_per_actor": 1.5}]
)
def test_an_actor_has_a_core_and_a_possible_number_of_gpus(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RayOptions(**wrong)


def test_an_embedded_store_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    with pytest.raises(UsageError, match="one process writes"):
        ingest(index, tmp_path / "photos", ray=RayOptions())
    assert not (tmp_path / "store").exists()


def test_without_ray_the_message_says_what_to_install(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", 1)
    monkeypatch.setattr(door, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="not installed") as caught:
        ingest(on(double), tmp_path / "photos", ray=RayOptions())
    assert "pip install 'clipindex[ray]'" in caught.value.hint


def test_the_command_line_refuses_what_would_be_ignored(tmp_path: Path) -> None:
    ended = run_clipindex("ingest", tmp_path, "--engine", "ray", "--store", tmp_path / "store")
    assert ended.code == 2
    assert "an embedded store is a folder that one process" in " ".join(ended.err.split())
    ended = run_clipindex("ingest", tmp_path, "--ray-address", "auto", "--store", tmp_path / "s")
    assert ended.code == 2
    assert "--ray-address: only with --engine ray" in ended.err
