"""`schedule` writes down what cron and systemd run, and what it writes down runs."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.cli.schedule import (
    Job,
    crontab_line,
    parse_at,
    service_text,
    with_line,
    without_line,
)
from clipindex.errors import UsageError
from conftest import TINY, make_pictures, run_clipindex

AT = parse_at("03:05")


def job(*line: str, name: str = "clipindex") -> Job:
    return Job(name=name, line=line, at=AT)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An empty home, and a `crontab` program that keeps its table in a file there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    table = tmp_path / "table"
    program = programs / "crontab"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat "{table}"; else cat > "{table}"; fi\n'
    )
    program.chmod(0o755)
    folders = {f"XDG_{name}_HOME": "" for name in ("DATA", "STATE", "CONFIG", "CACHE")}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {"HOME": str(tmp_path / "home"), "PATH": path, **folders}


@pytest.mark.skipif(os.name != "posix", reason="needs cron's shell")
def test_the_printed_line_runs_with_nothing_but_a_home(
    tmp_path: Path, home: dict[str, str]
) -> None:
    make_pictures(tmp_path / "my photos", 2)
    store = tmp_path / "a store with 100% and $HOME in its name"
    ingest = run_clipindex(
        "ingest", tmp_path / "my photos", "--store", store, "--model", TINY, env=home
    )
    assert ingest.code == 0
    printed = run_clipindex("schedule", "--as", "cron", "--store", store, env=home)
    assert printed.code == 0, printed.err
    minute, hour, *days, command = printed.out.strip().split(" ", 5)
    assert (minute, hour, days) == ("0", "3", ["*", "*", "*"])
    state = Path(home["HOME"]) / ".local/state/clipindex"
    state.mkdir(parents=True)  # --install makes it
    as_cron_does = {"HOME": home["HOME"], "PATH": "/usr/bin:/bin"}
    if "PYTHONPATH" in os.environ:
        as_cron_does["PYTHONPATH"] = os.environ["PYTHONPATH"]
    line = ["/bin/sh", "-c", command.replace(r"\%", "%")]
    assert subprocess.run(line, env=as_cron_does, cwd="/", check=False).returncode == 0
    assert "2 found: 2 unchanged" in (state / "clipindex.log").read_text()


@pytest.mark.skipif(os.name != "posix", reason="needs cron's shell")
def test_the_crontab_is_installed_once_and_removed_without_touching_other_lines(
    tmp_path: Path, home: dict[str, str]
) -> None:
    table = tmp_path / "table"
    table.write_text("MAILTO=ann\n5 4 * * * backup # clipindex-other\n")
    before = table.read_text()
    for time in ("02:00", "03:30"):
        done = run_clipindex("schedule", "--as", "cron", "--install", "--at", time, env=home)
        assert done.code == 0, done.err
    lines = table.read_text().splitlines()
    assert lines[:2] == before.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("30 3 * * * ")
    assert run_clipindex("schedule", "--as", "cron", "--remove", env=home).code == 0
    assert table.read_text() == before
    assert run_clipindex("schedule", "--as", "cron", "--remove", env=home).code == 2


def test_options_that_reindex_does_not_take_are_refused_by_day(home: dict[str, str]) -> None:
    wrong = run_clipindex("schedule", "--", "--max-durations", "4h", env=home)
    assert wrong.code == 2
    assert "--max-durations" in wrong.err
    right = run_clipindex("schedule", "--as", "cron", "--", "--max-duration", "4h", env=home)
    assert right.out.strip().endswith("--max-duration 4h # clipindex")


def test_a_key_is_read_from_a_file_and_printed_nowhere(home: dict[str, str]) -> None:
    env = {**home, "CLIPINDEX_API_KEY": "top-secret"}
    for form in ("cron", "systemd"):
        done = run_clipindex("schedule", "--as", form, "--url", "http://localhost", env=env)
        assert "clipindex/environment" in done.out
        assert "top-secret" not in done.out + done.err


@pytest.mark.parametrize("text", ["24:00", "3", "3:60", "noon", "-1:00", "3:5"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time of day"):
        parse_at(text)


def test_a_failed_installation_leaves_no_unit_behind(tmp_path: Path, home: dict[str, str]) -> None:
    program = tmp_path / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho no bus >&2; exit 1\n")
    program.chmod(0o755)
    done = run_clipindex("schedule", "--as", "systemd", "--install", env=home)
    assert done.code == 1
    assert "no bus" in done.err
    assert not list((Path(home["HOME"]) / ".config/systemd/user").glob("*.timer"))


@given(st.lists(st.text(st.characters(exclude_characters="\0")), max_size=4))
def test_a_unit_is_one_readable_section_whatever_the_names_are(arguments: list[str]) -> None:
    text = service_text(job("/bin/x", *arguments))
    lines = [line for line in text.split("\n") if line.startswith("ExecStart=")]
    assert len(lines) == 1
    assert text.count("\n") == service_text(job("/bin/x")).count("\n")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    text = service_text(job("/bin/sh", "--store", '/a "b" %c $d\\e'))
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(text)
    assert parsed["Service"]["SuccessExitStatus"] == "3"
    unit = tmp_path / "clipindex.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit], capture_output=True, text=True, check=False
    )
    assert "clipindex.service:" not in done.stderr, done.stderr


words = st.text(st.characters(exclude_characters="\0\r\n"), max_size=8)


@given(st.lists(words.map(lambda text: text + "\n"), max_size=5), st.lists(words, max_size=3))
def test_installing_and_removing_gives_the_same_crontab(
    lines: list[str], arguments: list[str]
) -> None:
    table = "".join(lines)
    if any(line.endswith(" # clipindex") for line in table.split("\n")):
        return
    installed = with_line(table, job("/bin/x", *arguments))
    assert without_line(installed, "clipindex") == table
    assert with_line(installed, job("/bin/x", *arguments)) == installed


def test_a_line_break_is_refused_for_a_crontab() -> None:
    with pytest.raises(UsageError, match="line break"):
        crontab_line(job("/bin/x", "a\nb"))
