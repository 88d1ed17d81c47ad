"""The fields and pictures of a request, however it carries them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from clipindex.search.terms import Term, TermKind
from clipindex.serve.fetching import fetcher_of
from clipindex.serve.inline_pictures import picture_in
from clipindex.serve.problems import Problem
from clipindex.serve.service import service_of
from clipindex.serve.uploads import read_form
from clipindex.serve.wanted import Fields, fields_of

MOST_FIELDS = 200
MOST_PICTURES = 16
SIGNS = {"image": 1.0, "minus": -1.0}  # fields that carry pictures: added, or subtracted
DATA = "data:"
MULTIPART = "multipart/form-data"

Collected = dict[str, list[str]]


async def read_body(request: Request) -> tuple[Fields, list[Term]]:
    """The fields by name and the pictures of a search. Raises Problem for a body that is neither
    JSON nor a form and for a picture that cannot be had, FileFault for what is not base64."""
    fields: Collected = {}
    for name, value in request.query_params.multi_items():
        fields.setdefault(name, []).append(value)
    pictures: list[Term] = []
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in (MULTIPART, "application/x-www-form-urlencoded"):
            pictures = await _form(request, fields, kind)
        elif kind == "application/json" or not kind:
            pictures = _json(await request.body(), fields)
        else:
            raise Problem(415, f"a body of type {kind[:80]!r} is not read", "send JSON or a form")
    urls = fields.get("url", [])
    if len(pictures) + len(urls) > MOST_PICTURES:
        raise Problem(400, f"more than {MOST_PICTURES} pictures in one request")
    return fields, [*pictures, *await _fetched(request, urls)]


async def _fetched(request: Request, urls: Sequence[str]) -> list[Term]:
    options = service_of(request).options
    fetcher = fetcher_of(options.fetch_from, options.limits.body)
    return [_picture(await fetcher.fetch(url)) for url in urls if url]


async def _form(request: Request, fields: Collected, kind: str) -> list[Term]:
    pictures: list[Term] = []
    if kind == MULTIPART:
        form = await read_form(request, most_files=MOST_PICTURES, most_fields=MOST_FIELDS)
    else:
        form = await request.form(max_fields=MOST_FIELDS)
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields.setdefault(name, []).append(value)
        elif name in SIGNS:
            pictures.append(_picture(await value.read(), SIGNS[name]))
        else:
            raise Problem(400, f"there is no file {name[:40]!r}", "send it as image")
    return pictures


def _json(body: bytes, fields: Collected) -> list[Term]:
    try:
        content: Any = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    pictures: list[Term] = []
    for name, texts in fields_of(content).items():
        encoded = [text for text in texts if name == "image" or _is_data(name, text)]
        pictures += [_picture(picture_in(text), SIGNS[name]) for text in encoded]
        if name != "image":
            others = [text for text in texts if text not in encoded]
            fields.setdefault(name, []).extend(others)
    return pictures


def _is_data(name: str, text: str) -> bool:
    return name in SIGNS and text.startswith(DATA)


def _picture(data: bytes, sign: float = 1.0) -> Term:
    return Term(data, TermKind.IMAGE, sign)
