"""POST /index and GET /jobs/ID: pictures that are to be indexed."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clipindex.files.housekeeping import is_housekeeping
from clipindex.files.sidecars import is_sidecar
from clipindex.search.indexed import IndexedPicture
from clipindex.serve.access import Access, access_of
from clipindex.serve.indexing.accepting import ID, Accepting, Wish
from clipindex.serve.indexing.jobs import NAME
from clipindex.serve.indexing.parts import part_of
from clipindex.serve.inline_pictures import picture_in
from clipindex.serve.pictures_json import indexed_json
from clipindex.serve.problems import Problem, check_parameters
from clipindex.serve.service import Service, service_of
from clipindex.serve.uploads import read_form
from clipindex.stores.payload import check_key, parse_tag, tag_fields

FIELDS = frozenset({"image", "path", "id", "tag", "tags", "replace"})
MOST_TAGS = 100
LONGEST_TAG = 1000  # characters of a value
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}

Values = dict[str, list[Any]]


def routes() -> list[Route]:
    """Pictures that come in, and what became of them."""
    return [
        Route("/index", index, methods=["POST"]),
        Route("/jobs/{id}", job, methods=["GET"]),
    ]


async def index(request: Request) -> Response:
    """Have a picture indexed: 202 and a job, or 200 and the picture that has these bytes."""
    access, service = access_of(request), service_of(request)
    accepting = _accepting(service)
    if not access.may_write:
        raise Problem(403, "this token may only read")
    wish = wish_from(await _values(request))
    outcome = await service.handle_picture(accepting.accept, wish, access)
    if isinstance(outcome, IndexedPicture):
        return JSONResponse({"existing": indexed_json(outcome)})
    where = f"/jobs/{outcome.id}"
    return JSONResponse(outcome.shown(), 202, {"location": where})


async def job(request: Request) -> Response:
    """Where a job stands. Raises Problem 404, also for one of another part of the index."""
    service, name = service_of(request), request.path_params["id"]
    known = None if service.inbox is None else await service.search(service.inbox.job, name)
    if known is None or not _may_see(access_of(request), known.part):
        raise Problem(404, "no job has this id")
    return JSONResponse(known.shown())


def _may_see(access: Access, part: str) -> bool:
    return not access.scope or part_of(access.scope) == part


def _accepting(service: Service) -> Accepting:
    if service.accepting is None:
        raise Problem(
            403,
            "this service only reads",
            "start it with --uploads FOLDER to have it index pictures",
        )
    return service.accepting


async def _values(request: Request) -> Values:
    """The fields of a form or the members of a JSON object. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        values: Values = {}
        form = await read_form(request, most_files=1, most_fields=MOST_TAGS + 10)
        for name, value in form.multi_items():
            one = await value.read() if isinstance(value, UploadFile) else value
            values.setdefault(name, []).append(one)
        return values
    if kind != "application/json":
        raise Problem(415, f"a body of type {kind[:80]!r} is not read", "send JSON or a form")
    try:
        content: Any = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(content, dict):
        raise Problem(400, "the body is not a JSON object")
    members = {name: value for name, value in content.items() if value is not None}
    return {
        name: value if isinstance(value, list) and name == "tag" else [value]
        for name, value in members.items()
    }


def wish_from(values: Values) -> Wish:
    """What is to be indexed. Raises Problem and UsageError, FileFault for what is no base64."""
    check_parameters(values, FIELDS)
    image, path = _only(values, "image"), _text(values, "path")
    if (image is None) == (path is None):
        raise Problem(400, "send a picture as image, or name a file as path")
    data = picture_in(image) if isinstance(image, str) else image
    if not isinstance(data, bytes | None):
        raise Problem(400, "image is a file, base64 or a data URL")
    name = _text(values, "id")
    if name is not None and (data is None or not NAME.fullmatch(name) or _is_left_out(name)):
        raise Problem(
            400,
            "id names a picture that is sent, in up to 120 letters, digits, dots, '-' and '_'",
            "it begins with a letter or a digit, and ends as a picture's name may: not in a dot, "
            ".xmp or .part",
        )
    return Wish(data=data, path=path, name=name, tags=_tags(values), replaces=_replaces(values))


def _is_left_out(name: str) -> bool:
    """Whether `reindex` would look for no picture in a file of this name."""
    raw = name.encode()
    return is_sidecar(raw) or is_housekeeping(raw, is_folder=False, folders=frozenset())


def _only(values: Values, name: str) -> Any:
    several = values.get(name, [])
    if len(several) > 1:
        raise Problem(400, f"{name} is given twice")
    return several[0] if several else None


def _text(values: Values, name: str) -> str | None:
    value = _only(values, name)
    if value is not None and not isinstance(value, str):
        raise Problem(400, f"{name} is a text")
    return value


def _replaces(values: Values) -> bool:
    value = _only(values, "replace")
    replaces = TRUTH.get(str(value).lower()) if isinstance(value, bool | str) else value is not None
    if replaces is None or not isinstance(value, bool | str | None):
        raise Problem(400, "replace is true or false")
    return replaces


def _tags(values: Values) -> dict[str, str]:
    """Each `tag` is KEY=VALUE; `tags`, in JSON, is an object."""
    pairs = [parse_tag(text) for text in values.get("tag", ()) if _is_text(text)]
    members = _only(values, "tags")
    if not isinstance(members, dict | None):
        raise Problem(400, "tags is an object of keys and texts")
    pairs += [(key, text) for key, text in (members or {}).items() if _is_text(text)]
    tags: dict[str, str] = {}
    for key, text in pairs:
        check_key(key)
        if key == ID:
            raise Problem(400, f"the tag '{ID}' holds the id of a picture", "send it as id")
        if len(text) > LONGEST_TAG or "\0" in text:
            raise Problem(400, f"the tag '{key[:40]}' is too long, or contains a NUL character")
        if tags.setdefault(key, text) != text:
            raise Problem(400, f"the tag '{key[:40]}' is given twice")
    if len(tags) > MOST_TAGS:
        raise Problem(400, f"more than {MOST_TAGS} tags")
    tag_fields(tags)
    return tags


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        raise Problem(400, "a tag is a text")
    return True
