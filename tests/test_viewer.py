"""`query --open`: the desktop's viewer gets the best pictures, and is not waited for."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from conftest import run_clipindex
from test_cli import photos, store

__all__ = ["photos", "store"]
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="xdg-open is Linux's way"
)


@pytest.fixture
def desktop(tmp_path: Path) -> dict[str, str]:
    """A desktop whose viewer takes its time, and notes what it was given."""
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/opened"\nexec sleep 4\n')
    opener.chmod(0o755)
    return {"DISPLAY": ":9", "PATH": f"{opener.parent}:{os.environ['PATH']}"}


def opened(folder: Path, count: int) -> list[str]:
    """What the viewer was given, which may come after the command's end."""
    file, deadline = folder / "opened", time.monotonic() + 20
    while time.monotonic() < deadline:
        if file.exists() and len(lines := file.read_text().splitlines()) >= count:
            return sorted(lines)
        time.sleep(0.05)
    raise AssertionError("the viewer was not started")


def test_the_best_hit_is_opened_and_nobody_waits(
    store: Path, tmp_path: Path, desktop: dict[str, str]
) -> None:
    ended = run_clipindex("query", "x", "--open", "--store", store, env=desktop)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert len(lines) > 1
    assert "opened 1 picture\n" in ended.err
    assert opened(tmp_path, 1) == [lines[0].split("\t")[1]]


def test_with_n_as_many_are_opened(store: Path, tmp_path: Path, desktop: dict[str, str]) -> None:
    ended = run_clipindex("query", "x", "--open", "-n", 2, "--store", store, env=desktop)
    assert opened(tmp_path, 2) == sorted(line.split("\t")[1] for line in ended.out.splitlines())


def test_too_many_are_not_opened_by_mistake(store: Path, desktop: dict[str, str]) -> None:
    ended = run_clipindex("query", "x", "--open", "-n", 500, "--store", store, env=desktop)
    assert ended.code == 2
    assert "--open opens at most 20 pictures" in ended.err


def test_without_a_desktop_it_says_so(store: Path) -> None:
    env = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "WSL_DISTRO_NAME": ""}
    ended = run_clipindex("query", "x", "--open", "--store", store, env=env)
    assert (ended.code, ended.out) == (1, "")
    assert "there is no desktop to open a picture on" in ended.err
    assert "--paths" in ended.err


def test_without_an_opener_it_says_what_to_install(store: Path, tmp_path: Path) -> None:
    env = {"DISPLAY": ":9", "PATH": str(tmp_path)}
    ended = run_clipindex("query", "x", "--open", "--store", store, env=env)
    assert ended.code == 1
    assert "install xdg-utils" in ended.err
