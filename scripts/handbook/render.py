"""Write the real output below every command of the pages, and draw their pictures again.

PYTHONPATH=scripts python -m handbook.render [PAGE]...
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from rich.text import Text

from handbook.blocks import blocks, pages
from handbook.compare import differences
from handbook.sandbox import COLUMNS, ROOT, SERVER, sandbox
from handbook.speed_chart import chart
from handbook.speed_tables import with_tables
from handbook.terminal import draw

RECORDING = ROOT / "docs" / "terminal.svg"
RECORDED = (
    "clipindex ingest examples/photos",
    'clipindex query "a cat" -n 3',
    'clipindex query "a surfer on a wave" -n 3',
    "clipindex query examples/photos/sky/airliner.jpg -n 3",
)
SPEED = ROOT / "docs" / "speed.svg"
SPEED_PAGE = ROOT / "docs" / "speed.md"
MEASURED = ROOT / "benchmarks" / "results" / "2026-11-28.json"


def rendered(page: str, server: str = SERVER) -> str:
    """The page with the output that its commands have today.

    Raises AssertionError where a command ends with another exit code than the page says.
    """
    lines = page.splitlines()
    replaced: list[tuple[int, int, str]] = []
    with sandbox(server) as box:
        for block in blocks(page):
            if block.runs:
                text = box.run(block)
                if differences(block.text, text):  # an output that says the same stays as it is
                    replaced.append((block.first, block.last, text))
    for first, last, text in reversed(replaced):
        lines[first:last] = text.splitlines()
    return "\n".join(lines) + "\n"


def recording() -> str:
    """The recorded commands on one screen, as SVG."""
    shown: list[Text] = []
    with sandbox() as box:
        for command in RECORDED:
            prompt = Text.assemble(("$ ", "bold green"), (command, "bold"))
            shown += [prompt, *box.screen(command).coloured(), Text("")]
    return draw(shown[:-1], "clipindex", COLUMNS)


@contextmanager
def server_double() -> Iterator[str]:
    """A Qdrant server for the pages that need one: the tests' double."""
    sys.path.insert(0, str(ROOT / "tests"))
    double = import_module("qdrant_double").Double
    with tempfile.TemporaryDirectory() as folder, double(Path(folder)) as running:
        yield running.url


def main(names: list[str]) -> None:
    for page in pages(ROOT):
        if not names or page.name in names:
            print(page.relative_to(ROOT), file=sys.stderr)
            with server_double() as server:
                page.write_text(rendered(page.read_text("utf-8"), server), "utf-8")
    if not names:
        RECORDING.write_text(recording(), "utf-8")
        results = json.loads(MEASURED.read_text("utf-8"))
        SPEED.write_text(chart(results), "utf-8")
        SPEED_PAGE.write_text(with_tables(SPEED_PAGE.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
