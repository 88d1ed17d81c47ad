"""The search page in a real browser, on a real service with real pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

for library in ("starlette", "uvicorn"):
    pytest.importorskip(library)
playwright = pytest.importorskip("playwright.sync_api")

import clipindex  # noqa: E402
from conftest import make_pictures  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
HOSTILE = "<img src=x onerror=document.title='broken'>.jpg"
PATIENCE = 8.0  # seconds
COPIES = 60  # further pictures, so that there is more than one page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photographs, one under a hostile name, and enough others for a second page."""
    folder = tmp_path_factory.mktemp("page")
    photos = folder / "photos of ann"
    shutil.copytree(PHOTOS, photos)
    cats = next(photos.rglob("cat.jpg"))
    cats.rename(cats.with_name(HOSTILE))
    shutil.copy(next(photos.rglob("espresso.jpg")), photos / "copy of espresso.jpg")
    others = make_pictures(folder / "others", COPIES)
    index = clipindex.Index(folder / "store")
    index.ingest([photos], tags={"owner": "ann"})
    index.ingest([others[0].parent], tags={"owner": "bob"})
    return folder / "store"


@contextmanager
def serving(store: Path, **environment: str) -> Iterator[str]:
    """`clipindex serve` at a free port; gives its URL."""
    command = [sys.executable, "-m", "clipindex", "serve", "--store", str(store), "--port", "0"]
    cache = {"XDG_CACHE_HOME": str(store.parent / "cache"), **environment}
    with subprocess.Popen(
        [*command, "--json"], env=os.environ | cache, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"]).rstrip("/")
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def service(store: Path) -> Iterator[str]:
    with serving(store) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """A tab on the search page; what a strict browser complains of is noted."""

    def __init__(self, context: Any, url: str) -> None:
        self.tab = context.new_page()
        self.tab.set_default_timeout(1000 * PATIENCE)
        self.url = url
        self.faults: list[str] = []
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("console", self._hear)
        self.tab.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.faults.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.faults.append(f"asked {request.url}")

    def open(self, address: str = "/") -> None:
        self.tab.goto(self.url + address)

    def search(self, text: str) -> None:
        self.tab.fill("#query", text)
        self.tab.press("#query", "Enter")
        self.settle()

    def settle(self) -> None:
        """Wait until an answer is shown."""
        self.until("document.querySelector('#hits').getAttribute('aria-busy') === 'false'")

    def until(self, expression: str, given: object = None) -> None:
        """Wait until an expression is true. Playwright's own way needs eval, which the page's
        content security policy forbids."""
        end = time.monotonic() + PATIENCE
        while not self.tab.evaluate(expression, given):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.02)

    def names(self) -> list[str]:
        return list(
            self.tab.eval_on_selector_all("#hits .title", "all => all.map(one => one.textContent)")
        )

    def wait_for_first(self, name: str) -> None:
        self.until("name => document.querySelector('#hits .title')?.textContent === name", name)

    def drop(self, data: bytes, name: str) -> None:
        """Drop a file on the page, as a file manager does."""
        moved = self.tab.evaluate_handle(
            "([bytes, name]) => { const moved = new DataTransfer(); moved.items.add(new File("
            "[new Uint8Array(bytes)], name, {type: 'image/jpeg'})); return moved; }",
            [list(data), name],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.tab.dispatch_event("body", event, {"dataTransfer": moved})


@pytest.fixture
def page(browser: Any, service: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = Page(context, service)
    yield page
    context.close()
    assert page.faults == []


def photo(name: str) -> bytes:
    return next(PHOTOS.rglob(name)).read_bytes()


def test_a_text_finds_its_photograph_and_the_address_says_what_was_asked(page: Page) -> None:
    page.open()
    assert page.tab.evaluate("document.activeElement.id") == "query"
    page.search("a cup of coffee")
    assert page.names()[0] in ("black-coffee.jpg", "espresso.jpg", "copy of espresso.jpg")
    assert page.tab.url == f"{page.url}/?q=a+cup+of+coffee"
    page.until(
        "[...document.querySelectorAll('#hits img')].slice(0, 3)"
        ".every(one => one.complete && one.naturalWidth > 0)"
    )


def test_reload_back_and_forward_show_what_was_there(page: Page) -> None:
    page.open()
    page.search("a surfer on a wave")
    surfers = page.names()
    page.search("a cup of coffee")
    coffee = page.names()
    assert surfers[0] != coffee[0]
    page.tab.reload()
    page.wait_for_first(coffee[0])
    assert page.tab.input_value("#query") == "a cup of coffee"
    page.tab.go_back()
    page.wait_for_first(surfers[0])
    assert page.tab.input_value("#query") == "a surfer on a wave"
    page.tab.go_forward()
    page.wait_for_first(coffee[0])


def test_a_dropped_picture_finds_itself_also_after_a_reload(page: Page) -> None:
    page.open()
    page.drop(photo("airliner.jpg"), "mine.jpg")
    page.wait_for_first("airliner.jpg")
    assert page.tab.inner_text("#hits li:first-child .score") == "1.00"
    assert page.tab.inner_text("#chip-list .chip") == "mine.jpg"
    page.tab.reload()
    page.wait_for_first("airliner.jpg")


def test_a_link_to_a_search_with_a_picture_says_that_the_picture_is_missing(page: Page) -> None:
    page.open("/?image=0123456789abcdef")
    page.tab.wait_for_selector("#problem:visible")
    assert "not in this browser" in page.tab.inner_text("#problem")


def test_a_filter_is_chosen_shown_and_taken_away(page: Page) -> None:
    page.open("/?q=a+cat")
    page.settle()
    page.tab.click("#show-filters")
    page.tab.locator("#filters .check", has_text="bob").click()
    page.until(
        "[...document.querySelectorAll('#hits .title')]"
        ".every(one => /^\\d+\\.jpg$/.test(one.textContent))"
    )
    assert page.tab.url.endswith("?q=a+cat&where=owner%3Dbob")
    assert page.tab.inner_text("#chip-list .chip") == "owner = bob"
    page.tab.keyboard.press("Escape")
    assert not page.tab.is_visible("#filters")
    page.tab.click("#chip-list .chip button")
    page.wait_for_first(HOSTILE)
    assert page.tab.url.endswith("?q=a+cat")


def test_scrolling_brings_the_next_pages_and_none_twice(page: Page) -> None:
    page.open("/?q=a+photograph")
    page.settle()
    for _ in range(20):
        page.tab.mouse.wheel(0, 4000)
        page.tab.wait_for_timeout(60)
        if page.tab.inner_text("#end").startswith("These are all"):
            break
    points = len(list(PHOTOS.rglob("*.jpg"))) + COPIES
    assert len(page.names()) == len(set(page.names())) == points
    page.tab.evaluate("scrollTo(0, 1500)")
    page.until("history.state.scroll === 1500")
    page.tab.reload()
    page.until("Math.abs(scrollY - 1500) < 2")


def test_more_like_this_add_and_subtract(page: Page) -> None:
    page.open("/?q=a+cup+of+coffee")
    page.settle()
    first, second = page.names()[:2]
    page.tab.hover("#hits li:nth-child(2)")
    page.tab.click("#hits li:nth-child(2) .similar")
    page.wait_for_first(second)
    assert page.tab.inner_text("#chip-list .chip") == second
    page.tab.click("#subtract-term")
    page.tab.keyboard.type("a wooden table")
    page.tab.keyboard.press("Enter")
    page.until("location.search.includes('minus=a+wooden+table')")
    page.settle()
    page.tab.click(".chip.is-minus .weight")
    page.until("location.search.includes('minus=2*a+wooden+table')")
    page.tab.go_back()
    page.tab.go_back()
    page.tab.go_back()
    page.wait_for_first(first)


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.open("/?q=a+cup+of+coffee")
    page.settle()
    names = page.names()
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_selector("#detail[open]")
    assert page.tab.inner_text("#detail h2") == names[1]
    page.tab.keyboard.press("ArrowRight")
    page.until("name => document.querySelector('#detail h2').textContent === name", names[2])
    page.tab.keyboard.press("Escape")
    page.tab.wait_for_selector("#detail", state="hidden")
    focused = "document.activeElement.closest('li').querySelector('.title').textContent"
    page.until(f"name => {focused} === name", names[2])
    page.tab.keyboard.press("ArrowDown")
    assert page.tab.evaluate(focused) not in names[:3]
    page.tab.keyboard.press("/")
    assert page.tab.evaluate("document.activeElement.id") == "query"
    page.tab.keyboard.press("Escape")
    page.tab.keyboard.press("?")
    assert page.tab.is_visible("#help")


def test_the_view_of_a_picture_has_its_facts_and_every_copy(page: Page) -> None:
    page.open("/?q=an+espresso")
    page.settle()
    page.tab.click("#hits li:has-text('×2') a")
    page.tab.wait_for_selector("#detail .paths li:nth-child(2)")
    paths = page.tab.inner_text("#detail .paths")
    assert "copy of espresso.jpg" in paths
    assert "/photos of ann/" in paths
    assert "owner" in page.tab.inner_text("#detail .content")
    page.until("document.querySelector('#detail .large').naturalWidth > 320")
    address = page.tab.url
    page.tab.go_back()
    page.tab.wait_for_selector("#detail", state="hidden")
    page.open(address.removeprefix(page.url))  # a shared link opens the picture
    page.tab.wait_for_selector("#detail .paths li:nth-child(2)")
    page.tab.click("#detail .close")
    page.settle()


def test_a_hostile_name_is_shown_as_text(page: Page) -> None:
    page.open("/?q=a+cat")
    page.settle()
    assert page.names()[0] == HOSTILE
    page.tab.click("#hits li a")
    page.tab.wait_for_selector("#detail .paths li")
    assert page.tab.inner_text("#detail h2") == HOSTILE
    assert page.tab.title() != "broken"
    assert page.tab.locator("img[src='x']").count() == 0


def test_nothing_fits_and_errors_are_said_in_words(page: Page) -> None:
    page.open("/?q=a+quarterly+tax+report")
    page.settle()
    assert page.tab.inner_text("#verdict").startswith("Nothing fits: best z ")
    assert page.tab.inner_text("#hits .weak >> nth=0") == "weak"
    page.open("/?q=a+cat&camera=nosuch")
    page.settle()
    assert "The cameras: Canon PowerShot" in page.tab.inner_text("#problem")
    page.open("/?q=a+cat&where=owner%3Dzoe")
    page.settle()
    page.tab.click("text=Remove the filters")
    page.wait_for_first(HOSTILE)


def test_a_service_that_ended_is_said_and_asked_again(page: Page) -> None:
    page.open("/?q=a+cat")
    page.settle()
    page.tab.route("**/search?*", lambda route: route.abort())
    page.search("a dog")
    assert "does not answer" in page.tab.inner_text("#problem")
    page.tab.unroute("**/search?*")
    page.tab.click("text=Try again")
    page.tab.wait_for_selector("#hits li")
    page.faults.clear()  # the browser's own words on the aborted request


def test_a_service_with_a_token_asks_for_it_once(browser: Any, store: Path) -> None:
    context = browser.new_context()
    with serving(store, CLIPINDEX_TOKEN="secret-" * 5) as url:
        page = Page(context, url)
        page.open("/?q=a+cat")
        page.tab.wait_for_selector("#token:visible")
        page.tab.fill("#token-input", "wrong")
        page.tab.keyboard.press("Enter")
        page.tab.wait_for_selector("text=This token is not right")
        page.tab.fill("#token-input", "secret-" * 5)
        page.tab.keyboard.press("Enter")
        page.wait_for_first(HOSTILE)
        page.until("document.querySelector('#hits img').naturalWidth > 0")
        page.tab.reload()
        page.wait_for_first(HOSTILE)
        page.drop(photo("airliner.jpg"), "mine.jpg")
        page.wait_for_first("airliner.jpg")
        assert page.faults == []
    context.close()


def test_nothing_moves_while_pictures_load_and_on_a_phone_nothing_is_cut(
    browser: Any, service: str
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = Page(context, service)
    page.tab.add_init_script(
        "window.shifts = []; new PerformanceObserver(list => { for (const one of list.getEntries())"
        " window.shifts.push([one.value, one.sources.map(source => source.node?.id)]); })"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    page.open("/?q=a+cup+of+coffee&minus=a+table&where=owner%3Dann")
    page.settle()
    page.tab.wait_for_load_state("networkidle")
    shifts = page.tab.evaluate("window.shifts")
    assert sum(amount for amount, _ in shifts) < 0.01, shifts
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 360
    page.tab.click("#hits li a")
    page.tab.wait_for_selector("#detail .paths li")
    assert page.tab.evaluate("document.querySelector('#detail').scrollWidth") <= 360
    assert page.faults == []
    context.close()
