"""One name, two collections: first writers at once, aliases switched and collections made anew
while a run writes. No vector ends under another contract than its own."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

import clipindex
from clipindex.collection import label
from clipindex.collection.agreement import count_points
from clipindex.collection.opening import open_for_change
from clipindex.errors import ClipIndexError, ContractMismatch, StoreError
from clipindex.stores import server_bulk
from clipindex.stores.connection import Connection
from conftest import TINY, ingest, make_pictures
from qdrant_double import Double, Request, token
from test_ingest import stored
from test_server import named, on

EMPTY = {"vectors": {"size": 512, "distance": "Cosine"}}
RECIPES = (clipindex.Preprocessing.EXACT, clipindex.Preprocessing.DCT_SCALED)


def all_at_once(*calls: Callable[[], object]) -> list[object]:
    """Run calls in threads; their results, or the exceptions they raised."""
    results: list[object] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except ClipIndexError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def both_label(double: Double, monkeypatch: pytest.MonkeyPatch) -> Double:
    """Two writers that have both seen an empty collection without a label write theirs, one
    shortly after the other."""
    meeting = threading.Barrier(2, timeout=30)
    monkeypatch.setattr(label, "SETTLED", 1.5)
    call = Connection.call

    def meet(self: Connection, action: str, *args: Any, **how: Any) -> Any:
        if action.startswith("adopting"):
            time.sleep(0.3 * meeting.wait())
        return call(self, action, *args, **how)

    monkeypatch.setattr(Connection, "call", meet)
    double.create("raced", EMPTY)
    return double


def test_of_two_first_writers_of_an_empty_collection_one_gives_way(
    both_label: Double, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for number in (0, 1):
        make_pictures(folders[number], 6, first_seed=10 * number)
    writers = [
        on(both_label, f"host-{number}", collection="raced", preprocessing=recipe)
        for number, recipe in enumerate(RECIPES)
    ]
    results = all_at_once(
        *(lambda n=n: writers[n].ingest([folders[n]]) for n in (0, 1))  # type: ignore[misc]
    )
    (loser,) = [n for n in (0, 1) if isinstance(results[n], ContractMismatch)]
    winner = 1 - loser
    assert isinstance(results[winner], clipindex.Summary), results
    points = stored(on(both_label, collection="raced"))
    assert points.keys() == {str(path) for path in folders[winner].iterdir()}
    assert writers[winner].status().preprocessing == RECIPES[winner].value


def test_both_first_writers_with_one_contract_remember_their_folders(
    both_label: Double, tmp_path: Path
) -> None:
    writers = [on(both_label, f"host-{number}", collection="raced") for number in (0, 1)]
    for number in (0, 1):
        make_pictures(tmp_path / str(number), 4, first_seed=10 * number)
    results = all_at_once(
        *(lambda n=n: writers[n].ingest([tmp_path / str(n)]) for n in (0, 1))  # type: ignore[misc]
    )
    assert [getattr(summary, "new", summary) for summary in results] == [4, 4]  # type: ignore[attr-defined]
    for number in (0, 1):
        assert writers[number].status().roots == [str(tmp_path / str(number))]
        assert writers[number].reindex().unchanged == 4


@pytest.mark.slow
def test_processes_that_begin_together_on_an_empty_collection_never_mix(
    double: Double, tmp_path: Path, start_clipindex: Callable[..., Popen[str]]
) -> None:
    double.create("raced", EMPTY)
    make_pictures(tmp_path / "photos", 6)
    writers = [
        start_clipindex(
            *("ingest", tmp_path / "photos", "--url", double.url, "--collection", "raced"),
            *("--source", f"host-{number}", "--model", TINY, "--preprocessing", recipe.value),
        )
        for number, recipe in enumerate(RECIPES * 2)
    ]
    codes = [writer.wait(100) for writer in writers]
    # 6: on a busy machine one may be late with its label, which ends those that wrote before it
    assert sorted(code for code in codes if code != 6) in ([0, 0, 5, 5], [0, 5, 5], [0, 0, 5]), [
        writer.communicate() for writer in writers
    ]
    assert len({number % 2 for number in range(4) if codes[number] == 0}) == 1
    for number in range(4):
        with open_for_change(on(double, f"host-{number}", collection="raced").place, "t") as held:
            if codes[number] != 6:
                assert count_points(held).own == (6 if codes[number] == 0 else 0)


def test_a_late_label_ends_the_run_that_wrote_under_the_earlier_one(
    double: Double, tmp_path: Path
) -> None:
    """The other writer was stopped, for longer than any wait, before it wrote its own."""
    double.create("raced", EMPTY)
    make_pictures(tmp_path / "photos", 9)
    run = on(double, collection="raced").ingest_events(
        [tmp_path / "photos"], clipindex.IngestOptions(batch_size=3)
    )
    late = label.new_label(label_of(double, tmp_path))
    with pytest.raises(StoreError, match="is another collection by now"):
        run_out(run, lambda: change_label(double, "raced", late))
    assert len(stored(on(double, collection="raced"))) == 3


def run_out(run: Iterator[clipindex.Event], at_each_batch: Callable[[], object]) -> None:
    """Read a run's events to the end, and do something after each verified batch."""
    for event in run:
        if isinstance(event, clipindex.BatchVerified):
            at_each_batch()


