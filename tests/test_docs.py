"""The README says what the program does: commands, options, codes, variables, the snippet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from clipindex.cli import options
from clipindex.cli.app import app
from clipindex.errors import ClipIndexError, ExitCode
from conftest import make_pictures

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def subclasses(kind: type[ClipIndexError]) -> list[type[ClipIndexError]]:
    below = kind.__subclasses__()
    return below + [deeper for each in below for deeper in subclasses(each)]


def test_every_exit_code_stands_in_the_table() -> None:
    table = README.split("## Exit codes")[1].split("##")[0]
    listed = {
        int(code)
        for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.M)
        for code in cell.split(",")
    }
    assert listed == {int(code) for code in ExitCode} | {135}


@pytest.mark.parametrize("kind", subclasses(ClipIndexError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_the_enum_and_stands_in_the_tree(
    kind: type[ClipIndexError],
) -> None:
    import clipindex.errors

    assert kind.exit_code in set(ExitCode)
    assert kind.__name__ in (clipindex.errors.__doc__ or "")


def test_every_variable_is_in_the_readme_and_every_one_there_exists() -> None:
    known = {
        parameter.envvar
        for command in COMMANDS.values()
        for parameter in command.params
        if parameter.envvar
    }
    listed = {name for name in re.findall(r"`(CLIPINDEX_[A-Z_]+)`", README) if "_TEST_" not in name}
    assert known | {options.API_KEY} == listed  # the key is never an option


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_has_help_for_each_parameter(name: str) -> None:
    assert name in README.lower()
    command = COMMANDS[name]
    assert len(command.help or "") > 40
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, f"{name} --{parameter.name}"


def test_the_python_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "photos", 3)
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "3 new pictures" in out
    assert len(re.findall(r"^-?\d\.\d{4} /", out, re.M)) == 3


def test_the_changelog_has_an_entry_for_what_is_not_released() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text("utf-8")
