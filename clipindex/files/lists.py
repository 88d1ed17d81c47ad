"""Lists of files, as `find`, PowerShell or an editor write them."""

from __future__ import annotations

import codecs

from clipindex.errors import UsageError


def paths_in_list(data: bytes, *, null: bool) -> list[bytes]:
    """The paths in a list, one a line, or with `null` each ended by a NUL byte.

    A byte order mark is taken off; UTF-16, which only the mark tells, becomes UTF-8. Paths are
    otherwise kept byte for byte, without the carriage returns at the ends of lines.

    Raises UsageError when the list is of the other kind.
    """
    data = _without_mark(data)
    if null:
        if b"\0" not in data and b"\n" in data:
            raise UsageError(
                "the list of files has lines, but no NUL bytes", hint="omit -0 to read lines"
            )
        return [path for path in data.split(b"\0") if path]
    if b"\0" in data:
        raise UsageError(
            "the list of files holds NUL bytes",
            hint="if `find -print0` made it, add -0; if it is UTF-16, save it as UTF-8",
        )
    return [path for line in data.split(b"\n") if (path := line.rstrip(b"\r"))]


def _without_mark(data: bytes) -> bytes:
    if data.startswith(codecs.BOM_UTF8):
        return data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16").encode("utf-8")
        except UnicodeError:
            return data
    return data
