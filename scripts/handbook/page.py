"""Draw the pictures of the search page again: docs/page*.jpg.

PYTHONPATH=scripts python -m handbook.page
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from handbook.sandbox import HOME, ROOT

WIDE, PHONE = (1280, 800), (390, 780)
AS_IN_THE_PAGES = """([folder, home]) => {
    for (const path of document.querySelectorAll(".paths code")) {
        path.textContent = path.textContent.replace(folder, home);
    }
}"""
QUALITY = 82  # of the JPEGs: under 200 kB each


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture of the page: `keys` are pressed once the search is answered."""

    name: str
    query: dict[str, str]
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    keys: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return ROOT / "docs" / f"{self.name}.jpg"


SHOTS = (
    Shot(name="page", query={"q": "an animal in the wild"}),
    Shot(name="page-dark", query={"q": "an animal in the wild"}, scheme="dark"),
    Shot(name="page-picture", query={"q": "a city at night"}, keys=("ArrowRight", "Enter")),
    Shot(name="page-phone", query={"q": "an animal in the wild"}, size=PHONE),
)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`clipindex serve` on the example photographs; gives its URL."""
    run = [sys.executable, "-m", "clipindex"]
    store = ["--store", str(folder / "store")]
    home = os.environ | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    photos = folder / "Pictures"
    shutil.copytree(ROOT / "examples" / "photos", photos)
    subprocess.run([*run, "ingest", str(photos), *store, "--quiet"], check=True, env=home)
    command = [*run, "serve", "--port", "0", "--json", *store]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=home
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def draw(browser: Any, url: str, shot: Shot, folder: Path) -> None:
    """Take one picture, once everything in it is loaded, as on the machine of the pages."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=shot.scheme,
        has_touch=shot.size == PHONE,
        is_mobile=shot.size == PHONE,
    )
    tab = context.new_page()
    tab.goto(f"{url}?{urlencode(shot.query)}", wait_until="networkidle")
    for key in shot.keys:
        tab.keyboard.press(key)
    tab.wait_for_load_state("networkidle")
    tab.wait_for_timeout(300)
    tab.evaluate(AS_IN_THE_PAGES, [str(folder), HOME])
    tab.screenshot(path=shot.path, type="jpeg", quality=QUALITY)
    context.close()


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as url,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for shot in SHOTS:
            draw(browser, url, shot, Path(folder))
            print(shot.path.relative_to(ROOT), f"{shot.path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
