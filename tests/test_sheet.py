"""Contact sheets: one file, nothing from elsewhere, whatever the files are called; a picture that
is gone or changed is a card that says so; only an older sheet is replaced."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from clipindex.cli.output import Output
from clipindex.cli.query_terms import question_of
from clipindex.cli.sheet import writing
from clipindex.cli.sheet.cards import Card, Section, Sheet, sheet_of_hits
from clipindex.cli.sheet.writing import write_sheet
from clipindex.errors import StoreError
from clipindex.search.hits import Hit
from clipindex.search.terms import Term, TermKind
from conftest import picture, picture_bytes, run_clipindex
from copies import copied
from test_cli import photos, store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["photos", "store"]
HOSTILE = (
    "<script>document.title='owned'</script>.jpg",
    "\"'><img src=x onerror=alert(1)>.jpg",
    "a & b $title &lt;.jpg",
    "javascript:alert(1).jpg",
    "caf\udce9 \u202egpj.jpg",  # a byte that is not UTF-8, and text turned around
    "line\nbreak.jpg",
)


class Read(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def find(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.tags
            if (name == tag and kind in (attributes.get("class") or "").split(" "))
            or (name == tag and not kind)
        ]


def card(path: Path, **more: object) -> Card:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    facts = ("1. score 0.2941, z 4.1", "2024-06-01 12:00:00", "48.85800, 2.29400")
    return Card(path=os.fsencode(path), sha256=digest, facts=facts, **more)  # type: ignore[arg-type]


def sheet(*cards: Card, title: str = "a dog", notes: tuple[str, ...] = ()) -> Sheet:
    sections = (Section("", cards),) if cards else ()
    return Sheet(title=title, summary=f"{len(cards)} pictures", sections=sections, notes=notes)


def written(shown: Sheet, file: Path) -> Read:
    write_sheet(shown, file, Output(quiet=True))
    return Read(file.read_text("utf-8"))


@pytest.fixture
def hostile(tmp_path: Path) -> list[Path]:
    """Pictures with names that would be HTML, script or control characters."""
    if os.name != "posix":  # pragma: no cover
        pytest.skip("no such names there")
    paths = [tmp_path / "My pictures <b>" / name for name in HOSTILE]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(seed))
    return paths


def test_names_are_text_and_links_whatever_they_are(hostile: list[Path], tmp_path: Path) -> None:
    page = written(sheet(*map(card, hostile), title=HOSTILE[0]), tmp_path / "sheet.html")
    assert len(page.find("script")) == len(page.find("style")) == 1
    assert [
        tag for tag, attributes in page.tags if any(key.startswith("on") for key in attributes)
    ] == []
    assert len(page.find("img")) == len(hostile)
    links = [str(link["href"]) for link in page.find("a", "open")]
    assert [unquote_to_bytes(link.removeprefix("file://")) for link in links] == [
        os.fsencode(path) for path in hostile
    ]
    assert {"caf\\xe9 \\u202egpj.jpg", "line\\x0abreak.jpg"} <= {*page.words.split("\n")} | {
        str(image["alt"]) for image in page.find("img")
    }


def test_a_sheet_loads_nothing_and_its_policy_says_so(hostile: list[Path], tmp_path: Path) -> None:
    page = written(sheet(*map(card, hostile)), tmp_path / "sheet.html")
    html = (tmp_path / "sheet.html").read_text("utf-8")
    policy = next(str(m["content"]) for m in page.find("meta") if "http-equiv" in m)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == "data:"
    for kind in ("script", "style"):
        text = html.split(f"<{kind}>")[1].split(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert not rules
    assert not re.search(r"https?:", html)
    for image in page.find("img"):
        data = base64.b64decode(str(image["src"]).removeprefix("data:image/jpeg;base64,"))
        assert str(Image.open(io.BytesIO(data)).width) == image["width"]


def test_a_picture_that_is_gone_changed_or_damaged_is_a_card_that_says_so(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jpg" for name in ("whole", "gone", "changed", "damaged")]
    for seed, path in enumerate(paths):
        path.write_bytes(picture_bytes(seed))
    paths[3].write_bytes(picture_bytes(3)[:-200])
    cards = [card(path) for path in paths]
    paths[1].unlink()
    paths[2].write_bytes(picture_bytes(9))
    page = written(sheet(*cards), tmp_path / "sheet.html")
    assert len(page.find("img")) == 1
    assert len(page.find("span", "missing")) == 3
    assert "No picture: deleted, moved, or its disk is not mounted" in page.words
    assert "No picture: edited since it was indexed" in page.words
    assert len(page.find("a", "open")) == 4


def test_an_old_sheet_stays_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.jpg").write_bytes(picture_bytes(1))
    file = tmp_path / "sheet.html"
    written(sheet(card(tmp_path / "one.jpg")), file)
    before = file.read_bytes()

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "thumbnail_of_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(sheet(card(tmp_path / "one.jpg")), file)
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"one.jpg", "sheet.html"}
    with pytest.raises(StoreError, match="the sheet cannot be written"):
        written(sheet(), tmp_path / "missing" / "sheet.html")


def test_facts_of_a_hit_are_on_its_card() -> None:
    hit = Hit(
        rank=1,
        score=0.29,
        z=4.12,
        fits=False,
        path="/p/a.jpg",
        exact_path=b"/p/a.jpg",
        paths=("/p/a.jpg", "/p/copy.jpg"),
        id="",
        width=40,
        height=30,
        taken="2024-06-01T12:00:00",
        tags={"who": "ann"},
        group="shoe",
        payload={"location": {"lat": 48.858, "lon": -2.294}},
    )
    (shown,) = sheet_of_hits([hit], "a dog", []).cards
    assert shown.facts == (
        *("1. score 0.2900, z 4.1", "shoe", "2024-06-01 12:00:00", "40 × 30"),
        *("48.85800, -2.29400", "who=ann"),
    )
    assert (shown.badge, shown.copies) == ("weak", ("/p/copy.jpg",))


def test_a_question_is_its_terms() -> None:
    terms = [
        Term("a dog", TermKind.TEXT, 2.0),
        Term("/p/my beach.jpg", TermKind.IMAGE),
        Term("fog", TermKind.TEXT, -0.5),
        Term(b"\xff\xd8\xff"),
    ]
    assert question_of(terms) == "2*a dog + my beach.jpg − 0.5*fog + standard input"
    assert len(question_of([Term("x" * 5000)])) == 201


# --- the command line --------------------------------------------------------------------------


def test_a_query_writes_a_sheet_beside_its_lines(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "my sheet.html"
    ended = run_clipindex("query", "x", "-n", 5, "--html", file, "--store", store)
    assert (ended.code, len(ended.out.splitlines())) == (0, 5)
    assert f"5 pictures in {file}" in ended.err
    page = Read(file.read_text("utf-8"))
    assert len(page.find("img")) == 5
    again = run_clipindex("query", "x", "-n", 1, "--json", "--html", file, "--store", store)
    assert len(again.lines) == 1
    assert len(Read(file.read_text("utf-8")).find("img")) == 1


def test_a_sheet_may_go_to_standard_output(store: Path) -> None:
    ended = run_clipindex("query", "x", "-n", 2, "--html", "-", "--store", store)
    assert ended.out.startswith("<!doctype html>")
    assert ended.out.endswith("</html>\n")
    both = run_clipindex("query", "x", "--json", "--html", "-", "--store", store)
    assert (both.code, '"type": "error"' in both.out) == (2, True)


def test_no_other_file_is_replaced(store: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<!doctype html><title>years of work</title>")
    ended = run_clipindex("query", "x", "--html", thesis, "--store", store)
    assert ended.code == 2
    assert "is no contact sheet of clipindex" in ended.err
    assert "years of work" in thesis.read_text()
    ended = run_clipindex("query", "x", "--html", tmp_path / "no" / "a.html", "--store", store)
    assert (ended.code, "there is no folder" in ended.err) == (2, True)


def test_nothing_found_is_a_sheet_that_says_so(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    ended = run_clipindex("query", "x", "--min-score", "0.999", "--html", file, "--store", store)
    assert ended.code == 0
    page = Read(file.read_text("utf-8"))
    assert "nothing found" in page.words
    assert not page.find("li")


def test_duplicates_are_a_sheet_of_groups_with_the_best_marked(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    own = copied(store, tmp_path / "store")
    ended = run_clipindex("duplicates", "--exact", "--html", file, "--store", own)
    assert (ended.code, ended.out) == (0, "")
    page = Read(file.read_text("utf-8"))
    assert len(page.find("img")) == 2
    assert len(page.find("li", "best")) == 1
    assert "Group 1: 2 files with the same bytes" in page.words


# --- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Browser, hostile: list[Path], tmp_path: Path) -> Iterator[Page]:
    """A sheet of twelve pictures in a window of four columns; nothing may be said or asked for."""
    plain = [tmp_path / f"{name}.jpg" for name in ("gone", "b", "c", "d", "e", "f")]
    for seed, path in enumerate(plain):
        picture(seed, (400, 90) if seed % 2 else (90, 400)).save(path)
    cards = [card(path) for path in [*hostile, *plain]]
    plain[0].unlink()
    file = tmp_path / "sheet.html"
    written(sheet(*cards, title=HOSTILE[0], notes=("nothing fits: best z 1.9",)), file)
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    yield page
    said.remove(file.as_uri())
    assert [line for line in said if not line.startswith("data:")] == []
    context.close()


def focused(page: Page) -> int:
    """The number of the card that has the focus, or -1."""
    return int(
        page.evaluate("[...document.querySelectorAll('.open')].indexOf(document.activeElement)")
    )


@pytest.mark.slow
def test_keys_move_filter_and_open(opened: Page) -> None:
    assert opened.title().startswith(HOSTILE[0])
    moves = [("ArrowDown", 0), ("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4)]
    for key, number in [*moves, ("ArrowUp", 0), ("ArrowUp", 0)]:
        opened.keyboard.press(key)
        assert focused(opened) == number, key
    opened.keyboard.press("/")
    opened.keyboard.type("<SCRIPT>")
    assert opened.locator(".card:visible").count() == 1
    opened.keyboard.press("Enter")
    assert focused(opened) == 0
    opened.keyboard.press("Escape")
    assert opened.locator(".card:visible").count() == 12
    opened.keyboard.press("/")
    opened.keyboard.type("no such name")
    assert opened.locator("#none").is_visible()
    opened.keyboard.press("Escape")
    opened.locator(".open").nth(7).focus()
    with opened.context.expect_page() as popup:
        opened.keyboard.press("Enter")
    assert popup.value.url.endswith("/b.jpg")


@pytest.mark.slow
def test_light_dark_and_a_phone(opened: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(background)
    opened.emulate_media(color_scheme="dark")
    dark = opened.evaluate(background)
    assert dark != light
    opened.locator("#theme").click()
    assert opened.evaluate(background) == light
    assert opened.locator("#theme").get_attribute("aria-pressed") == "false"
    assert opened.locator(".missing").count() == 1
    assert "nothing fits" in opened.locator(".note").first.inner_text()
    loaded = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    opened.evaluate("[...document.images].forEach((image) => image.loading = 'eager')")
    for width in (320, 390, 1100):
        opened.set_viewport_size({"width": width, "height": 700})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.wait_for_function(loaded)


if sys.platform == "win32":  # pragma: no cover
    pytestmark = pytest.mark.skip(reason="paths of POSIX")
