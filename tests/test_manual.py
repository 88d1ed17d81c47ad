"""The man page says what the help says, and man(1) shows it without a complaint."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # the scripts are no package of clipindex's own

from clipindex.cli.app import COMMANDS  # noqa: E402
from handbook.manual import PAGE, manual  # noqa: E402


def test_the_page_is_made_from_the_help_of_today() -> None:
    assert PAGE.read_text("utf-8") == manual(), (
        "the help has changed: PYTHONPATH=scripts python -m handbook.manual writes the page anew"
    )


def test_the_wheel_brings_it() -> None:
    line = '"docs/clipindex.1" = "share/man/man1/clipindex.1"'
    assert line in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_section(name: str) -> None:
    assert f'.SS "clipindex {name}'.replace("-", "\\-") in manual()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_roff_takes_it_without_a_warning() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_commands_as_they_are_typed() -> None:
    command = ["man", "-l", "--encoding=UTF-8", str(PAGE)]
    env = {"MANWIDTH": "100", "MANPAGER": "cat", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        pytest.skip("man reads no local pages here")
    assert 'clipindex query "a dog on a beach"' in done.stdout
    assert "--min-score SCORE" in done.stdout
