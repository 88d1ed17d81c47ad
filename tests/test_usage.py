"""Commands typed wrongly: what is wrong is named, where it was written too, to people and JSON."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clipindex
from clipindex.cli.app import COMMANDS, app
from conftest import TINY, Ended, make_pictures, run_clipindex
from copies import copied

ERROR_FIELDS = {"type", "code", "kind", "message", "path", "hint"}


def clip(*args: object, env: dict[str, str] | None = None) -> Ended:
    """`clipindex ARGS` in this process, without a terminal."""
    done = CliRunner().invoke(app, list(map(str, args)), env=env, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, indexed; `in` lies beside it. Tests only read it."""
    folder = tmp_path_factory.mktemp("usage")
    make_pictures(folder / "in", 3)
    new = ["ingest", folder / "in", "--store", folder / "store", "--model", TINY]
    assert clip(*new).code == 0
    return folder / "store"


IGNORED = {  # what would have no effect -> what the message names
    "query dog -n 1 --limit 2": "--limit is given twice",
    "status --store a --store b": "--store is given twice",
    "query dog --json --paths": "--json and --paths",
    "query dog --json -0": "--json and --null",
    "status --quiet --verbose": "--quiet and --verbose",
    "status --store s --url http://localhost": "--store and --url",
    "ingest in --tag a=b --tag a=c": "the tag 'a' is given twice",
    "ingest in --checksum": "--checksum: only with --dry-run",
    "ingest in -0": "--null: only with --files-from",
    "ingest --files-from list --hidden": "--hidden",
    "export out --to-source x": "--to-source: only with",
    "export out --to-collection x": "--to-collection: only with",
}


@pytest.mark.parametrize("line", IGNORED)
def test_an_option_that_would_be_ignored_is_a_usage_error(line: str) -> None:
    done = clip(*line.split())
    assert done.code == 2
    assert IGNORED[line] in done.err


@pytest.mark.parametrize(
    "line",
    [
        "ingest ''",
        "ingest in --store ''",
        "ingest in --source ''",
        "tag a=b ''",
        "forget ''",
        "relocate in ''",
        "export ''",
        "import ''",
        "query dog --under ''",
        "query dog --image ''",
    ],
)
def test_an_empty_path_or_name_is_a_usage_error_and_not_the_current_folder(line: str) -> None:
    done = clip(*shlex.split(line))
    assert (done.code, "is empty" in done.err) == (2, True)


def test_an_empty_path_in_the_configuration_is_blamed_on_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('store = ""')
    done = clip("status", "--config", config)
    assert done.code == 2
    assert "'store' is empty" in done.err


def test_a_mistyped_path_into_a_folder_is_a_usage_error_and_no_text(store: Path) -> None:
    done = clip("query", store.parent / "in" / "nosuch", "--store", store)
    assert done.code == 2
    with contextlib.chdir(store.parent):
        assert clip("query", "in/nosuch", "--store", store).code == 2
        assert clip("query", "and/or", "--store", store).code == 0


