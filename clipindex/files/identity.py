"""Who a file is: paths as bytes, as text, as folders, and the id of its point."""

from __future__ import annotations

import base64
import hashlib
import os
import uuid

from clipindex.errors import UsageError
from clipindex.files.access import file_system_of
from clipindex.files.addresses import canonical, is_address

# clipindex's own namespace for name-based ids (RFC 9562, 5.5): uuid5(NAMESPACE_DNS, "clipindex").
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "clipindex")

LOCAL = "local"  # the source of every point in an embedded store


def point_id(source: str, path: bytes) -> uuid.UUID:
    """The id of a file's point: UUIDv5 over source, NUL and the path's bytes.

    Hashed by hand because `uuid.uuid5` takes only text, and a path need not be text.
    """
    digest = hashlib.sha1(NAMESPACE.bytes + source.encode() + b"\0" + path, usedforsecurity=False)
    return uuid.UUID(bytes=digest.digest()[:16], version=5)


def display_path(path: bytes) -> str:
    r"""The path as text; bytes that are not UTF-8 appear as `\xNN`."""
    return path.decode("utf-8", "backslashreplace")


def escaped(text: str) -> str:
    r"""Text from outside, for a message: everything that cannot be printed as an escape.

    >>> escaped("caf\u00e9\x1b[2J")
    'caf\u00e9\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def exact_path(path: bytes) -> str | None:
    """Base64 of the path's bytes where text cannot hold them, else None."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(path).decode("ascii")
    return None


def path_from_payload(payload: dict[str, object]) -> bytes:
    """The exact path bytes that a payload stands for."""
    exact = payload.get("path_b64")
    if isinstance(exact, str):
        return base64.b64decode(exact)
    return str(payload["path"]).encode("utf-8")


def folders_of(path: bytes) -> list[bytes]:
    """Every folder above a path, nearest first, the root last.

    >>> folders_of(b"/a/b/c.jpg")
    [b'/a/b', b'/a', b'/']
    >>> folders_of(b"s3://cats/2024/1.jpg")
    [b's3://cats/2024', b's3://cats']
    """
    folders = []
    while (parent := os.path.dirname(path)) != path:
        folders.append(parent)
        path = parent
    if not path and folders:  # an address: of `s3://cats` the scheme is no folder
        del folders[-2:]
    return folders


def is_below(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` itself or lies under it (`/ab` does not lie under `/a`)."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def resolve_root(path: str | os.PathLike[str] | bytes) -> bytes:
    """An absolute path with links resolved once; of a file, only its folder's links.

    Raises UsageError for what no file system takes as a path.
    """
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise UsageError(f"not a path: {error}", path=ascii(path)) from None
    if b"\0" in name:
        raise UsageError("a path cannot contain a NUL byte", path=ascii(path))
    return canonical(name) if is_address(name) else file_system_of(name).resolve(name)


def as_written(path: str | os.PathLike[str]) -> bytes:
    """An absolute path with no link resolved: what is meant may be gone. Raises as
    `resolve_root` does for an address that names nothing."""
    name = os.fsencode(path)
    return resolve_root(path) if is_address(name) else os.path.abspath(name)
