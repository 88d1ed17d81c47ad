"""Three hundred damaged pictures of every format: none stops a run, none is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipindex
import fuzz
from conftest import TINY, reconciles, run_clipindex

pytest.importorskip("rawpy")  # else all camera raw files are skipped
pytest.importorskip("pillow_heif")
SEED, COUNT = 1, 300


def test_a_folder_of_damaged_pictures_is_indexed_to_its_end(tmp_path: Path) -> None:
    paths = fuzz.fill(tmp_path / "pictures", SEED, COUNT)
    store = ["--store", tmp_path / "store", "--model", TINY]
    run = run_clipindex("ingest", tmp_path / "pictures", *store, "--json")
    assert run.code == 3
    assert "Traceback" not in run.err
    *lines, last = run.lines
    files = {str(line["path"]): line for line in lines if line["type"] == "file"}
    assert files.keys() == {str(path) for path in paths}
    assert all(line["reason"] for line in files.values() if line["status"] not in INDEXED)
    summary = clipindex.Summary(**{key: value for key, value in last.items() if key != "type"})  # type: ignore[arg-type]
    assert summary.found == len(paths)
    assert reconciles(summary)
    for name in fuzz.sound():
        assert files[str(tmp_path / "pictures" / name)]["status"] in INDEXED
    query = run_clipindex("query", tmp_path / "pictures" / "plain.tif", *store, "--json")
    assert query.code == 0
    assert Path(str(query.lines[0]["path"])).name.endswith("plain.tif")


INDEXED = {"new", "duplicate"}


def test_the_same_seed_makes_the_same_files() -> None:
    made = [fuzz.damaged(SEED, number) for number in range(20)]
    assert made == [fuzz.damaged(SEED, number) for number in range(20)]
    assert made != [fuzz.damaged(SEED + 1, number) for number in range(20)]


def test_parts_of_a_file_put_together_are_the_file() -> None:
    for name, data in fuzz.sound().items():  # made here, and not where tests are collected
        parts = fuzz.parts_of(data)
        assert len(parts) > 1, name
        assert b"".join(parts) == data, name


@pytest.mark.parametrize("kind", fuzz.DAMAGE)
def test_each_kind_of_damage_is_done(kind: str) -> None:
    files = [fuzz.DAMAGE[kind](fuzz.random.Random(5), data) for data in fuzz.sound().values()]
    assert any(made != data for made, data in zip(files, fuzz.sound().values(), strict=True))
