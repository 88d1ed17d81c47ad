"""S3, Google Cloud Storage and Azure Blob Storage, through obstore: the extra `cloud`.

The only module that imports obstore. What it says of an error may hold a request's address with
its signature, so no word of it is handed on: a code or a number is picked out of it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from clipindex.errors import UsageError
from clipindex.files.addresses import WEB
from clipindex.files.aws import CREDENTIALS_FAIL, aws_settings, keys_after
from clipindex.files.objects import Bucket, Listed
from clipindex.files.sieve import direct, sieve

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore

PIECE = 64 << 10  # bytes of a download that are handed on together, at least
KEYS_AT_ONCE = 1000  # which is what one request lists
RETRIES = 10  # of one request, with growing pauses: a store that asks to slow down is asked again
FIRST_PAUSE, LONGEST_PAUSE = timedelta(milliseconds=200), timedelta(seconds=15)
PATIENCE = timedelta(seconds=45)  # for all of them
SILENCE = timedelta(seconds=60)  # without a byte; then a connection is given up
LONGEST = timedelta(minutes=30)  # for one object

_GONE = "no such file or folder"
_CODES = {  # in an answer -> what a person is told
    "ExpiredToken": "the credentials have expired",
    "TokenRefreshRequired": "the credentials have expired",
    "RequestTimeTooSkewed": "this machine's clock is wrong, so the store refuses the request",
    "SlowDown": "the store asks to slow down",
    "ServerBusy": "the store asks to slow down",
    "InvalidObjectState": "it is archived: restore it first",
    "BlobArchived": "it is archived: restore it first",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
}
_SIGNS = {  # in an error's text, the first one that is in it -> the same
    CREDENTIALS_FAIL: CREDENTIALS_FAIL,
    "Received redirect without LOCATION": "the bucket is in another region: set AWS_REGION",
    "Unable to parse": "the settings of the store are not complete: docs/sources.md",
    "ConnectionRefused": "the store cannot be reached: the connection is refused",
    "dns error": "the store cannot be reached: its name has no address",
    "certificate": "the store's certificate is not valid",
    "TimedOut": "the store did not answer in time",
    "IncompleteBody": "the connection broke off",
    "IncompleteMessage": "the connection broke off",
    "ConnectionReset": "the connection broke off",
    "NoContentRange": "the connection broke off",
}
_SLOW = ("429", "503")


@lru_cache(maxsize=64)
def bucket_of(scheme: str, name: str) -> Bucket:
    """A bucket by its scheme and name. Raises UsageError without the extra, and for settings that
    are not usable."""
    if scheme.encode() in WEB:
        from clipindex.files.web import WebHost  # a bucket needs no HTTP client

        return WebHost(scheme, name)
    place = f"{scheme}://{name}"
    if find_spec("obstore") is None:
        raise UsageError(
            f"{scheme}:// needs a library that is not installed",
            path=place,
            hint="python -m pip install 'clipindex[cloud]'",
        )
    from obstore.exceptions import BaseError

    try:
        return _StoreBucket(scheme, name)
    except (BaseError, ValueError) as error:
        raise UsageError(
            f"the store cannot be used: {os_error(error).strerror}",
            path=place,
            hint="its settings and credentials come from the environment: docs/sources.md",
        ) from None


def _open(scheme: str, name: str, sieve: str | None = None) -> ObjectStore:
    """A bucket; with `sieve` at that address, which stands before it."""
    from obstore.store import AzureStore, GCSStore, S3Store

    pauses = {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": 2}
    retries: Any = {"max_retries": RETRIES, "retry_timeout": PATIENCE, "backoff": pauses}
    client: Any = {"timeout": LONGEST, "read_timeout": SILENCE, "allow_http": True}
    place: Any = {}
    if sieve is not None:
        client = direct(client)
        place = {"base_url" if scheme == "gs" else "endpoint": sieve}
    if scheme == "gs":
        return GCSStore(name, client_options=client, retry_config=retries, **place)
    if scheme == "az":
        return AzureStore(name, client_options=client, retry_config=retries, **place)
    settings: Mapping[str, Any] = aws_settings()
    return S3Store(name, client_options=client, retry_config=retries, **settings)


def _home(scheme: str) -> str:
    """Where Google's or Azure's store is, as obstore knows it."""
    if scheme == "gs":
        return os.environ.get("GOOGLE_BASE_URL") or "https://storage.googleapis.com"
    for name in ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        if os.environ.get(name):
            return os.environ[name]
    return f"https://{os.environ.get('AZURE_STORAGE_ACCOUNT_NAME', '')}.blob.core.windows.net"


class _StoreBucket:
    """A bucket as obstore reads it."""

    def __init__(self, scheme: str, name: str) -> None:
        self._scheme, self._name = scheme, name
        self._store = _open(scheme, name)

    def keys(self, prefix: str, at_once: int = KEYS_AT_ONCE) -> Iterator[Listed]:
        from obstore.exceptions import InvalidPathError

        last = ""
        try:
            for listed in _listing(self._store, prefix, at_once):
                yield listed
                last = listed.key
        except InvalidPathError:  # of one key, for which the page is withheld
            yield from self._exact_keys(prefix, last)

    def marker(self, key: str) -> Listed | None:
        first = next(self._exact_keys(key + "/"), None)
        return first if first is not None and first.key == key + "/" else None

    def _exact_keys(self, prefix: str, start: str = "") -> Iterator[Listed]:
        """The keys behind `start`, also those that are no paths, each to the letter."""
        from obstore.exceptions import InvalidPathError

        if self._scheme == "s3":
            yield from keys_after(self._name, prefix, start)
            return
        with sieve(_home(self._scheme).rstrip("/")) as filtering:
            store = _open(self._scheme, self._name, filtering.url)
            try:
                for listed in _listing(store, prefix, KEYS_AT_ONCE, start):
                    yield from filtering.taken()
                    if listed.key > start:  # Azure begins at the beginning
                        yield listed
            except InvalidPathError as error:
                raise os_error(error) from None
            yield from filtering.taken()

    def holds(self, prefix: str) -> bool:
        return any(True for _ in self.keys(prefix, 1))

    def head(self, key: str) -> Listed:
        import obstore

        with _os_errors():
            return _listed(obstore.head(self._store, key))

    def get(self, key: str) -> _StoreDownload:
        import obstore

        with _os_errors():
            return _StoreDownload(obstore.get(self._store, key))

    def part(self, key: str, tag: str, start: int, stop: int | None = None) -> Iterator[bytes]:
        import obstore

        options: Any = {"range": {"offset": start} if stop is None else (start, stop)}
        if tag:
            options["if_match"] = tag
        with _os_errors():
            result = obstore.get(self._store, key, options=options)
            yield from result.stream(min_chunk_size=PIECE)


class _StoreDownload:
    """An object whose bytes are arriving. A connection that breaks off is opened again for the
    rest, unless the object is another one by then."""

    def __init__(self, result: GetResult) -> None:
        self._result = result
        self.listed = _listed(result.meta)

    def pieces(self) -> Iterator[bytes]:
        with _os_errors():
            yield from self._result.stream(min_chunk_size=PIECE)


def _listing(store: ObjectStore, prefix: str, at_once: int, start: str = "") -> Iterator[Listed]:
    """What obstore lists, behind `start` if the store can do that. Raises OSError, and obstore's
    own InvalidPathError at a page with a key that is no path."""
    import obstore
    from obstore.exceptions import InvalidPathError

    with _os_errors(InvalidPathError):
        for page in obstore.list(store, prefix or None, offset=start or None, chunk_size=at_once):
            yield from map(_listed, page)


def _listed(meta: Any) -> Listed:
    return Listed(
        meta["path"], meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or ""
    )


@contextmanager
def _os_errors(*but: type[Exception]) -> Iterator[None]:
    """Raises an error of obstore, but for some, as the one that a disk would give."""
    from obstore.exceptions import BaseError

    try:
        yield
    except but:
        raise
    except (BaseError, FileNotFoundError, PermissionError) as error:
        raise os_error(error) from None


def os_error(error: Exception) -> OSError:
    """What went wrong, without a word of the library's own."""
    from obstore.exceptions import (
        InvalidPathError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )

    text = str(error)
    code = match[1] if (match := re.search(r"<Code>(\w+)</Code>", text)) else ""
    if reason := _CODES.get(code):
        return OSError(errno.EIO, reason)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, _GONE)
    if isinstance(error, PreconditionError):
        return OSError(errno.EIO, "it changed while it was read")
    if isinstance(error, InvalidPathError):
        return OSError(errno.EINVAL, "a key in it has no path: it has '//', '.', '..' or a control")
    reason = next((told for sign, told in _SIGNS.items() if sign in text), None)
    if reason is not None:
        return OSError(errno.EIO, reason)
    status = match[1] if (match := re.search(r"status code: (\d{3})", text)) else ""
    if status == "404":  # of a listing: no such bucket
        return FileNotFoundError(errno.ENOENT, _GONE)
    denied = isinstance(error, PermissionError | PermissionDeniedError | UnauthenticatedError)
    if denied or status in ("401", "403"):
        return PermissionError(errno.EACCES, "permission denied")
    if status:
        slow = "the store asks to slow down" if status in _SLOW else "the store fails"
        return OSError(errno.EIO, f"{slow} (status {status})")
    return OSError(errno.EIO, "the store cannot be reached, or its answer cannot be read")
