"""README and docs say what the program does: every command runs, every output is a run's, and
tables of codes, variables, fields and errors agree with the code in both directions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from PIL import Image

import clipindex
from clipindex import (
    DuplicateFile,
    DuplicatesSummary,
    Finding,
    NotCompared,
    StandingHit,
    Verdict,
    Verification,
)
from clipindex.cli import values
from clipindex.cli.app import app
from clipindex.collection.status import CollectionStatus
from clipindex.errors import ClipIndexError, ExitCode
from clipindex.ingest.dry_run import DryRun
from clipindex.ingest.events import Summary
from clipindex.search.hits import Hit
from conftest import make_pictures
from qdrant_double import Double

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # the scripts are no package of clipindex's own

from handbook.blocks import Block, blocks, pages, session  # noqa: E402
from handbook.compare import alike, differences  # noqa: E402
from handbook.render import MEASURED, RECORDED, RECORDING, SPEED, rendered  # noqa: E402
from handbook.speed_chart import chart  # noqa: E402
from handbook.speed_tables import TABLE, with_tables  # noqa: E402
from handbook.terminal import Screen  # noqa: E402

README = (ROOT / "README.md").read_text("utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = [path.relative_to(ROOT).as_posix() for path in pages(ROOT)]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
WORDS_OF_README = 1500

NOT_RUN = {  # why a block of a page is not run here
    "a crontab line",
    "a systemd unit",
    "a file of another program",
    "changes the crontab",
    "downloads a model",
    "needs Docker",
    "needs a cluster",
    "runs until it is ended",
    "needs a server of that name",
    "needs photographs that are not in the repository",
    "needs torch and a checkpoint",
    "needs torch, the peers and an hour",
    "runs in tests/test_embedding_api.py",
    "runs in tests/test_scale.py",
    "takes some minutes",
    "sets up a developer's environment",
    "the checks of CI themselves",
    "this is the test suite itself",
}


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def subclasses(kind: type[ClipIndexError]) -> list[type[ClipIndexError]]:
    below = kind.__subclasses__()
    return below + [deeper for each in below for deeper in subclasses(each)]


def section(page: str, heading: str) -> str:
    """From a second-level heading to the next."""
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_cells(table: str) -> set[str]:
    """Names in code style in the first column."""
    cells = re.findall(r"^\| (.*?) \|", table, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


# --- commands and their output -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("1  0.5436  /a.jpg", "1  0.5437  /a.jpg", True),
        ("1  0.5436  /a.jpg", "1  0.5636  /a.jpg", False),
        ("1  0.5436  /a.jpg", "1  0.5436  /b.jpg", False),
        ("in 1.4 s", "in 12.0 s", True),
        ("26 new", "25 new", False),
        ("", "26 new", False),
    ],
)
def test_outputs_are_compared_apart_from_times_ids_and_last_digits(
    expected: str, actual: str, same: bool
) -> None:
    assert alike(expected, actual) is same


def test_that_a_busy_machine_waited_makes_no_difference() -> None:
    waited = "note: the server http://localhost:6333 has not answered for 3 s; still waiting\n"
    assert differences("1  0.5436  /a.jpg\n26 new", f"{waited}1  0.5436  /a.jpg\n26 new") == []
    assert differences("26 new", f"{waited}25 new") == [("26 new", "25 new")]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_runs_and_prints_what_the_page_shows(
    name: str, tmp_path: Path
) -> None:
    page = read(name)
    if not any(block.runs for block in blocks(page)):
        return
    with Double(tmp_path) as double:
        now = rendered(page, double.url)
    hint = "\nPYTHONPATH=scripts python -m handbook.render writes the pages anew"
    different = [f"page: {shown}\nrun:  {today}" for shown, today in differences(page, now)]
    assert not different, "\n\n".join(different[:10]) + hint


@pytest.mark.parametrize("name", PAGES)
def test_a_block_that_does_not_run_says_why(name: str) -> None:
    for block in blocks(read(name)):
        if block.language in ("sh", "console", "python", "ini"):
            assert block.not_run is None or block.not_run in NOT_RUN, block.text


@pytest.mark.slow
def test_the_first_command_finds_the_cat_first() -> None:
    (first,) = [block for block in blocks(README) if "first-command" in block.marks]
    assert first.runs
    assert first.text.startswith("pip install . && clipindex ingest examples/photos && ")
    with_output = f"```sh\n{first.text}\n```\n```console\n$ clipindex query 'a cat' --paths\n```"
    shown = rendered(with_output).splitlines()
    assert shown[5] == "/home/ann/clipindex/examples/photos/animals/cat.jpg"


def test_ci_takes_its_commands_from_the_readme() -> None:
    script = read(".ci/run")
    for mark in ("first-command", "test-command"):
        assert f"<!-- {mark} -->" in README
        assert mark in script


def test_what_ci_leaves_out_for_other_libraries_exists() -> None:
    """pytest says nothing of a file to be ignored that is not there."""
    listed = re.search(r"^of_no_library=\((.*?)^\)", read(".ci/run"), re.M | re.S)
    assert listed is not None
    names = listed[1].split()
    assert names == sorted(set(names))
    assert all((ROOT / "tests" / f"test_{name}").is_file() for name in names)


def test_a_page_is_taken_apart_into_blocks() -> None:
    page = (
        "<!-- setup: clipindex ingest . -->\n\n<!-- exit: 3 -->\n```console\n$ false \\\n"
        "  --now\nout\n```\n\n<!-- not run: a crontab line -->\ntext\n```sh\ntrue\n```\n"
    )
    setup, shown, plain = blocks(page)
    assert setup == Block(language="setup", text="clipindex ingest .")
    assert (shown.exit_code, shown.first, shown.last) == (3, 4, 7)
    assert session(shown.text) == [("false \\\n  --now", ["out"])]
    assert plain.runs  # a comment counts for the block right below it only


def test_a_screen_carries_out_what_a_terminal_would() -> None:
    screen = Screen()
    screen.feed("50 %\r\x1b[K100 %\r\n\x1b[1mbold\x1b[0m\ta\r\nb\x1b[A\rc")
    assert screen.text() == ["100 %", "cold    a", "b"]


# --- pictures and links ------------------------------------------------------------------------


@pytest.mark.parametrize("picture", [RECORDING, SPEED], ids=lambda path: path.name)
def test_a_drawing_is_small_and_loads_nothing(picture: Path) -> None:
    text = picture.read_text("utf-8")
    ElementTree.fromstring(text)
    assert len(text) < 60_000
    urls = set(re.findall(r"https?://[^\s\"')]+", text))
    assert urls <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def test_the_recording_shows_its_commands_and_the_cat() -> None:
    words = "".join(ElementTree.fromstring(RECORDING.read_text("utf-8")).itertext())
    seen = words.replace("\xa0", " ")
    for command in RECORDED:
        assert command in seen
    assert "animals/cat.jpg" in seen


def test_the_chart_is_drawn_from_the_measured_figures() -> None:
    assert SPEED.read_text("utf-8") == chart(json.loads(MEASURED.read_text("utf-8")))


def test_the_tables_hold_the_measured_figures() -> None:
    page = DOCS["speed.md"]
    assert len(TABLE.findall(page)) >= 5
    assert with_tables(page, json.loads(MEASURED.read_text("utf-8"))) == page


def test_the_readme_says_what_was_measured() -> None:
    measured = json.loads(MEASURED.read_text("utf-8"))["sets"]["camera"]["programs"]
    section = README[README.index("## How fast") : README.index("## From Python")]
    for program in ("clipindex fp32", "clipindex int8", "rclip"):
        assert f"{measured[program]['cpu_ms_more']:.0f} ms" in section, program


def anchors(page: str) -> set[str]:
    """Of a page's headings, as a Markdown viewer makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.S), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", [*PAGES, "examples/README.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / name).parent / path if path else ROOT / name
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text("utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_no_folder_of_the_machine_that_rendered_it(name: str) -> None:
    assert not re.findall(rf"/tmp/|/root/|{re.escape(str(ROOT))}|handbook-", read(name))


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= WORDS_OF_README


def test_an_index_page_has_no_links_that_break_there() -> None:
    page = read("docs/about.md")
    assert 'readme = "docs/about.md"' in read("pyproject.toml")
    assert not re.findall(r"\]\((?!https://)", page)


# --- the example photographs -------------------------------------------------------------------

EXAMPLES = ROOT / "examples" / "photos"


def test_the_examples_are_a_few_small_photographs() -> None:
    files = sorted(EXAMPLES.rglob("*.jpg"))
    assert 20 <= len(files) <= 30
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    for path in files:
        with Image.open(path) as picture:
            assert picture.format == "JPEG"


def test_every_example_has_its_origin_and_a_free_licence() -> None:
    rows = re.findall(r"^\| `(.+?)` \|.*\| (.*?) \|$", read("examples/README.md"), re.M)
    assert {name for name, _ in rows} == {
        path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.is_file()
    }
    assert {licence.split(" (")[0] for _, licence in rows} == {"CC0", "public domain"}


# --- tables, in both directions ----------------------------------------------------------------


def test_every_exit_code_stands_in_the_table() -> None:
    listed = {
        int(code)
        for cell in re.findall(
            r"^\| ([\d, ]+) \|", section(DOCS["reference.md"], "Exit codes"), re.M
        )
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


def test_every_error_stands_in_the_python_page_with_its_code() -> None:
    rows = re.findall(r"^\| (`.*`) \| (\d+) \|$", section(DOCS["python.md"], "Errors"), re.M)
    listed = {name: int(code) for names, code in rows for name in re.findall(r"`(\w+)`", names)}
    errors = [ClipIndexError, *subclasses(ClipIndexError)]
    assert listed == {kind.__name__: int(kind.exit_code) for kind in errors}


def test_every_method_of_an_index_stands_in_the_python_page() -> None:
    listed = first_cells(section(DOCS["python.md"], "The rest"))
    methods = {name for name in dir(clipindex.Index) if not name.startswith("_")}
    assert listed == methods


def test_every_variable_is_in_the_reference_and_every_one_there_exists() -> None:
    known = {
        parameter.envvar
        for command in COMMANDS.values()
        for parameter in command.params
        if parameter.envvar
    }
    listed = first_cells(section(DOCS["reference.md"], "Environment")) - {"NO_COLOR"}
    assert known | {values.API_KEY, values.TOKEN, values.WRITE_TOKEN, values.PICTURES} == listed
    everywhere = "".join([README, *DOCS.values()])
    named = set(re.findall(r"\bCLIPINDEX_[A-Z_]+\b", everywhere))
    assert {name for name in named if "_TEST_" not in name} == listed


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_reference_and_has_help_for_each_parameter(name: str) -> None:
    commands = DOCS["reference.md"].split("\n## ")[0]
    assert name in first_cells(commands)
    command = COMMANDS[name]
    assert len(command.help or "") > 40
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, f"{name} --{parameter.name}"


def names_of(kind: type, *left_out: str) -> set[str]:
    return {field.name for field in fields(kind)} - set(left_out)


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("file", {"type", "path", "status", "id", "reason"}),
        ("batch", {"type", "points", "ids", "verified"}),
        ("summary", {"type"} | names_of(Summary, "unreadable")),
        ("standing", {"type"} | names_of(StandingHit)),
        ("answer", {"type", "line", "id", "query", "hits", "notes"}),
        ("preview", {"type"} | names_of(DryRun)),
        ("hit", names_of(Hit, "sha256", "exact_path", "payload")),
        ("status", {"type"} | names_of(CollectionStatus)),
        ("finding", {"type"} | names_of(Finding)),
        ("verify", {"type", "exit_code"} | names_of(Verification)),
        (
            "group",
            {"type", "group", "exact", "files"} | names_of(DuplicateFile, "exact_path"),
        ),
        ("unread", {"type"} | names_of(NotCompared)),
        ("duplicates", {"type", "exit_code"} | names_of(DuplicatesSummary)),
        ("verdict", {"type"} | names_of(Verdict)),
        ("doctor", {"type", "checks", "settings", "problems", "exit_code"}),
        ("error", {"type", "code", "kind", "message", "path", "hint"}),
    ],
)
def test_every_json_field_is_documented_and_every_one_there_exists(
    heading: str, expected: Iterable[str]
) -> None:
    assert first_cells(section(DOCS["json.md"], heading)) == set(expected)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_examples_run_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "photos", 3)
    monkeypatch.chdir(tmp_path)
    for block in blocks(read(name)):
        if block.language == "python" and block.not_run is None:
            exec(compile(block.text, name, "exec"), {})
    out = capsys.readouterr().out
    assert "3 new pictures" in out
    assert len(re.findall(r"^-?\d\.\d{4} /", out, re.M)) == 3


def test_the_changelog_keeps_to_keep_a_changelog() -> None:
    page = read("CHANGELOG.md")
    versions = re.findall(r"^## \[(.+?)\]( - \S+)?$", page, re.M)
    assert versions[0][0] == "0.2.0"
    kinds = set(re.findall(r"^### (.+)$", page, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
