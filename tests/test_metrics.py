"""The metrics file: a monitor sees every ending of a run."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from clipindex.cli.metrics import RunMetrics
from clipindex.cli.output import Output
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.collection.places import place_at
from clipindex.errors import ExitCode
from clipindex.ingest.events import NodesSeen, NodeState
from conftest import TINY, make_pictures, run_clipindex


def samples(path: Path) -> dict[str, float]:
    """Name, with the status where there is one -> value."""
    return {
        f"{sample.name} {sample.labels['status']}" if "status" in sample.labels else sample.name: (
            sample.value
        )
        for family in text_string_to_metric_families(path.read_text("utf-8"))
        for sample in family.samples
    }


def test_a_run_writes_what_it_did_and_a_failed_one_keeps_what_is_still_true(
    tmp_path: Path,
) -> None:
    photos, store, metrics = tmp_path / 'in "a" \\ b', tmp_path / "store", tmp_path / "m.prom"
    make_pictures(photos, 3)
    (photos / "cut.jpg").write_bytes((photos / "000.jpg").read_bytes()[:400])
    began = time.time()
    run = ["--store", store, "--metrics-file", metrics, "--quiet"]
    assert run_clipindex("ingest", photos, *run, "--model", TINY).code == 3
    first = samples(metrics)
    assert first["clipindex_exit_code"] == 3
    assert first["clipindex_points"] == 3
    assert first["clipindex_quarantined_files"] == 1
    assert first["clipindex_run_files new"] == 3
    assert began <= first["clipindex_last_success_timestamp_seconds"] <= time.time()
    assert 0 < first["clipindex_run_duration_seconds"] <= time.time() - began
    assert metrics.stat().st_mode & 0o777 == 0o644

    photos.rename(tmp_path / "unmounted")
    assert run_clipindex("reindex", *run).code == 2
    second = samples(metrics)
    assert second["clipindex_exit_code"] == 2
    for kept in ("last_success_timestamp_seconds", "points", "quarantined_files"):
        assert second[f"clipindex_{kept}"] == first[f"clipindex_{kept}"]
    assert (
        second["clipindex_last_run_timestamp_seconds"]
        > first["clipindex_last_run_timestamp_seconds"]
    )
    assert "clipindex_run_files new" not in second


def test_another_collections_file_gives_no_values(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    metrics = tmp_path / "m.prom"
    for collection in ("one", "two"):
        options = ["--store", tmp_path / "store", "--metrics-file", metrics]
        done = run_clipindex(
            "ingest", tmp_path / "in", *options, "--collection", collection, "--model", TINY
        )
        assert done.code == 0
    assert 'collection="one"' not in metrics.read_text()
    metrics.write_text("no metrics { at all\n")
    done = run_clipindex("reindex", *options, "--collection", "two")
    assert done.code == 0
    assert samples(metrics)["clipindex_points"] == 1


def test_a_metrics_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    for wrong in (tmp_path / "in", tmp_path / "no" / "m.prom"):
        done = run_clipindex(
            "ingest", tmp_path / "in", "--store", tmp_path / "s", "--metrics-file", wrong
        )
        assert done.code == 2
        assert "--metrics-file" in done.err
    assert not (tmp_path / "s").exists()


def test_the_log_tells_of_every_ending(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_pictures(tmp_path / "in", 1)
    options = ["--store", tmp_path / "store", "--log-file", log, "--quiet"]
    assert run_clipindex("reindex", *options).code == 6
    assert run_clipindex("ingest", tmp_path / "in", *options, "--model", TINY).code == 0
    assert run_clipindex("tag", "a=b", tmp_path / "nowhere", *options).code == 2
    lines = [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    store = tmp_path / "store"
    assert [line for line in lines if line.startswith("ended: ")] == [
        f"ended: exit code 6; there is no collection 'image_embeddings' in {store}",
        "ended: exit code 0; 1 found: 1 new",
        f"ended: exit code 2; nothing is indexed at or below this path ({tmp_path / 'nowhere'})",
    ]
    started = [line.split(",")[0] for line in lines if line.startswith("started: ")]
    assert started == [f"started: clipindex {name}" for name in ("reindex", "ingest", "tag")]


def test_while_a_cluster_works_the_file_shows_its_nodes_and_keeps_the_last_run(
    tmp_path: Path,
) -> None:
    make_pictures(tmp_path / "in", 2)
    file, store = tmp_path / "m.prom", tmp_path / "store"
    run = ["ingest", tmp_path / "in", "--store", store, "--metrics-file", file, "--model", TINY]
    assert run_clipindex(*run).code == 0
    before = samples(file)
    metrics = RunMetrics(file, place_at(store, None, DEFAULT_COLLECTION, None))
    metrics.take(NodesSeen({"one": NodeState(pictures=7, deaths=1, slices=2, actors=3)}))
    of_node = {"pictures": 7.0, "deaths": 1.0, "slices": 2.0, "actors": 3.0}
    running = {f"clipindex_run_node_{name}": value for name, value in of_node.items()}
    assert samples(file) == before | running
    metrics.take(NodesSeen({"one": NodeState(pictures=9, deaths=1)}))
    assert samples(file) == before | running  # not each time: the file is replaced now and then

    metrics.write(int(ExitCode.STORE), Output())
    after = samples(file)
    assert after["clipindex_exit_code"] == 6
    assert after["clipindex_run_node_pictures"] == 9
    assert after["clipindex_points"] == before["clipindex_points"]
    assert "clipindex_run_node_slices" not in after  # nothing is in hand any more
