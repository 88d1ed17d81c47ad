"""What a release is made of: notices, files and library versions agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUN = PROJECT["project"]["dependencies"]


def pins(name: str) -> dict[str, str]:
    """A constraints file as name and version; each line pins one version."""
    lines = (ROOT / "constraints" / name).read_text("utf-8").splitlines()
    pinned = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {package.lower(): version for package, version in pinned}


def lower_bounds(*groups: list[str]) -> dict[str, str]:
    """Direct dependencies and their lower bounds; clipindex's own extras aside."""
    wanted = [re.match(r"([A-Za-z0-9-]+)>=([\d.]+)", line) for group in groups for line in group]
    return {match[1]: match[2] for match in wanted if match}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def test_the_lowest_versions_that_ci_tests_are_the_lower_bounds() -> None:
    used = ("test", "cloud", "raw", "jxl", "serve", "mcp", "demo")
    assert pins("lowest.txt") == lower_bounds(RUN, *(EXTRAS[name] for name in used))


def test_ci_pins_every_library_to_a_version_within_its_bounds() -> None:
    tested = pins("tested.txt")
    for name, bound in lower_bounds(RUN, *EXTRAS.values()).items():
        assert numbers(tested[name]) >= numbers(bound), name


@pytest.mark.parametrize("pattern", PROJECT["project"]["license-files"])
def test_a_notice_that_the_metadata_names_is_there(pattern: str) -> None:
    assert list(ROOT.glob(pattern))


def test_the_source_distribution_has_every_folder_that_git_has() -> None:
    included = set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    ignored = {".git", ".gitignore", "pyproject.toml"}  # the latter two are always in it
    tops = {path.name for path in ROOT.iterdir() if is_tracked(path)} - ignored
    assert tops == included


def is_tracked(path: Path) -> bool:
    """Roughly: what .gitignore names is not."""
    patterns = (ROOT / ".gitignore").read_text("utf-8").split()
    return not any(path.match(pattern.strip("/")) for pattern in patterns)
