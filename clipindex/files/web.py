"""Pictures at http:// and https:// addresses, each named by itself: a web server has no listing.

A host that a person names in this run is asked, wherever it is. Any other one (a redirect's, or
that of a picture in the index, perhaps from an import) only at a public address: the name is looked
up once, and what was looked up is connected to, through a proxy as well: it is asked for that
address, not for the name. What stands behind the `?` of a signed address goes to the server and
nowhere else.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import httpx

from clipindex.files.addresses import is_named, query_of
from clipindex.files.objects import Listed
from clipindex.files.web_settings import login_for, proxy_for

SECONDS = 60.0  # without an answer or a byte
TRIES = 6  # of one request
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two of them
REDIRECTS = 5
LARGEST = (1 << 30) + 1  # bytes that are taken from a server that does not say how many there are
PORTS = {"http": 80, "https": 443}
HEADERS = {"accept": "image/*,*/*;q=0.5", "accept-encoding": "identity"}
_LATER = (429, 500, 502, 503, 504)


@lru_cache(maxsize=64)
def _client(proxy: str | None = None, certified: str | None = None) -> httpx.Client:
    """One for all hosts that are reached through a proxy, or directly; with `certified` for one
    host, whose certificate has that name although its address is asked for. The library does not
    look at the environment but for certificates: which host may get what is decided here.

    Raises OSError for a proxy that it cannot use."""
    certificates = httpx.create_ssl_context()  # SSL_CERT_FILE, SSL_CERT_DIR
    if certified is not None:
        # Through a tunnel the library compares the certificate with the address, come what may.
        for name in ("wrap_socket", "wrap_bio"):
            wrap = getattr(certificates, name)
            setattr(certificates, name, _under_name(wrap, certified))
    try:
        return httpx.Client(
            trust_env=False, proxy=proxy, verify=certificates, timeout=SECONDS, headers=HEADERS
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        told = "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used"
        raise OSError(errno.EIO, f"{told}: SOCKS needs `pip install socksio`") from None


def _under_name(wrap: Callable[..., Any], certified: str) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        return wrap(*args, **{**options, "server_hostname": certified})

    return wrapped


class WebHost:
    """One host, as a bucket of objects that must be known by their names."""

    def __init__(self, scheme: str, name: str) -> None:
        self._home = f"{scheme}://{name}"

    def keys(self, prefix: str) -> Iterator[Listed]:
        raise OSError(errno.ENOTDIR, f"a web server has no list of its pictures ({prefix or '/'})")

    def holds(self, prefix: str) -> bool:  # noqa: ARG002 - it has no folders
        return False

    def marker(self, key: str) -> None:
        """None: it lists nothing."""

    def head(self, key: str) -> Listed:
        answer = self.ask("HEAD", key)
        if answer.status_code in (405, 501):  # a server that has no HEAD
            answer = self.ask("GET", key)
        answer.close()
        return _listed(key, answer)

    def get(self, key: str) -> _WebDownload:
        return _WebDownload(self, key)

    def part(self, key: str, tag: str, start: int, stop: int | None = None) -> Iterator[bytes]:
        for tries in range(TRIES):
            answer = self.answer_with_part(key, tag, start, stop)
            try:
                for piece in answer.iter_raw():
                    start += len(piece)
                    yield piece
                return
            except httpx.TransportError as error:
                if tries == TRIES - 1:
                    raise _os_error(error) from None
            finally:
                answer.close()

    def answer_with_part(
        self, key: str, tag: str, start: int, stop: int | None = None
    ) -> httpx.Response:
        """An open answer that has a part of an object. Raises OSError."""
        end = "" if stop is None else stop - 1
        answer = self.ask(
            "GET", key, {"range": f"bytes={start}-{end}", **({"if-range": tag} if tag else {})}
        )
        is_same = not tag or answer.headers.get("etag") == tag
        if answer.status_code == 206 and is_same:
            return answer
        answer.close()
        if is_same:
            raise OSError(errno.EIO, "its server sends no parts of a file: download it first")
        raise OSError(errno.EIO, "it changed while it was read")

    def ask(self, method: str, key: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """An open answer that has the object, after redirects and pauses. Raises OSError."""
        pause = FIRST_PAUSE
        for tries in range(TRIES):
            last = tries == TRIES - 1
            try:
                answer = self._followed(method, key, headers or {})
            except httpx.TransportError as error:
                if last:
                    raise _os_error(error) from None
            else:
                if answer.status_code not in _LATER or last:
                    return _checked(answer)
                answer.close()
                pause = max(pause, _wished(answer))
            time.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _followed(self, method: str, key: str, headers: dict[str, str]) -> httpx.Response:
        home = target = httpx.URL(f"{self._home}/{key}{query_of(f'{self._home}/{key}')}")
        for _ in range(REDIRECTS + 1):
            is_home = (target.scheme, target.netloc) == (home.scheme, home.netloc)
            trusted = is_home and is_named(self._home)
            proxy = proxy_for(target.scheme, target.host, _port(target))
            is_tunnel = proxy is not None and target.scheme == "https" and not trusted
            client = _client(proxy, target.host if is_tunnel else None)
            request = _request(client, method, target, headers, must_be_public=not trusted)
            login = login_for(target.scheme, target.host) if trusted else None
            answer = client.send(request, stream=True, auth=login)
            location = answer.headers.get("location")
            if not (answer.is_redirect and location):
                return answer
            answer.close()
            target = _next(target, location)
        raise OSError(errno.EIO, f"it is behind more than {REDIRECTS} redirects")


class _WebDownload:
    """An object whose bytes are arriving. Where the connection breaks off, the rest is asked for,
    if the server says that it is the same object still."""

    def __init__(self, host: WebHost, key: str) -> None:
        self._host, self._key = host, key
        self._answer = host.ask("GET", key)
        self.listed = _listed(key, self._answer)

    def pieces(self) -> Iterator[bytes]:
        arrived = 0
        for tries in range(TRIES):
            try:
                for piece in self._answer.iter_raw():
                    arrived += len(piece)
                    if arrived > LARGEST:
                        raise OSError(errno.EFBIG, "it has no end")
                    yield piece
                break
            except httpx.TransportError as error:
                if tries == TRIES - 1 or not self.listed.tag:
                    raise _os_error(error) from None
            finally:
                self._answer.close()
            self._answer = self._host.answer_with_part(self._key, self.listed.tag, arrived)
        if not self.listed.size:
            self.listed = self.listed._replace(size=arrived)


def _request(
    client: httpx.Client,
    method: str,
    target: httpx.URL,
    headers: dict[str, str],
    *,
    must_be_public: bool,
) -> httpx.Request:
    if not must_be_public:
        return client.build_request(method, target, headers=headers)
    host = target.netloc.decode("ascii")
    return client.build_request(
        method,
        target.copy_with(host=_public_address(target)),
        headers={**headers, "host": host},
        extensions={"sni_hostname": target.host},
    )


def _public_address(target: httpx.URL) -> str:
    """The address of a host that nobody named. Raises OSError for one that is not public."""
    try:
        found = socket.getaddrinfo(target.host, _port(target), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OSError(errno.EIO, "its host has no address that can be looked up here") from None
    address = ipaddress.ip_address(found[0][4][0])
    mapped = getattr(address, "ipv4_mapped", None)
    if not (mapped or address).is_global:
        raise OSError(errno.EIO, "its host is at an address that is not public")
    return str(address)


def _port(target: httpx.URL) -> int:
    return target.port or PORTS[target.scheme]


def _next(target: httpx.URL, location: str) -> httpx.URL:
    try:
        following = target.join(location)
    except httpx.InvalidURL:
        raise OSError(errno.EIO, "it redirects to what is no address") from None
    is_worse = target.scheme == "https" and following.scheme != "https"
    if following.scheme not in PORTS or is_worse or following.userinfo or not following.host:
        raise OSError(errno.EIO, "it redirects to where it is not followed")
    return following


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer. Raises the OSError that its status stands for."""
    status = answer.status_code
    if status in (200, 206, 405, 501):
        return answer
    answer.close()
    if status in (404, 410):
        raise FileNotFoundError(errno.ENOENT, "no such file or folder")
    if status in (401, 403):
        raise PermissionError(errno.EACCES, "permission denied")
    if status == 407:
        raise OSError(errno.EIO, "the proxy asks for a name and a password")
    slow = "the server asks to slow down" if status in (429, 503) else "the server fails"
    raise OSError(errno.EIO, f"{slow} (status {status})")


def _listed(key: str, answer: httpx.Response) -> Listed:
    """Without a time and an ETag nobody can tell whether an object is unchanged: it gets the time
    of now, and is read again."""
    headers = answer.headers
    size = headers.get("content-length", "")
    tag = headers.get("etag", "").removeprefix("W/")
    try:
        written = parsedate_to_datetime(headers.get("last-modified", "")).timestamp()
    except (TypeError, ValueError):
        written = 0.0 if tag else time.time()
    return Listed(key, int(size) if size.isdecimal() else 0, written, tag)


def _wished(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def _os_error(error: httpx.TransportError) -> OSError:
    """What went wrong, without a word of the library's own."""
    if isinstance(error, httpx.TimeoutException):
        return OSError(errno.EIO, "the server did not answer in time")
    if isinstance(error, httpx.ProxyError):
        return OSError(errno.EIO, "the proxy refuses the connection")
    if isinstance(error, httpx.ConnectError):
        return OSError(errno.EIO, "the server cannot be reached")
    return OSError(errno.EIO, "the connection broke off")
