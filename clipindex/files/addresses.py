"""Addresses of pictures that are not in a folder of this machine: `s3://bucket/cats/1.jpg`.

An address is the path of a picture, in bytes as every path. It names its object by the key itself:
nothing in it is percent-encoded. Its first part, `s3://bucket`, is its topmost folder.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from clipindex.errors import UsageError

TAR = b".tar"
UNPACK = "unpack it, or make a tar file of it that is not compressed"
_COMPRESSED_TAR = re.compile(rb"\.(?:tar\.(?:gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)

WEB = (b"http", b"https")
PORTS = {b"http": b":80", b"https": b":443"}

# One slash is enough: `pathlib` makes one of two.
_ADDRESS = re.compile(rb"(s3|gs|az|https?)://?(?!/)(.*)", re.DOTALL | re.IGNORECASE)
_BUCKET = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")

# Names of parameters by which stores and content networks sign an address.
_SIGNATURE = re.compile(
    r"(?:x-(?:amz|goog)-.*|signature|expires|key-pair-id|policy|awsaccesskeyid|googleaccessid"
    r"|s[ertvip]|sig|spr|sk(?:oid|tid|t|e|s|v)|hdnea|hdnts)",
    re.IGNORECASE,
)
_named: set[str] = set()
_uses: Counter[str] = Counter()  # of signatures, by `knowing`
_using = Lock()
_signatures: dict[str, str] = {}  # address -> what stands behind its `?`, while the program runs


def is_address(path: bytes) -> bool:
    """Whether a path names an object in a store, not a file of this machine."""
    return not path.startswith(b"/") and _ADDRESS.match(path) is not None


def tars_above(path: bytes) -> Iterator[bytes]:
    """Every part of a path that is called like a tar file: itself, or a folder above it.

    >>> list(tars_above(b"/a.tar/b.tar.gz/c.tar"))
    [b'/a.tar', b'/a.tar/b.tar.gz/c.tar']
    """
    start = 0
    while (end := path.find(TAR, start)) >= 0:
        start = end + len(TAR)
        if path[start : start + 1] in (b"", b"/"):
            yield path[:start]


def tar_in(path: bytes) -> bytes | None:
    """The tar file of this machine that a path names, or leads into; None: it does neither."""
    return next((tar for tar in tars_above(path) if os.path.isfile(tar)), None)


def is_compressed_tar(path: bytes) -> bool:
    """Whether a file is called like a compressed tar file."""
    return _COMPRESSED_TAR.search(path) is not None


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
    is_web = scheme in WEB
    rest, _, query = match[2].partition(b"#")[0].partition(b"?") if is_web else (match[2], b"", b"")
    bucket, _, key = rest.rstrip(b"/").partition(b"/")
    if b"@" in bucket:
        raise UsageError(
            "an address holds no password: it would be stored with every picture",
            path=f"{scheme.decode()}://...@{shown(bucket.rpartition(b'@')[2])}",
            hint="credentials come from where the store's own programs look for them: "
            "docs/sources.md",
        )
    if is_web:
        bucket = bucket.lower().removesuffix(PORTS[scheme])
    address = scheme + b"://" + bucket + (b"/" + key if key else b"")
    if not (_HOST if is_web else _BUCKET).fullmatch(bucket) or (is_web and not key):
        raise UsageError(
            "an address names a picture" if is_web else "an address names a bucket",
            path=shown(address),
            hint="as in https://example.org/cats/1.jpg" if is_web else "as in s3://bucket/folder",
        )
    fault = key_fault(key) if key else None
    if fault is not None:
        raise UsageError(fault, path=shown(address), hint="correct the address")
    if query:
        _keep_signature(shown(address), shown(query))
    return address


def _keep_signature(address: str, query: str) -> None:
    """Keep a signature in memory, for the requests. Raises UsageError for what is none: it may
    tell one picture from another, or be a password; stored, the one would be lost or the other
    told."""
    for part in query.split("&"):
        if not _SIGNATURE.fullmatch(part.partition("=")[0]):
            raise UsageError(
                "an address with a '?' names no picture of its own",
                path=address,
                hint="only signatures of object stores may stand there; they are left out of what "
                "is stored",
            )
    _signatures[address] = "?" + query


def name_host(address: bytes) -> None:
    """Note that a person named this address: its host may be in the house."""
    if is_address(address):
        scheme, host, _ = parts_of(address)
        _named.add(f"{scheme}://{host}")


def is_named(home: str) -> bool:
    """Whether a person named a picture of this host (`https://example.org`) in this run."""
    return home in _named


@dataclass(frozen=True, slots=True)
class Given:
    """What a person gave together with addresses, and no path holds: the hosts that were named
    (`https://example.org`), and signatures by address. Another process needs it to read them."""

    hosts: frozenset[str] = frozenset()
    signatures: Mapping[str, str] = field(default_factory=dict)


NOTHING_GIVEN = Given()


def given_with(paths: Iterable[bytes]) -> Given:
    """What was given with the addresses among some paths."""
    if not _named:
        return NOTHING_GIVEN
    objects = {
        shown(one) for path in paths if is_address(path) for one in (path, *tars_above(path))
    }
    homes = {"/".join(address.split("/", 3)[:3]) for address in objects}
    signed = {address: _signatures[address] for address in objects if address in _signatures}
    return Given(frozenset(homes & _named), signed)


@contextmanager
def knowing(given: Given) -> Iterator[None]:
    """As if a person had named these addresses in this process. Signatures are forgotten after
    the last use of each: there may be millions of them."""
    with _using:
        _named.update(given.hosts)
        _signatures.update(given.signatures)
        _uses.update(given.signatures.keys())
    try:
        yield
    finally:
        with _using:
            for address in given.signatures:
                _uses[address] -= 1
                if not _uses[address]:
                    del _uses[address], _signatures[address]


def query_of(address: str) -> str:
    """What a request for an address has to end with: a `?` and a signature, or nothing."""
    return _signatures.get(address, "")


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
    if odd[0] == b"/" and odd.end() == len(key):
        return "its key has no path: it ends with '/'"
    if b"/" in odd[0]:
        return "its key has no path: a folder in it has no name ('//')"
    return "its key has no path: it has a control character"


def shown(path: bytes) -> str:
    """A path for a message."""
    return path.decode("utf-8", "backslashreplace")
