"""The fields and pictures of a request, however it carries them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from clipindex.serve.parameters import Fields, fields_of
from clipindex.serve.problems import Problem

MOST_FIELDS = 200
MOST_PICTURES = 16
IMAGE = "image"


async def read_body(request: Request) -> tuple[Fields, list[bytes]]:
    """The fields by name and the pictures of a search. Raises Problem for a body that is neither
    JSON nor a form."""
    fields: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        fields.setdefault(name, []).append(value)
    if request.method != "POST":
        return fields, []
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        pictures = await _form(request, fields)
    elif kind == "application/json" or not kind:
        pictures = _json(await request.body(), fields)
    else:
        raise Problem(415, f"a body of type {kind[:80]!r} is not read", "send JSON or a form")
    if len(pictures) > MOST_PICTURES:
        raise Problem(400, f"more than {MOST_PICTURES} pictures in one request")
    return fields, pictures


async def _form(request: Request, fields: dict[str, list[str]]) -> list[bytes]:
    pictures: list[bytes] = []
    try:
        async with request.form(max_files=MOST_PICTURES, max_fields=MOST_FIELDS) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    _only_image(name)
                    pictures.append(await value.read())
                else:
                    fields.setdefault(name, []).append(value)
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from None
    return pictures


def _only_image(name: str) -> None:
    if name != IMAGE:
        raise Problem(400, f"there is no file {name[:40]!r}", "send a picture as image")


def _json(body: bytes, fields: dict[str, list[str]]) -> list[bytes]:
    try:
        content = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    images: list[str] = []
    if isinstance(content, Mapping):
        images = fields_of({IMAGE: content.get(IMAGE)})[IMAGE]
        content = {name: value for name, value in content.items() if name != IMAGE}
    for name, values in fields_of(content).items():
        fields.setdefault(name, []).extend(values)
    return [decoded_picture(text) for text in images]


def decoded_picture(text: str) -> bytes:
    """The bytes of a data URL, or of base64 alone. Raises Problem."""
    head, comma, tail = text.partition(",")
    encoded = tail if comma and head.startswith("data:") and head.endswith(";base64") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(
            400, "a picture is neither base64 nor a data URL", "data:image/jpeg;base64,..."
        ) from None
