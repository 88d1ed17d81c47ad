"""S3, Google Cloud Storage and Azure Blob Storage, through obstore: the extra `cloud`.

The only module that imports obstore. What it says of an error may hold a request's address with
its signature, so no word of it is handed on: a code or a number is picked out of it.
"""

from __future__ import annotations

import errno
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
        return _StoreBucket(_open(scheme, name), name if scheme == "s3" else None)
    except (BaseError, ValueError) as error:
        raise UsageError(
            f"the store cannot be used: {os_error(error).strerror}",
            path=place,
            hint="its settings and credentials come from the environment: docs/sources.md",
        ) from None


def _open(scheme: str, name: str) -> ObjectStore:
    from obstore.store import AzureStore, GCSStore, S3Store

    pauses = {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": 2}
    retries: Any = {"max_retries": RETRIES, "retry_timeout": PATIENCE, "backoff": pauses}
    client: Any = {"timeout": LONGEST, "read_timeout": SILENCE, "allow_http": True}
    if scheme == "gs":
        return GCSStore(name, client_options=client, retry_config=retries)
    if scheme == "az":
        return AzureStore(name, client_options=client, retry_config=retries)
    settings: Mapping[str, Any] = aws_settings()
    return S3Store(name, client_options=client, retry_config=retries, **settings)


class _StoreBucket:
    """A bucket as obstore reads it."""

    def __init__(self, store: ObjectStore, s3_name: str | None) -> None:
        self._store = store
        self._s3_name = s3_name  # None: it is none of S3

    def keys(self, prefix: str, at_once: int = KEYS_AT_ONCE) -> Iterator[Listed]:
        import obstore
        from obstore.exceptions import InvalidPathError

        last = ""
        try:
            with _os_errors(InvalidPathError):
                for page in obstore.list(self._store, prefix or None, chunk_size=at_once):
                    for meta in page:
                        yield _listed(meta)
                    last = page[-1]["path"]
        except InvalidPathError as error:  # of one key, for which the page is withheld
            if self._s3_name is None:
                raise os_error(error) from None
            yield from keys_after(self._s3_name, prefix, last)

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


class _StoreDownload:
    """An object whose bytes are arriving. A connection that breaks off is opened again for the
    rest, unless the object is another one by then."""

    def __init__(self, result: GetResult) -> None:
        self._result = result
        self.listed = _listed(result.meta)

    def pieces(self) -> Iterator[bytes]:
        with _os_errors():
            yield from self._result.stream(min_chunk_size=PIECE)


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
    from obstore.exceptions import InvalidPathError, PermissionDeniedError, UnauthenticatedError

    text = str(error)
    code = match[1] if (match := re.search(r"<Code>(\w+)</Code>", text)) else ""
    if reason := _CODES.get(code):
        return OSError(errno.EIO, reason)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, _GONE)
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
