"""The comparison with its peers: its arithmetic, its measuring, and a run of clipindex alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import (
    agreement,
    compare,
    decoders,
    environments,
    measure,
    pictures,
    programs,
    report,
    upkeep,
)
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


def test_every_round_has_a_figure_of_its_own_and_a_ratio() -> None:
    ours = report.figures([run_of(9, 10), run_of(9, 20), run_of(9, 30)], 11, [run_of(1, 0)])
    theirs = report.figures([run_of(9, 20), run_of(9, 20), run_of(9, 90)], 11, [run_of(1, 0)])
    assert ours.cpu_ms_more_of_rounds == pytest.approx((1000, 2000, 3000))
    found = report.ratios(ours, theirs)
    assert found["cpu_more"] == pytest.approx(1)
    assert found["cpu_more_least"] == pytest.approx(1)
    assert found["cpu_more_most"] == pytest.approx(3)


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


def test_a_home_library_has_its_stated_shares() -> None:
    home = pictures.KINDS["home"].sorts
    shares = [pictures.CAMERA, pictures.PHONE, pictures.SCREEN, pictures.SMALL]
    assert [home.count(sort) for sort in shares] == [11, 5, 2, 2]
    assert pictures.KINDS["home"].count % len(home) == 0


def test_screenshots_and_pictures_of_a_phone_are_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heif = pytest.importorskip("pillow_heif")
    small = replace(pictures.PHONE, megapixels=(0.7, 0.7))
    monkeypatch.setitem(pictures.KINDS, "phone", pictures.Kind((small, pictures.SCREEN), 4))
    first, again = (pictures.make("phone", tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert [path.suffix for path in first] == [".heic", ".png", ".heic", ".png"]
    for path in first[::2]:
        picture = heif.open_heif(path)
        assert picture.info["tiling"]["tile_width"] == pictures.TILE
        assert picture.info["thumbnails"][0] in pictures.THUMBNAILS


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
    assert "| photographs | 8 |" in table
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    (chosen,) = found["sets"].values()
    assert chosen["pictures"] == 8
    assert chosen["programs"]["clipindex fp32"]["cpu_ms"] > 0
    assert found["left_out"] == {}


def test_what_fails_on_one_set_stays_in_the_others(tmp_path: Path) -> None:
    def command(chosen: programs.Pictures, _: Path) -> list[str]:
        return [sys.executable, "-c", f"raise SystemExit({chosen.name == 'bad'})"]

    program = programs.Program(name="one", command=command)
    sets = [programs.listed(name, [tmp_path], tmp_path) for name in ("good", "bad")]
    runs = compare.Runs()
    compare.alternate([program], sets, 2, tmp_path, runs)
    assert list(runs.left_out) == ["one on bad"]
    assert len(runs.measured["one", "good"]) == 2
    assert ("one", "bad") not in runs.measured


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_decoders_are_compared_by_time_and_by_their_pixels(kind: str) -> None:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 50).convert("RGB").save(out, kind)
    first = next(iter(decoders.installed(kind).items()))
    readers = {first[0]: first[1], "white": lambda _: Image.new("RGB", (64, 48), "white")}
    measured = decoders.measure(out.getvalue(), readers, rounds=1)
    assert [equal for _, equal in measured.values()] == [True, False]
    assert all(0 <= seconds < 10 for seconds, _ in measured.values())
