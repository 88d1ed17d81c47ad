"""Addresses of pictures that are not in a folder of this machine: `s3://bucket/cats/1.jpg`.

An address is the path of a picture, in bytes as every path. It names its object by the key itself:
nothing in it is percent-encoded. Its first part, `s3://bucket`, is its topmost folder.
"""

from __future__ import annotations

import os
import re

from clipindex.errors import UsageError

TAR = b".tar"

# One slash is enough: `pathlib` makes one of two.
_ADDRESS = re.compile(rb"(s3|gs|az)://?(?!/)(.*)", re.DOTALL | re.IGNORECASE)
_BUCKET = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_address(path: bytes) -> bool:
    """Whether a path names an object in a store, not a file of this machine."""
    return not path.startswith(b"/") and _ADDRESS.match(path) is not None


def tar_in(path: bytes) -> bytes | None:
    """The tar file of this machine that a path names, or leads into; None: it does neither."""
    start = 0
    while (end := path.find(TAR, start)) >= 0:
        start = end + len(TAR)
        if path[start : start + 1] in (b"", b"/") and os.path.isfile(path[:start]):
            return path[:start]
    return None


def parts_of(address: bytes) -> tuple[str, str, str]:
    """Scheme, bucket and key of an address in its canonical form; the key of a bucket is empty.

    >>> parts_of(b"s3://cats/2024/1.jpg")
    ('s3', 'cats', '2024/1.jpg')
    """
    scheme, _, rest = address.partition(b"://")
    bucket, _, key = rest.partition(b"/")
    return scheme.decode(), bucket.decode(), key.decode("utf-8", "surrogateescape")


def canonical(path: bytes) -> bytes:
    """The one way to write an address: two slashes, a scheme in lower case, none at the end.

    >>> canonical(b"S3:/cats/2024/")
    b's3://cats/2024'

    Raises UsageError for what names no object, or holds a password.
    """
    match = _ADDRESS.match(path)
    assert match is not None  # asked before: is_address
    scheme = match[1].lower()
    bucket, _, key = match[2].rstrip(b"/").partition(b"/")
    if b"@" in bucket:
        raise UsageError(
            "an address holds no password: it would be stored with every picture",
            path=f"{scheme.decode()}://...@{shown(bucket.rpartition(b'@')[2])}",
            hint="credentials come from where the store's own programs look for them: "
            "docs/sources.md",
        )
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            "an address names a bucket", path=shown(path), hint="as in s3://bucket/folder"
        )
    if key.endswith(TAR):
        raise UsageError(
            "a tar file in a store is not read",
            path=shown(path),
            hint="download it, and name it here",
        )
    fault = key_fault(key) if key else None
    if fault is not None:
        raise UsageError(fault, path=shown(path), hint="correct the address")
    return scheme + b"://" + bucket + (b"/" + key if key else b"")


_ODD = re.compile(rb"//|^/|/$|(?:^|/)\.\.?(?:/|$)|[\x00-\x1f\x7f]")


def key_fault(key: bytes) -> str | None:
    """Why a key cannot be part of a path; None: it can.

    >>> key_fault(b"cats/./1.jpg")
    "its key has no path: '.' and '..' name no folder"
    """
    odd = _ODD.search(key)
    if odd is None:
        return None
    if b"." in odd[0]:
        return "its key has no path: '.' and '..' name no folder"
    if b"/" in odd[0]:
        return "its key has no path: a folder in it has no name ('//')"
    return "its key has no path: it has a control character"


def shown(path: bytes) -> str:
    """A path for a message."""
    return path.decode("utf-8", "backslashreplace")
