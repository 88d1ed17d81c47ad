"""A contact sheet as HTML: one file, nothing from elsewhere, whatever files are called.

Its style and its script are in the page, and its policy (CSP) allows these two by their hashes and
pictures that are in the page; nothing can be loaded or sent.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from clipindex._version import __version__
from clipindex.cli.links import file_uri
from clipindex.cli.sheet.cards import Card, Section, Sheet
from clipindex.cli.sheet_option import MARK
from clipindex.cli.words import count_of, printable_path
from clipindex.pictures.thumbnails import size_of


@cache
def _part(name: str) -> str:
    return files("clipindex.cli.sheet").joinpath(name).read_text("utf-8")


def _filled(template: str, /, **values: str) -> str:
    """A template with values that are HTML already."""
    return Template(_part(template)).substitute(values)


def head(sheet: Sheet) -> str:
    """All before the pictures."""
    style, script = _part("sheet.css"), _part("sheet.js")
    return _filled(
        "head.html",
        mark=MARK.decode(),
        style=style,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=escape(sheet.title),
        summary=escape(sheet.summary),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in sheet.notes),
    )


def foot(made: str) -> str:
    """All after the pictures. `made`: when, for people."""
    by = escape(f"Made by clipindex {__version__}, {made}")
    return _filled("foot.html", made=by, script=_part("sheet.js"))


def opening(section: Section) -> str:
    """The beginning of a section."""
    heading = f"<h2>{escape(section.heading)}</h2>" if section.heading else ""
    return f'<section>{heading}<ol class="cards">\n'


def closing() -> str:
    """The end of a section."""
    return "</ol></section>\n"


def card(shown: Card, picture: bytes | str) -> str:
    """One picture: its thumbnail, a JPEG, or why there is none."""
    path = printable_path(shown.path)
    folder, name = os.path.split(path)
    badge = f'<span class="badge">{escape(shown.badge)}</span>' if shown.badge else ""
    kind = "card best" if shown.is_best else "card"
    return _filled(
        "card.html",
        kind=f"{kind} weak" if shown.badge == "weak" else kind,
        uri=escape(file_uri(shown.path)),
        path=escape(path),
        folder=escape(folder),
        name=escape(name),
        badge=badge,
        picture=_picture(picture, name),
        facts="".join(f"<li>{escape(fact)}</li>" for fact in shown.facts),
        copies=_copies(shown.copies),
    )


def _picture(picture: bytes | str, name: str) -> str:
    if isinstance(picture, str):
        return f'<span class="missing">No picture: {escape(picture)}</span>'
    width, height = size_of(picture)
    data = base64.b64encode(picture).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(name)}" loading="lazy" decoding="async">'
    )


def _copies(paths: tuple[str, ...]) -> str:
    if not paths:
        return ""
    rows = "".join(f"<li>{escape(path)}</li>" for path in paths)
    count = count_of(len(paths), "more copy", "more copies")
    return f"<details><summary>{count}</summary><ul>{rows}</ul></details>"


def _hash(text: str) -> str:
    """As a policy names a style or script that it allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