WRONG = {
    "ingest --wrokers 2 .": "no such option: --wrokers",
    "ingets .": "no such command 'ingets'",
    "tag": "missing argument 'KEY=VALUE'",
    "relocate a b c": "unexpected extra argument",
    "ingest . --limit x": "--limit: 'x' is not a whole number",
    "ingest . --limit 99999999999999999999999": "--limit: 99999999999999999999999 is not",
    "ingest . --workers 99999999999999999999": "--workers",
    "ingest . --batch-size 99999999999999999999": "--batch-size",
    "ingest . --part 1/99999999999999999999": "is not a part",
    "ingest . --max-duration 99999999999999999999": "is not a duration",
    "query dog --limit 99999999999999999999": "--limit",
    "query dog --min-score nan": "--min-score",
    "query dog --min-score 2": "--min-score: 2.0 is not in the range -1.0 to 1.0",
    "query 99999999999999999999*dog": "no usable weight",
    "ingest . --provider abacus": "--provider: 'abacus'",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_usage_error_is_one_object_where_json_is_asked_for(line: str) -> None:
    done = clip(*line.split())
    assert (done.code, done.out) == (2, "")
    assert WRONG[line] in done.err
    for args, env in (([*line.split(), "--json"], {}), (line.split(), {"CLIPINDEX_JSON": "1"})):
        with_json = clip(*args, env=env)
        (error,) = with_json.lines
        assert (with_json.code, error["kind"], error["code"]) == (2, "UsageError", 2)
        assert set(error) == ERROR_FIELDS
        assert WRONG[line] in str(error["message"])
        assert error["hint"]


def test_the_nearer_of_two_options_that_exclude_each_other_holds(store: Path) -> None:
    env = {"CLIPINDEX_JSON": "1", "CLIPINDEX_QUIET": "1", "CLIPINDEX_URL": "http://localhost:1"}
    done = clip("query", "a dog", "--paths", "--verbose", "--store", store, env=env)
    assert done.code == 0
    assert sorted(done.out.splitlines()) == [str(p) for p in sorted(store.parent.glob("in/*"))]


# --- the configuration file ------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


BROKEN = {
    'limit = "x"': "the configuration file's 'limit': 'x' is not a whole number",
    "limit = true": "the configuration file's 'limit'",
    "limit = 2.5": "the configuration file's 'limit'",
    "limit = [2]": "the configuration file's 'limit' takes one value",
    "limit = 99999999999999999999": "the configuration file's 'limit'",
    "quiet = 5": "the configuration file's 'quiet'",
    "min-score = 7": "the configuration file's 'min_score'",
    "minus = [[1]]": "the configuration file's 'minus'",
    "nonsense = 1": "'nonsense', and there is no such option",
    "[ingest]\nstor = 1": "'stor' of '[ingest]', and there is no such option",
    "[ingets]\nstore = 1": "'[ingets]', and there is no such command",
    "limit =": "the configuration file cannot be read",
}


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("as_json", ["flag", "file", "no"])
def test_a_wrong_configuration_is_blamed_on_the_file(config: Path, text: str, as_json: str) -> None:
    config.write_text(("json = true\n" if as_json == "file" else "") + text)
    flags = ["--json"] if as_json == "flag" else []
    done = clip("query", "a dog", "--config", config, *flags, env={"CLIPINDEX_LIMIT": ""})
    assert done.code == 2
    assert BROKEN[text] in done.err
    assert str(config) in done.err
    if as_json == "flag":
        (error,) = done.lines
        assert error["path"] == str(config)
        assert error["hint"]


def test_a_wrong_variable_is_blamed_on_the_environment() -> None:
    done = clip("query", "a dog", env={"CLIPINDEX_QUERY_LIMIT": "x"})
    assert "CLIPINDEX_QUERY_LIMIT: 'x' is not a whole number" in done.err


WRONG_VALUES = {  # option -> command, a value that it cannot have, what is said of it
    "max-duration": ("ingest .", "x", "'x' is not a duration"),
    "part": ("ingest .", "9/3", "'9/3' is not a part"),
    "tag": ("ingest .", "x", "'x' is not a tag"),
    "where": ("query a", "x", "'x' is not a condition"),
    "where-not": ("query a", "a-b=1", "'a-b=1' is not a condition"),
    "collection": ("status", ".x", "'.x' cannot name a collection"),
    "source": ("status", ".x", "'.x' cannot name a source"),
    "url": ("status", "ftp://x", "this is not the URL of a server"),
    "to-url": ("export", "localhost", "this is not the URL of a server"),
    "to-collection": ("export x", "-", "'-' cannot name a collection"),
    "to-source": ("export x", "a b", "'a b' cannot name a source"),
    "min-score": ("query a", "nan", "nan is not a number from -1 to 1"),
    "limit": ("ingest .", "x", "'x' is not a whole number"),
    "provider": ("ingest .", "abacus", "'abacus' is not one of"),
}
VARIABLES = sorted({"max-duration", "collection", "source", "url", "min-score", "limit"})


@pytest.mark.parametrize("option", WRONG_VALUES)
def test_a_wrong_value_is_blamed_on_the_line_or_the_file_that_has_it(
    config: Path, option: str
) -> None:
    line, value, said = WRONG_VALUES[option]
    typed = clip(*line.split(), f"--{option}", value)
    assert (typed.code, f"--{option}: {said}" in typed.err) == (2, True)
    many = option in ("tag", "where", "where-not")
    config.write_text(f'{option} = ["{value}"]' if many else f'{option} = "{value}"')
    done = clip(*line.split(), "--config", config, "--json")
    (error,) = done.lines
    name = option.replace("-", "_")
    assert str(error["message"]).startswith(f"the configuration file's '{name}': {said}")
    assert (done.code, error["path"]) == (2, str(config))
    assert "correct the file" in str(error["hint"])


@pytest.mark.parametrize("option", VARIABLES)
def test_a_wrong_value_is_blamed_on_its_variable(option: str) -> None:
    line, value, said = WRONG_VALUES[option]
    variable = f"CLIPINDEX_{option.upper().replace('-', '_')}"
    done = clip(*line.split(), env={variable: value})
    assert done.code == 2
    assert f"the environment's {variable}: {said}" in done.err
    assert "correct the variable" in done.err


def test_an_error_of_a_command_says_which_option_was_not_typed(
    config: Path, tmp_path: Path, store: Path
) -> None:
    new = ["ingest", store.parent / "in", "--store", tmp_path / "new"]
    done = clip(*new, env={"CLIPINDEX_MODEL": "nosuch"})
    assert (done.code, "CLIPINDEX_MODEL sets --model" in done.err) == (4, True)
    config.write_text(f'log-file = "{tmp_path / "no" / "log"}"\nstore = "{config}"')
    done = clip("status", "--config", config)
    assert f"the configuration file's 'log_file' ({config}) sets --log-file" in done.err
    done = clip("status", "--config", config, "--log-file", tmp_path / "log")
    assert (done.code, f"the configuration file's 'store' ({config}) sets" in done.err) == (6, True)
    both = ["--log-file", tmp_path / "log", "--store", tmp_path / "new"]
    typed = clip("status", "--config", config, *both)
    assert (typed.code, "sets" in typed.err) == (6, False)


def test_a_nul_in_the_configuration_is_blamed_on_the_file(config: Path) -> None:
    config.write_text('store = "a\\u0000b"')
    done = clip("status", "--config", config)
    assert done.code == 2
    assert f"the configuration file's 'store' contains a NUL character ({config})" in done.err


def test_an_alias_refuses_the_store_that_earlier_versions_offered() -> None:
    for command in ("alias", "unalias"):
        assert "--store" not in clip(command, "--help").out
        done = clip(command, "x", "--store", "folder")
        assert done.code == 2
        assert "name the server with --url" in done.err


def test_a_tilde_is_the_home_in_every_path_of_the_configuration_and_the_environment(
    tmp_path: Path, config: Path
) -> None:
    make_pictures(tmp_path / "home" / "in", 1)
    (tmp_path / "home" / "list").write_text(str(tmp_path / "home" / "in" / "000.jpg"))
    config.write_text(
        f'store = "~/store"\nlog-file = "~/log"\nmodel = "{TINY}"\n'
        '[ingest]\nfiles-from = "~/list"\nexclude = ["~$*"]\n[query]\nunder = "~/in"\n'
    )
    home = {"HOME": str(tmp_path / "home"), "USERPROFILE": str(tmp_path / "home")}
    done = run_clipindex("ingest", "--config", config, env=home)
    assert (done.code, "1  new" in done.out) == (0, True)
    assert (tmp_path / "home" / "log").read_text("utf-8")
    query = run_clipindex("query", "a", "--json", "--config", config, env=home)
    assert len(query.lines) == 1
    named = {**home, "CLIPINDEX_LOG_FILE": "~/other", "CLIPINDEX_STORE": "~/store"}
    assert run_clipindex("query", "a", "--config", "~/../config.toml", env=named).code == 0
    assert (tmp_path / "home" / "other").exists()


def test_a_configuration_with_a_byte_order_mark_is_read(config: Path, store: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbflimit = 2\n")
    assert len(clip("query", "a", "--json", "--config", config, "--store", store).lines) == 2


# --- tags ------------------------------------------------------------------------------------


def test_a_tag_for_what_is_not_indexed_is_2_and_nothing_is_tagged(store: Path) -> None:
    folder = store.parent / "in"
    for command in (["tag", "a=b"], ["untag", "a"]):
        done = clip(*command, folder, folder / "typo", "--store", store)
        assert done.code == 2
        assert "nothing is indexed at or below this path" in done.err
        assert str(folder / "typo") in done.err
    assert not clip("query", "a", "--where", "a=b", "--store", store).out
    assert clip("tag", "c=d", folder, "--store", store).out == "3 tagged\n"
    assert clip("tag", "c=d", folder, "--store", store).out == "0 tagged\n"  # they have it
    assert clip("untag", "c", folder, "--store", store).out == "3 untagged\n"


def test_untag_refuses_a_key_that_no_picture_has_and_changes_nothing(store: Path) -> None:
    folder = store.parent / "in"
    picture = folder / "000.jpg"
    assert clip("tag", "owner=ann", picture, "--store", store).code == 0
    done = clip("untag", "onwer", folder, "--store", store)
    assert done.code == 2
    assert "no picture at or below this path has the tag 'onwer'" in done.err
    assert "their tags: owner" in done.err
    with pytest.raises(clipindex.UsageError, match="onwer"):
        clipindex.Index(store).untag(["owner", "onwer"], [folder])
    done = clip("untag", "owner", folder / "001.jpg", folder / "002.jpg", "--store", store)
    assert (done.code, "they have no tags" in done.err) == (2, True)
    assert clip("untag", "owner", picture, folder, "--store", store).out == "1 untagged\n"


# --- paths of the wrong kind -----------------------------------------------------------------

LONG = "x" * 300
KINDS = {  # command line, run beside the files `file` and `in/` -> exit code, what is said
    "export file": (2, "a file is in the way"),
    "export file/x": (2, "a file is in the way"),
    f"export {LONG}": (2, "File name too long"),
    "export --to-store file": (6, "a file is in the way"),
    "import file": (6, "this is a file, not the folder of an export"),
    "import file/x": (6, "no such folder"),
    f"import {LONG}": (6, "no such folder"),
    "relocate in file": (2, "this is a file, not a folder"),
    "relocate nosuch in": (2, "remembers nothing below it"),
    "demo file": (2, "the pictures cannot be copied"),
    f"demo {LONG}": (2, "the pictures cannot be copied: File name too long"),
    "ingest pipe": (2, "neither a file nor a folder"),
    "ingest broken": (2, "neither a file nor a folder"),
    "ingest in --model file": (4, "this is a file, and a model is a folder"),
    f"ingest in --model {LONG}": (4, "no model named"),
    "query a --under file": (2, "this is a file, and --under takes a folder"),
    "query a --under nosuch": (2, "nothing is indexed below this folder"),
    "query a --under new": (2, "nothing is indexed below this folder"),
    "query pipe": (2, "this is not a regular file"),
    "query broken": (2, "this is not a regular file"),
    "query --image pipe": (2, "this is not a regular file"),
    "query --image in": (2, "this is a folder, not a picture"),
    "query file/x": (2, "there is no such picture"),
    "query photo.psd": (2, "clipindex does not read .psd files"),
    "status --config in": (2, "the configuration file cannot be read: Is a directory"),
    "status --log-file in": (2, "the log file cannot be written: Is a directory"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
@pytest.mark.parametrize("line", KINDS)
def test_a_path_of_the_wrong_kind_is_named_for_what_it_is(
    line: str, store: Path, tmp_path: Path
) -> None:
    code, said = KINDS[line]
    for name in ("in", "new"):
        (tmp_path / name).mkdir()
    for name in ("file", "photo.psd"):
        (tmp_path / name).write_bytes(b"8BPS" + bytes(100))
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    where = [] if line.startswith("demo") else ["--store", tmp_path / "copy"]
    copied(store, tmp_path / "copy")
    with contextlib.chdir(tmp_path):
        done = clip(*line.split(), *where)
    assert (done.code, said in done.err) == (code, True), done.err
    assert len(done.err.splitlines()) >= 2  # a hint
    assert "should not happen" not in done.err


@pytest.mark.parametrize("command", ["ingest in", "status", "query a", "export out"])
def test_a_store_that_is_a_file_is_not_called_damaged(command: str, tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    (tmp_path / "file").touch()
    with contextlib.chdir(tmp_path):
        for name in ("file", "file/x"):
            done = clip(*command.split(), "--store", name)
            assert (done.code, "a file is in the way" in done.err) == (6, True)
            assert "name another folder with --store" in done.err


# --- the summary -----------------------------------------------------------------------------


def test_why_files_were_skipped_stands_in_the_summary_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipindex.pictures import raw

    monkeypatch.setattr(raw, "version", lambda: None)  # as without the extra
    make_pictures(tmp_path / "in", 1)
    for name in ("1.raf", "2.raf"):
        (tmp_path / "in" / name).write_bytes(b"FUJIFILMCCD-RAW 0201FF" + bytes(5000))
    (tmp_path / "in" / "notes.txt").write_text("hello")
    run = ["ingest", tmp_path / "in", "--store", tmp_path / "store", "--model", TINY]
    for _ in range(2):  # known skips are told again: they are still not indexed
        done = clip(*run)
        assert "3  skipped (not pictures, or deleted before they were read)" in done.out
        assert done.out.count("2 camera raw files: install clipindex[raw]") == 1
        assert "raf" not in done.err
    assert clip(*run, "--quiet") == Ended(0, "", "")


# --- the help --------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_its_width_and_shows_an_example(command: str, columns: int) -> None:
    done = clip(*command.split(), "--help", env={"COLUMNS": str(columns)})
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert f"  {'0 3 * * * ' if command == 'reindex' else ''}clipindex {command}" in done.out


def test_options_stand_in_panels_that_say_what_they_are_about() -> None:
    panels = {line for line in clip("ingest", "--help").out.splitlines() if line and line[0] != " "}
    names = {"What to index", "Which pictures", "Where", "Model", "Amount and speed", "Output"}
    assert names <= panels
