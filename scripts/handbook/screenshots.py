"""Draw docs/sheet.jpg and docs/show.png again: what `query --html` and `query --show` look like.

PYTHONPATH=scripts python -m handbook.screenshots

It needs Chromium, and Playwright to steer it.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.text import Text

from handbook.sandbox import ROOT, sandbox
from handbook.terminal import draw

DOCS = ROOT / "docs"
SHEET = DOCS / "sheet.jpg"
SHOW = DOCS / "show.png"
QUESTION = 'clipindex query "something to drink" -n 8 --html drinks.html'
SHOWN = 'clipindex query "something to drink" -n 2 --show'
COLUMNS = 64  # of the terminal that is drawn
SIZE = {"width": 1000, "height": 660}
COLOURS = 128  # of a PNG in the docs
QUALITY = 80  # of a JPEG


def photographed(browser: Any, page: Path, target: Path, size: dict[str, int]) -> None:
    """A page of this machine as a small JPEG or PNG."""
    window = browser.new_page(viewport=size)
    window.goto(page.as_uri())
    window.wait_for_timeout(300)  # milliseconds, in which its pictures are decoded
    image = Image.open(io.BytesIO(window.screenshot())).convert("RGB")
    window.close()
    if target.suffix == ".png":
        image = image.quantize(COLOURS)
    image.save(target, optimize=True, quality=QUALITY)


def terminal(folder: Path) -> Path:
    """The page that shows a terminal with pictures."""
    with sandbox() as box:
        box.env |= {"COLORTERM": "truecolor"}
        box.screen("clipindex ingest ~/Pictures --quiet")
        prompt = Text.assemble(("$ ", "bold green"), (SHOWN, "bold"))
        svg = draw([prompt, *box.screen(SHOWN).coloured()], "clipindex", COLUMNS)
    page = folder / "terminal.svg"
    page.write_text(svg, "utf-8")
    return page


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as running, sandbox() as box:
        box.screen("clipindex ingest ~/Pictures --quiet")
        box.screen(QUESTION)
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        sheet = Path(name) / "sheet.html"
        text = (box.home / "clipindex" / "drinks.html").read_text("utf-8")
        sheet.write_text(text.replace(str(box.folder), ""), "utf-8")
        photographed(browser, sheet, SHEET, SIZE)
        photographed(browser, terminal(Path(name)), SHOW, {"width": 840, "height": 780})
        browser.close()


if __name__ == "__main__":
    main()
