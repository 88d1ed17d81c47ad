"""How many cores this process may use: those it is bound to, and what its container may spend."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """At least 1. `taskset`, `PYTHON_CPU_COUNT` and the CPU quota of a container or a service
    (`docker --cpus`, systemd's CPUQuota) may allow fewer cores than the machine has."""
    quota = cpu_quota()
    bound = _bound_cores()
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def _bound_cores() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """The cores' worth of time that Linux's control groups allow, version 2 or 1; None without a
    limit. The limit of a group holds for all groups below it, so the least one counts."""
    folders = list(_folders(cgroups, own))
    limits = [limit(folder) for folder in folders for limit in (_limit_2, _limit_1)]
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's groups, and all above them. In a container the group's path
    may be that of the host, which is not there; the container's own group is at the top."""
    for line in _text(own).splitlines():
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = (cgroups / controllers, cgroups / "cpu") if controllers else (cgroups,)
        for top in tops:
            group = top / path.strip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _limit_2(folder: Path) -> float | None:
    """`cpu.max`: quota and period in microseconds, or the word max."""
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _limit_1(folder: Path) -> float | None:
    """Two files; the quota is -1 without a limit."""
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return limit if limit > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
