"""Contact sheets written: the thumbnails made, the file replaced in one step."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

from clipindex.cli import streams
from clipindex.cli.output import Output
from clipindex.cli.run_view import points_bar
from clipindex.cli.sheet import page
from clipindex.cli.sheet.cards import Card, Sheet
from clipindex.cli.words import count_of
from clipindex.errors import FileFault
from clipindex.files.durable import disk_errors, written_durably
from clipindex.pictures.thumbnails import thumbnail_of_file

LONGEST = 400  # pixels of a thumbnail: sharp on a screen with two pixels to a point
THREADS = 4
AT_ONCE = 32  # cards whose thumbnails are held in memory

STANDARD_OUTPUT = Path("-")


def write_sheet(sheet: Sheet, target: Path, output: Output) -> None:
    """Write it to `target`, or to standard output for '-', and say so.

    A picture that is gone, changed or damaged is a card that says so. Raises DiskFull or
    StoreError; an older sheet then stays.
    """
    if target == STANDARD_OUTPUT:
        _write_parts(sheet, streams.write_bytes, output)
        return
    with (
        disk_errors(target, "the sheet cannot be written", "name another place with --html"),
        written_durably(target) as file,
    ):
        _write_parts(sheet, file.write, output)
    output.say(f"{count_of(len(sheet.cards), 'picture')} in {target}")


def _write_parts(sheet: Sheet, write: Callable[[bytes], object], output: Output) -> None:
    write(page.head(sheet).encode())
    with closing(_pictures(sheet.cards, output)) as pictures:
        for section in sheet.sections:
            write(page.opening(section).encode())
            for card in section.cards:
                write(page.card(card, next(pictures)).encode())
            write(page.closing().encode())
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    write(page.foot(made).encode())


def _pictures(cards: list[Card], output: Output) -> Generator[bytes | str, None, None]:
    """The thumbnail of each card, or why there is none."""
    threads = min(THREADS, os.cpu_count() or 1)
    with points_bar(output, "pictures") as moved, ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cards), AT_ONCE):
            yield from pool.map(_picture, cards[start : start + AT_ONCE])
            moved(min(start + AT_ONCE, len(cards)), len(cards))


def _picture(card: Card) -> bytes | str:
    try:
        return thumbnail_of_file(card.path, card.sha256, LONGEST)
    except FileFault as fault:
        return fault.reason
