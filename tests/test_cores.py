"""How many workers: the cores that a process is bound to and what its container may spend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipindex.ingest import cores
from clipindex.ingest.cores import cpu_quota, usable_cores


def groups(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A fake /sys/fs/cgroup and /proc/self/cgroup."""
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(own)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),  # version 2, in a container
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "200000 100000\n"}, 0.5),
        ("0::/on/the/host\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",  # version 1
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n"}
            | {"cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "5:cpu,cpuacct:/docker/1234\n",  # the container's own group is at the top
            {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            1.0,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("5:memory:/\n", {"cpu.max": "100000 100000\n"}, None),  # not a group for CPU time
        ("0::/\n", {"cpu.max": "what\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("", {"cpu.max": "100000 100000\n"}, None),
        ("nonsense", {}, None),
    ],
)
def test_the_least_quota_of_all_groups_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*groups(tmp_path, own, files)) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "most"), [("10000", 1), ("100000", 1), ("max", 10**6)])
def test_the_default_keeps_within_the_quota_and_is_at_least_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, most: int
) -> None:
    top, own = groups(tmp_path, "0::/\n", {"cpu.max": f"{quota} 100000\n"})
    monkeypatch.setattr(cores, "cpu_quota", lambda: cpu_quota(top, own))
    assert 1 <= usable_cores() <= most


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_the_default_keeps_to_the_cores_that_taskset_allows() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