def label_of(double: Double, tmp_path: Path) -> Any:
    """The contract of a collection made with the other preprocessing."""
    other = on(double, collection="other", preprocessing=clipindex.Preprocessing.EXACT)
    make_pictures(tmp_path / "one", 1)
    ingest(other, tmp_path / "one")
    return other.place.locate().require()


def change_label(double: Double, collection: str, note: dict[str, object]) -> None:
    """As another writer does."""
    body = {"metadata": {"clipindex": note}}
    httpx.patch(f"{double.url}/collections/{collection}", json=body).raise_for_status()


# --- in the middle of a run ------------------------------------------------------------------


@pytest.fixture
def two(double: Double, tmp_path: Path) -> Double:
    """Collections v1 and v2 of two preprocessings; `photos` stands for v1."""
    make_pictures(tmp_path / "photos", 3)
    for collection, recipe in zip(("v1", "v2"), RECIPES, strict=True):
        ingest(on(double, collection=collection, preprocessing=recipe), tmp_path / "photos")
    double.change_aliases({"actions": [named("photos", "v1")]})
    double.key = "the owner's"
    return double


def on_alias(double: Double, **how: Any) -> clipindex.Index:
    """The alias `photos`, with a token that does not see what it stands for."""
    return on(double, collection="photos", key=ALIAS_ALONE, **how)


ALIAS_ALONE = token("the owner's", [{"collection": "photos", "access": "rw"}])


def points_in(double: Double, collection: str) -> int:
    return len(stored(on(double, collection=collection, key=double.key)))


def test_an_alias_that_is_switched_under_a_key_that_sees_it_alone_ends_the_run(
    two: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "more", 9, first_seed=50)
    run = on_alias(two).ingest_events([tmp_path / "more"], clipindex.IngestOptions(batch_size=3))
    with pytest.raises(StoreError, match="its alias was switched") as caught:
        run_out(run, lambda: two.change_aliases({"actions": [named("photos", "v2")]}))
    assert caught.value.exit_code == 6
    assert (points_in(two, "v1"), points_in(two, "v2")) == (6, 3)
    exact = on_alias(two, preprocessing=RECIPES[0])
    with pytest.raises(ContractMismatch):  # the same command, with what it asked for
        ingest(exact, tmp_path / "more")
    assert ingest(on_alias(two), tmp_path / "more").summary.points == 12


@pytest.mark.parametrize("change", ["tag", "untag", "relocate", "import"])
def test_no_command_writes_through_a_switch(two: Double, tmp_path: Path, change: str) -> None:
    index = on_alias(two)
    for collection in ("v1", "v2"):
        owner = on(two, collection=collection, key=two.key)
        owner.tag({"who": collection}, [tmp_path / "photos"])  # equal points would not be written
    before = {path: point.payload for path, point in stored(owner).items()}
    index.export(tmp_path / "export")
    make_pictures(tmp_path / "moved", 3)
    if change == "import":
        two.drop("v1")
        again = on(two, collection="v1", key=two.key, preprocessing=RECIPES[0])
        ingest(again, tmp_path / "moved")
        two.change_aliases({"actions": [named("photos", "v1")]})

    reads = [0]

    def switch(request: Request) -> bool:
        if request.path.split("?")[0] in POINT_READS:
            two.change_aliases({"actions": [named("photos", "v2")]})
            reads[0] += 1
        return False

    two.fail("503", when=switch)
    calls: dict[str, Callable[[], object]] = {
        "tag": lambda: index.tag({"who": "bob"}, [tmp_path / "photos"]),
        "untag": lambda: index.untag(["who"], [tmp_path / "photos"]),
        "relocate": lambda: index.relocate(tmp_path / "photos", tmp_path / "moved"),
        "import": lambda: index.import_(tmp_path / "export"),
    }
    with pytest.raises(StoreError, match="is another collection by now"):
        calls[change]()
    assert reads[0]
    two.faults.clear()
    assert {path: point.payload for path, point in stored(owner).items()} == before


