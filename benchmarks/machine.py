"""The machine a comparison ran on, and what it can do."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from clipindex.ingest.cores import usable_cores

EXPORT_FILE = ("clipindex", "onnxruntime", "openvino", "pillow", "numpy", "qdrant-edge-py")


def cores() -> int:
    """Cores that this process and its children may use."""
    return usable_cores()


def described() -> dict[str, Any]:
    """CPU, cores, memory, system and Python."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def our_versions() -> dict[str, str]:
    """Versions of clipindex and of what does its work."""
    found = {}
    for name in EXPORT_FILE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def floor(listed: Path) -> dict[str, Any]:
    """What `floor.py` measures for a list of files."""
    script = [sys.executable, "-m", "benchmarks.floor", str(listed)]
    done = subprocess.run(script, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
