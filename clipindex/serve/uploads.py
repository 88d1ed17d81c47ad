"""Forms, read into memory: a service whose disk is read-only has no place for temporary files."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from clipindex.serve.problems import Problem


class _InMemory(MultiPartParser):
    spool_max_size = max_file_size = 1 << 62  # bytes; the name before starlette 0.41 is the second


async def read_form(request: Request, *, most_files: int, most_fields: int) -> FormData:
    """The fields and files of a multipart form. Raises Problem for any other body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(400, "the body is not a multipart form")
    parser = _InMemory(
        request.headers, _whole(request), max_files=most_files, max_fields=most_fields
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from None


async def _whole(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        if chunk:
            yield chunk
