"""The comparison with its peers: its arithmetic, its measuring, and a run of clipindex alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import agreement, compare, environments, measure, pictures, programs, report, upkeep
from benchmarks.measure import Measured
from conftest import TINY, make_pictures


def run_of(wall: float, cpu: float, rss: float = 100.0) -> Measured:
    return Measured(wall, cpu, rss, None, 0)


def test_figures_are_medians_and_the_start_is_told_apart() -> None:
    found = report.figures(
        [run_of(10, 15), run_of(20, 16), run_of(12, 99)], 101, [run_of(1, 2), run_of(2, 6)]
    )
    assert found.wall == 12
    assert found.pictures_per_second == pytest.approx(101 / 12)
    assert found.cpu_ms == pytest.approx(16 / 101 * 1e3)
    assert found.cpu_ms_more == pytest.approx((16 - 4) / 100 * 1e3)
    assert found.wall_more == pytest.approx(12 - 1.5)


def test_ratios_are_above_one_where_the_peer_takes_more() -> None:
    ours = report.figures([run_of(10, 10, 200)], 101, [run_of(1, 1)])
    theirs = report.figures([run_of(30, 25, 500)], 101, [run_of(7, 7)])
    found = report.ratios(ours, theirs)
    assert found["cpu"] == pytest.approx(2.5)
    assert found["cpu_more"] == pytest.approx(18 / 9)
    assert found["pictures_per_second"] == pytest.approx(3)
    assert found["peak_rss"] == pytest.approx(2.5)


def test_the_roofline_is_the_bare_work_spread_over_the_cores() -> None:
    ours = report.figures([run_of(6, 11)], 101, [run_of(1, 1)])
    roof = report.figures([run_of(5, 10)], 101, [run_of(0.5, 0.5)])
    found = report.roofline(ours, roof, cores=2)
    assert found["share"] == pytest.approx(10 / 2 / 6)
    assert found["share_more"] == pytest.approx((10 - 0.5) / 2 / (6 - 1))


def test_the_floor_is_entropy_decoding_and_multiplying() -> None:
    floor = {
        "entropy_ms_per_mb": 10.0,
        "gigaflops_of_a_core": {"fp32": 200.0},
        "gflop_a_picture": 8,
    }
    assert report.floor_ms(floor, "fp32", 1.5) == pytest.approx(15 + 40)
    assert report.floor_ms(floor, "bf16", 1.5) is None


def test_a_process_is_measured_whole(tmp_path: Path) -> None:
    burn = "import time; d = bytearray(80 << 20)\nwhile time.process_time() < 0.5: pass"
    tree = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    found = measure.run([sys.executable, "-c", tree], tmp_path / "log", {})
    assert found.exit_code == 0
    assert 0.5 <= found.cpu < 5
    assert found.wall >= 0.5
    assert 80 < found.peak_rss_mb < 200, "the child's, and nothing of what this process holds"


def test_a_failing_process_is_told_by_its_code(tmp_path: Path) -> None:
    found = measure.run([sys.executable, "-c", "raise SystemExit(7)"], tmp_path / "log", {})
    assert found.exit_code == 7


def test_the_same_pictures_are_made_each_time(tmp_path: Path) -> None:
    first, again = (pictures.make("web", tmp_path / name, 4) for name in ("a", "b"))
    contents = [path.read_bytes() for path in first]
    assert contents == [path.read_bytes() for path in again]
    assert len(set(contents)) == 4
    with Image.open(first[0]) as image:
        assert 0.29e6 < image.width * image.height < 0.31e6


def test_vectors_that_differ_are_called_so() -> None:
    ours = np.eye(4, 512, dtype=np.float32)
    turned = np.roll(ours, 1, axis=0)
    vectors = {"clipindex fp32": ours, "rclip": turned}
    rows = agreement.table(vectors, "clipindex fp32", ours, np.array([True, True, True, False]))
    assert [row["pictures"] for row in rows] == [3, 3]
    assert not any(row["agrees"] for row in rows)
    vectors["rclip"] = ours
    rows = agreement.table(vectors, "clipindex fp32", ours, np.array([True] * 4))
    assert all(row["agrees"] for row in rows)


def test_clipindex_alone_gives_a_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "photographs", 8)
    code = compare.main(
        [
            *("--work", str(tmp_path / "work"), "--pictures", str(tmp_path / "photographs")),
            *("--fp32-bundle", str(TINY), "--rounds", "1", "--no-floor"),
            *("--only", "clipindex fp32", "--json", str(tmp_path / "found.json")),
        ]
    )
    assert code == 0
    table = capsys.readouterr().out
    assert "| clipindex fp32 |" in table
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    (chosen,) = found["sets"].values()
    assert chosen["pictures"] == 8
    assert chosen["programs"]["clipindex fp32"]["cpu_ms"] > 0
    assert found["left_out"] == {}


@pytest.mark.slow
def test_a_peer_that_is_not_to_be_had_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environments.PEERS, "rclip", environments.Needs(("no-index-has-this",)))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    left_out: dict[str, str] = {}
    assert programs.peers(compare.parse(["--only", "rclip"]), tmp_path, left_out) == []
    assert "no-index-has-this" in left_out["rclip"]


@pytest.mark.slow
def test_scale_runs_small(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.scale", "--work", str(tmp_path), "--rounds", "1"),
            *("--fp32-bundle", str(TINY), "--json", str(out), "--only", "plan", "--only", "query"),
            *("--plan", "50", "--query", "30", "60", "--index-up-to", "0"),
        ],
        cwd=measure.ROOT,
        check=True,
        capture_output=True,
    )
    found = json.loads(out.read_text("utf-8"))
    find, ours = found["plan"]
    assert ours["to find"] == pytest.approx(ours["CPU s"] / find["CPU s"])
    assert [row["points"] for row in found["query"]] == [30, 60]


def test_upkeep_measures_edits_moves_a_copy_and_filters(tmp_path: Path) -> None:
    rows = upkeep.upkeep(tmp_path, 300, 1)
    assert [row["what"] for row in rows] == ["edits", "edits", "moves", "moves", "copy"]
    assert {row["points"] for row in rows} == {300}
    assert len(upkeep.filters(tmp_path / "filters", 300)) == 3
