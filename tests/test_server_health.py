"""What a server says of a collection reaches the user: its status, and its optimizer's error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import clipindex
from conftest import ingest, make_pictures, run_clipindex
from qdrant_double import Double
from test_server import on


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "optimizer", "shown"),
    [
        ("green", "ok", None),
        ("yellow", "ok", "yellow: it is building its index, queries may be slower meanwhile"),
        ("grey", "ok", "grey: it was restarted, and builds its index after the next write"),
        (
            "red",
            {"error": "no space\x1b[2J left"},
            r"red: an operation failed on the server, see its log: no space\x1b[2J left",
        ),
        ("green", {"error": "broken segment"}, "green: broken segment"),
        ("mauve", "ok", "mauve"),
    ],
)
def test_status_shows_what_the_server_says_of_a_collection(
    double: Double, tmp_path: Path, status: str, optimizer: Any, shown: str | None
) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(on(double), tmp_path / "photos")
    shard = double.shards["image_embeddings"]
    shard.status, shard.optimizer_status = status, optimizer
    run = run_clipindex("status", "--url", double.url, "--source", "here")
    lines = [line for line in run.out.splitlines() if line.startswith("server")]
    assert [line.split(maxsplit=1)[1] for line in lines] == ([shown] if shown else [])
    (record,) = run_clipindex("status", "--json", "--url", double.url).lines
    assert isinstance(record["health"], dict)
    assert record["health"]["status"] == status
    assert (record["health"]["error"] is None) == (optimizer == "ok")


def test_an_ingest_into_a_red_collection_warns_and_goes_on(double: Double, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 2)
    ingest(on(double), tmp_path / "photos")
    shard = double.shards["image_embeddings"]
    shard.status, shard.optimizer_status = "red", {"error": "broken segment"}
    (tmp_path / "photos" / "000.jpg").rename(tmp_path / "photos" / "b.jpg")
    with pytest.warns(clipindex.ClipIndexWarning, match="is red: .*: broken segment"):
        assert ingest(on(double), tmp_path / "photos").summary.moved == 1


def test_an_embedded_store_has_no_such_status(index: clipindex.Index, tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(index, tmp_path / "photos")
    (record,) = run_clipindex("status", "--json", "--store", index.place.store).lines
    assert record["health"] is None