POINT_READS = {"/collections/photos/points", "/collections/photos/points/scroll"}


@pytest.mark.parametrize("anew", [True, False])
def test_a_collection_dropped_in_mid_run_ends_it_and_a_new_one_is_left_alone(
    double: Double, tmp_path: Path, anew: bool
) -> None:
    make_pictures(tmp_path / "photos", 9)
    run = on(double, collection="c").ingest_events(
        [tmp_path / "photos"], clipindex.IngestOptions(batch_size=3)
    )

    def drop() -> None:
        double.drop("c")
        if anew:
            double.create("c", EMPTY)

    with pytest.raises(StoreError, match="is another collection by now" if anew else "exist"):
        run_out(run, drop)
    writes = [r for r in double.requests("/collections/c/points") if r.method == "PUT"]
    assert len(writes) == 1  # the first batch
    assert ingest(on(double, collection="c"), tmp_path / "photos").summary.new == 9


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_the_graphs_setting_is_not_restored_on_another_collection(
    two: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """It is noted in the label, so restoring it would put the old label there."""
    monkeypatch.setattr(server_bulk, "LARGE", 4)
    two.drop("v1")
    two.create("v1", EMPTY)
    two.change_aliases({"actions": [named("photos", "v1")]})
    note = dict(two.shards["v2"].config["metadata"]["clipindex"])
    make_pictures(tmp_path / "more", 6, first_seed=50)
    run = on(two, collection="v1", key=two.key).ingest_events([tmp_path / "more"])
    with suppress(StoreError):
        for event in run:
            is_moment = isinstance(event, clipindex.BatchVerified | clipindex.RunPlanned)
            if is_moment and (ends == "well") == isinstance(event, clipindex.BatchVerified):
                two.shards["v1"].config["metadata"] = {"clipindex": dict(note)}
    assert two.shards["v1"].config["metadata"]["clipindex"] == note
    assert len(stored(on(two, collection="v1", key=two.key))) == (6 if ends == "well" else 0)


# --- nodes that lag ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ingest", "query"])
def test_a_label_that_a_node_does_not_show_at_once_is_looked_for_again(
    double: Double, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cluster the node that acknowledged a label may describe the collection as another
    node has it."""
    monkeypatch.setattr(label, "LOOKS", (0.0, 0.2, 0.4))
    make_pictures(tmp_path / "photos", 3)
    double.create("cluster", EMPTY)
    double.config_lag = 0.5
    assert ingest(on(double, collection="cluster"), tmp_path / "photos").summary.new == 3
    if command == "query":
        double.config_lag = 0.0
        double.create("fresh", EMPTY)
        double.config_lag = 0.5
        ingest(on(double, collection="fresh"), tmp_path / "photos")
        assert len(on(double, collection="fresh").query("a dog")) == 3


def test_an_earlier_label_that_a_node_still_shows_does_not_end_a_run(
    double: Double, tmp_path: Path
) -> None:
    """As long as the label that the run knows comes back within seconds."""
    make_pictures(tmp_path / "photos", 3)
    ingest(on(double, collection="c"), tmp_path / "photos")
    make_pictures(tmp_path / "photos" / "more", 3, first_seed=9)
    metadata = double.shards["c"].config["metadata"]
    note = metadata["clipindex"]
    looks = itertools.count()

    def show_another(request: Request) -> bool:
        if (request.method, request.path) == ("GET", "/collections/c"):
            earlier = {**note, "noted": {"collection": "0123456789ab"}}
            metadata["clipindex"] = earlier if next(looks) % 3 < 2 else note
        return False

    run = on(double, collection="c").ingest_events([tmp_path / "photos"])
    for event in run:
        if isinstance(event, clipindex.RunPlanned):
            double.fail("503", when=show_another)
        if isinstance(event, clipindex.FileDone):
            double.faults.clear()
            metadata["clipindex"] = note
    assert next(looks) == 3
    assert len(stored(on(double, collection="c"))) == 6


def test_where_there_is_no_collection_nothing_is_waited_for(double: Double) -> None:
    double.log.clear()
    with pytest.raises(StoreError, match="there is no collection 'nothing'"):
        on(double, collection="nothing").query("a dog")
    assert len(double.requests("/collections/nothing")) == 1
