"""Completion, asked as the scripts ask, and in the real shells where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import _BuiltWhenNamed, app
from clipindex.cli.completion.candidates import candidates
from clipindex.cli.completion.shells import SCRIPTS, SHELLS, answer, install
from clipindex.errors import UsageError
from conftest import TINY, make_pictures

COMMANDS = _BuiltWhenNamed()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections; the pictures of one have tags."""
    folder = tmp_path_factory.mktemp("completion") / "my store"
    pictures = make_pictures(folder.parent / "pictures", 3)
    for name in ("first", "second"):
        index = clipindex.Index(folder, collection=name, model=str(TINY))
        index.ingest([pictures[0].parent])
    index = clipindex.Index(folder, collection="first")
    index.tag({"kind": "receipt", "year": "2024"}, [pictures[0]])
    index.tag({"kind": "a photo's copy"}, [pictures[1]])
    return folder


def words(*typed: object) -> list[str]:
    return [word for word, _ in candidates(COMMANDS, list(map(str, typed)))]


def test_commands_options_and_choices_are_known() -> None:
    assert words("qu") == ["query", "quarantine"]
    assert words("--ver") == ["--version"]
    assert words("query", "--excl") == ["--exclude-self"]
    assert words("query", "--sort", "") == ["score", "taken", "path"]
    assert words("query", "--sort=ta") == ["--sort=taken"]
    assert words("models", "pa") == ["path"]
    assert words("quarantine", "") == ["list", "retry", "clear", "accept"]
    assert "mini" in words("query", "--model", "m")
    assert "mini" in words("models", "verify", "mini", "m")


def test_an_option_is_offered_once_unless_it_may_be_repeated() -> None:
    assert words("query", "--limit", "3", "--lim") == []
    assert words("query", "--under", "a", "--und") == ["--under"]
    assert words("query", "--", "--lim") == ["--limit"]  # the last word is still to be decided


def test_where_a_path_may_stand_the_shell_offers_files() -> None:
    assert words("ingest", "") == []
    assert words("query", "--under", "") == []


def test_collections_tags_and_values_are_those_of_the_store(store: Path) -> None:
    assert words("status", "--store", store, "--collection", "") == ["first", "second"]
    first = ("query", "--store", store, "--collection", "first")
    assert words(*first, "--where", "") == ["kind=", "year="]
    assert words(*first, "--where", "kind=") == ["kind=a photo's copy", "kind=receipt"]
    assert words(*first, "--where=year=") == ["--where=year=2024"]
    assert words(*first, "--group-by", "k") == ["kind"]
    assert words("untag", "--store", store, "--collection", "first", "") == ["kind", "year"]
    assert words("query", "--store", store, "--collection", "second", "--where", "") == []


def test_store_and_collection_come_from_the_environment_and_the_configuration_too(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"store = '{store}'\ncollection = 'first'\n")
    assert words("untag", "--config", config, "ki") == ["kind"]
    monkeypatch.setenv("CLIPINDEX_STORE", str(store))
    monkeypatch.setenv("CLIPINDEX_COLLECTION", "first")
    assert words("untag", "ki") == ["kind"]
    assert words("untag", "--url", "http://localhost:1", "ki") == []


def test_nothing_is_written_and_a_collection_in_use_is_completed_all_the_same(store: Path) -> None:
    def seen() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in store.rglob("*")}

    with clipindex.Index(store, collection="first") as index:
        index.query("a dog")
        before = seen()
        first = ("query", "--store", store, "--collection", "first")
        assert words(*first, "--where", "y") == ["year="]
        assert seen() == before


