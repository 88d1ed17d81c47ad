"""Commands typed wrongly: what is wrong is named, where it was written too, to people and JSON."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipindex.cli.app import COMMANDS, app
from conftest import TINY, Ended, make_pictures, run_clipindex

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
    "query dog --under a --under b": "--under is given twice",
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