@pytest.mark.parametrize("shell", SHELLS)
def test_an_empty_home_and_a_broken_configuration_say_nothing(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert answer(COMMANDS, shell, ["query", "--collection", ""]) == ""
    assert answer(COMMANDS, shell, ["query", "--where", ""]) == ""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\xff = [")
    assert answer(COMMANDS, shell, ["query", "--config", str(broken), "--collection", ""]) == ""
    assert answer(COMMANDS, shell, ["nonsense", ""]) == ""
    assert list(tmp_path.iterdir()) == [broken]


def test_bash_parts_words_at_equals_signs_and_leaves_quotes_in(store: Path) -> None:
    typed = ["query", "--store", shlex.quote(str(store)), "--collection", "first", "--where"]
    assert answer(COMMANDS, "bash", [*typed, "kind", "="]) == "a\\ photo\\'s\\ copy\nreceipt\n"
    assert answer(COMMANDS, "bash", [*typed, "kind", "=", "re"]) == "receipt\n"
    escaped = str(store).replace(" ", "\\ ")
    assert answer(COMMANDS, "bash", ["status", "--store", "=", escaped, "--collection", "f"]) == (
        "first\n"
    )


@pytest.fixture
def shell_env(tmp_path: Path, store: Path) -> dict[str, str]:
    """A home with `clipindex` on the PATH."""
    program = tmp_path / "bin" / "clipindex"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m clipindex "$@"\n')
    program.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return {
        **env,
        "HOME": str(tmp_path),
        "PATH": f"{program.parent}:{env['PATH']}",
        "CLIPINDEX_STORE": str(store),
        "CLIPINDEX_COLLECTION": "first",
        "PYTHONPATH": str(Path(clipindex.__file__).parents[1]),
        "TERM": "dumb",
    }


def run_shell(env: dict[str, str], *command: str, typed: str = "") -> str:
    done = subprocess.run(
        command, env=env, input=typed, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_in_bash(shell_env: dict[str, str]) -> None:
    script = shell_env["HOME"] + "/completion.bash"
    Path(script).write_text(SCRIPTS["bash"])
    ask = (
        f'. {script}\nask() {{ COMP_WORDS=(clipindex "$@"); COMP_CWORD=$#; _clipindex 2>/dev/null;'
        ' printf "<%s>" "${COMPREPLY[@]}"; echo; }\n'
        "ask qu\nask query --where kind =\ncomplete -p clipindex\n"
    )
    lines = run_shell(shell_env, "bash", "--norc", "-c", ask).splitlines()
    assert lines[0] == "<query><quarantine>"
    assert lines[1] == "<a\\ photo\\'s\\ copy><receipt>"
    assert "_clipindex clipindex" in lines[2]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_in_fish(shell_env: dict[str, str]) -> None:
    folder = Path(shell_env["HOME"]) / ".config" / "fish" / "completions"
    folder.mkdir(parents=True)
    (folder / "clipindex.fish").write_text(SCRIPTS["fish"])
    (Path(shell_env["HOME"]) / "some file.jpg").touch()
    ask = "cd; complete -C 'clipindex qu'; complete -C 'clipindex query --where kind='; "
    seen = run_shell(shell_env, "fish", "-c", ask + "complete -C 'clipindex ingest so'")
    names = [line.split("\t")[0] for line in seen.splitlines()]
    assert names == ["quarantine", "query", "kind=a photo's copy", "kind=receipt", "some file.jpg"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_in_zsh(shell_env: dict[str, str]) -> None:
    home = Path(shell_env["HOME"])
    (home / "completion.zsh").write_text(SCRIPTS["zsh"])
    (home / ".zshrc").write_text(f". {home}/completion.zsh\nPS1='> '\n")
    ask = (
        "zmodload zsh/zpty; zpty z 'HOME=$HOME ZDOTDIR=$HOME exec zsh -i'; zpty -r z a '*> *';"
        " zpty -w -n z $'clipindex status --collection s\\t'; zpty -r z b '*tion second*';"
        ' print -r -- "$b"'
    )
    seen = run_shell(shell_env, "zsh", "-f", "-c", ask)
    assert "--collection second" in seen


@pytest.mark.parametrize("shell", SHELLS)
def test_installing_twice_changes_nothing_more(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    start = tmp_path / f".{shell}rc"
    if shell != "fish":
        start.write_text("alias ll='ls -l'")
    for _ in range(2):
        done = CliRunner().invoke(app, ["--install-completion", shell])
        assert done.exit_code == 0, done.output
    if shell != "fish":
        alias, line = start.read_text().splitlines()
        assert alias == "alias ll='ls -l'"
        script = Path(shlex.split(line)[2])
        assert script.read_text() == SCRIPTS[shell]
    else:
        script = tmp_path / ".config" / "fish" / "completions" / "clipindex.fish"
        assert script.read_text() == SCRIPTS["fish"]


def test_the_shell_is_the_users_own_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    done = CliRunner().invoke(app, ["--show-completion"])
    assert (done.exit_code, done.stdout) == (0, SCRIPTS["zsh"])
    assert CliRunner().invoke(app, ["--show-completion", "bash"]).stdout == SCRIPTS["bash"]
    monkeypatch.setenv("SHELL", "/bin/ksh")
    refused = CliRunner().invoke(app, ["--show-completion"])
    assert refused.exit_code == 2
    assert "'ksh' has no completion" in refused.stderr


def test_a_home_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be written"):
        install("bash")


def test_a_completion_takes_little_cpu(shell_env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "clipindex", "query", "--where", "kind="]
    seconds = []
    for _ in range(2):
        before = os.times()
        subprocess.run(command, env={**shell_env, "_CLIPINDEX_COMPLETE": "fish"}, check=True)
        after = os.times()
        seconds.append(after.children_user - before.children_user)
        time.sleep(0)
    assert min(seconds) < 0.4
