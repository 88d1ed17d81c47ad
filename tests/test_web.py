"""Pictures on web servers: named one by one, redirects not followed into the house."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import clipindex
from clipindex.errors import UsageError
from clipindex.files import walk, web, web_settings
from clipindex.ingest.events import FolderFault, Scanning
from conftest import TINY, ingest, picture_bytes, reconciles, run_clipindex
from s3_double import asked_part

Answer = tuple[int, dict[str, str], bytes]
TAG = {"ETag": '"one"', "Last-Modified": "Sat, 28 Nov 2026 08:00:00 GMT"}
SIGNED = "X-Amz-Signature=0123456789abcdef&X-Amz-Date=20261128T080000Z"


class Site:
    """What a server answers to each path; requests are noted. `cut`: paths whose first answer
    ends after so many bytes."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.cut: dict[str, int] = {}
        self.logins: set[str | None] = set()  # the values of Authorization
        self.url = ""

    def put(self, path: str, data: bytes, **headers: str) -> str:
        """Store a picture; returns its address."""
        self.answers[path] = [(200, {**TAG, **headers}, data)]
        return self.url + path


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    site = Site()
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(web, "TRIES", 3)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            site.requests.append(f"{self.command} {self.path}")
            site.logins.add(self.headers.get("authorization"))
            path = self.path.partition("?")[0]
            answers = site.answers.get(path) or [(404, {}, b"")]
            status, headers, data = answers.pop(0) if len(answers) > 1 else answers[0]
            start, stop = 0, len(data)
            if (given := self.headers.get("range")) and self.headers.get("if-range") == '"one"':
                (start, stop), status = asked_part(given, stop), 206
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Transfer-Encoding" not in headers:
                self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            if self.command == "GET":
                length = site.cut.pop(path, None)
                if "Transfer-Encoding" in headers:
                    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
                    stop = len(data)
                self.wfile.write(data[start:stop][:length])
                self.close_connection = length is not None

        do_HEAD = do_GET  # noqa: N815 - the base class's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()
    web._client.cache_clear()
    web_settings._netrc.cache_clear()


def test_a_picture_at_an_address_is_indexed_and_found_by_it(
    site: Site, index: clipindex.Index
) -> None:
    address = site.put("/cats/a%20cat.jpg", picture_bytes(1))
    run = ingest(index, address)
    assert run.files[address].status.value == "new"
    assert [request for request in site.requests if request.startswith("GET")] == [
        "GET /cats/a%20cat.jpg"
    ]
    (hit,) = index.query(address)
    assert (hit.path, round(hit.score, 4)) == (address, 1.0)
    site.requests.clear()
    assert ingest(index, address).summary.unchanged == 1
    assert set(site.requests) == {"HEAD /cats/a%20cat.jpg"}


def test_a_list_of_addresses_is_read(
    site: Site, index: clipindex.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "PROGRESS_EVERY", 10)
    addresses = [site.put(f"/{number}.jpg", picture_bytes(number)) for number in range(40)]
    gone = site.url + "/gone.jpg"
    names = [address.encode() for address in (*addresses, gone)]
    events = list(index.ingest_events([], files=names))
    summary = events[-1].summary
    assert (summary.found, summary.new, summary.exit_code) == (40, 40, 3)
    assert [event.path for event in events if isinstance(event, FolderFault)] == [gone]
    assert [event.found for event in events if isinstance(event, Scanning)] == [10, 20, 30, 40]
    again = list(index.ingest_events([], files=names[:-1]))[-1].summary
    assert (again.unchanged, again.exit_code) == (40, 0)


def test_a_signature_goes_to_the_server_and_nowhere_else(site: Site, tmp_path: Path) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    site.answers["/2.jpg"] = [(403, {}, b"")]
    names = tmp_path / "names.txt"
    names.write_text(f"{address}?{SIGNED}\n{site.url}/2.jpg?{SIGNED}\n")
    store = tmp_path / "store"
    options = ("--store", store, "--model", TINY, "--json", "--verbose", "--log-file")
    done = run_clipindex("ingest", "--files-from", names, *options, tmp_path / "log")
    assert done.code == 3
    assert f"GET /1.jpg?{SIGNED}" in site.requests
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path != names]
    assert not any(b"0123456789abcdef" in path.read_bytes() for path in kept)
    assert "0123456789abcdef" not in done.out + done.err
    assert f'"path": "{address}"' in done.out


BAD = {
    "https://ann:hunter2@example.org/1.jpg": "holds no password",
    "https://example.org/photo?id=hunter2": "with a '?'",
    "https://example.org/photo.jpg?token=hunter2": "with a '?'",
    "https://example.org": "names a picture",
    "https://exa mple.org/1.jpg": "names a picture",
}


@pytest.mark.parametrize("address", BAD)
def test_an_address_that_may_hold_a_secret_is_refused_without_saying_it(
    index: clipindex.Index, address: str
) -> None:
    with pytest.raises(UsageError, match=BAD[address].replace("?", r"\?")) as raised:
        ingest(index, address)
    assert "hunter2" not in f"{raised.value} {raised.value.path} {raised.value.hint}"


TROUBLES = {
    "denied": (403, "permission denied", 3),
    "failing": (500, "could not be read: the server fails (status 500)", 3),
    "slow": (503, "could not be read: the server asks to slow down (status 503)", 3),
    "gone": (404, "deleted before it was read", 0),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_happens_between_the_look_and_the_download_is_accounted_for(
    site: Site, index: clipindex.Index, name: str
) -> None:
    status, reason, code = TROUBLES[name]
    address = site.put("/1.jpg", picture_bytes(1))
    site.answers["/1.jpg"] = [*site.answers["/1.jpg"] * 3, (status, {}, b"")]  # after three HEADs
    run = ingest(index, address)
    assert (run.files[address].reason, run.summary.exit_code) == (reason, code)
    assert reconciles(run.summary)


def test_a_server_that_is_slow_for_a_while_is_asked_again(
    site: Site, index: clipindex.Index
) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    good = site.answers["/1.jpg"][0]
    site.answers["/1.jpg"] = [(503, {"Retry-After": "0"}, b""), (429, {}, b""), good]
    assert ingest(index, address).summary.new == 1


def test_a_download_that_breaks_off_goes_on_where_it_was(
    site: Site, index: clipindex.Index
) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    site.cut["/1.jpg"] = 1000
    run = ingest(index, address)
    assert (run.summary.new, run.summary.exit_code) == (1, 0)


def test_a_picture_that_is_another_one_after_a_break_is_read_in_the_next_run(
    site: Site, index: clipindex.Index
) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    good = site.answers["/1.jpg"][0]
    other = (200, {**TAG, "ETag": '"two"'}, picture_bytes(2))
    site.answers["/1.jpg"] = [good, good, good, good, other]
    site.cut["/1.jpg"] = 1000
    run = ingest(index, address)
    assert run.files[address].reason == "could not be read: it changed while it was read"
    assert ingest(index, address).summary.new == 1


def test_a_picture_without_a_length_or_a_date_is_read_each_time(
    site: Site, index: clipindex.Index
) -> None:
    address = site.put("/1.jpg", picture_bytes(1))
    site.answers["/1.jpg"] = [(200, {"Transfer-Encoding": "chunked"}, picture_bytes(1))]
    assert ingest(index, address).summary.new == 1
    site.requests.clear()
    assert ingest(index, address).summary.unchanged == 1
    assert "GET /1.jpg" in site.requests


def test_a_redirect_on_the_same_host_is_followed(site: Site, index: clipindex.Index) -> None:
    site.put("/real.jpg", picture_bytes(1))
    site.answers["/1.jpg"] = [(302, {"Location": "/real.jpg"}, b"")]
    run = ingest(index, site.url + "/1.jpg")
    assert run.files[site.url + "/1.jpg"].status.value == "new"


REDIRECTS = {
    "http://127.0.0.1:1/x.jpg": "not public",
    "http://localhost:1/x.jpg": "not public",
    "http://[::1]:1/x.jpg": "not public",
    "http://[::ffff:127.0.0.1]:1/x.jpg": "not public",
    "http://169.254.169.254/latest/meta-data": "not public",
    "http://10.0.0.1/x.jpg": "not public",
    "file:///etc/passwd": "not followed",
    "http://ann:pass@127.0.0.1/x.jpg": "not followed",
    "/1.jpg": "more than 5 redirects",
}


@pytest.mark.parametrize("target", REDIRECTS)
def test_a_redirect_into_the_house_is_not_followed(
    site: Site, index: clipindex.Index, target: str
) -> None:
    site.answers["/1.jpg"] = [(302, {"Location": target}, b"")]
    run = ingest(index, site.url + "/1.jpg")
    (fault,) = [event for event in run.events if isinstance(event, FolderFault)]
    assert REDIRECTS[target] in fault.reason
    assert run.summary.exit_code == 3


PUBLIC = "93.184.216.34"


@pytest.fixture
def proxy(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The server as a proxy: it is asked for whole addresses."""
    monkeypatch.setenv("HTTP_PROXY", site.url.replace("//", "//ann:hunter2@"))
    return site


def test_a_proxy_of_the_environment_is_asked(proxy: Site, index: clipindex.Index) -> None:
    """It looks up the names of hosts that a person names: this machine may not be able to."""
    address = "http://photos.example/1.jpg"
    proxy.put(address, picture_bytes(1))
    run = ingest(index, address)
    assert (run.summary.new, run.summary.exit_code) == (1, 0)
    assert set(proxy.requests) == {f"HEAD {address}", f"GET {address}"}
    assert "hunter2" not in repr(run.events)


REDIRECTED = {  # host -> its address as it is looked up here
    "elsewhere.example": PUBLIC,
    "inside.example": "10.0.0.1",
}


@pytest.mark.parametrize("host", REDIRECTED)
def test_through_a_proxy_a_host_that_nobody_named_is_asked_at_its_public_address_only(
    proxy: Site, index: clipindex.Index, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def look_up(name: str, *args: Any, **options: Any) -> list[Any]:
        return real(REDIRECTED.get(name, name), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    address = "http://photos.example/1.jpg"
    proxy.answers[address] = [(302, {"Location": f"http://{host}/2.jpg"}, b"")]
    proxy.put(f"http://{PUBLIC}/2.jpg", picture_bytes(1))
    run = ingest(index, address)
    asked = {request.partition(" ")[2] for request in proxy.requests}
    if REDIRECTED[host] == PUBLIC:
        assert run.summary.new == 1
        assert asked == {address, f"http://{PUBLIC}/2.jpg"}
    else:
        assert "not public" in "".join(e.reason for e in run.events if isinstance(e, FolderFault))
        assert asked == {address}


class Tunnels(BaseHTTPRequestHandler):
    """A proxy that leads every CONNECT to one server of this machine."""

    asked: list[str]
    target: int

    def log_message(self, *_args: object) -> None:
        """Nothing."""

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            back = threading.Thread(target=copied, args=(server, self.connection))
            back.start()
            copied(self.connection, server)
            back.join()


def copied(source: socket.socket, target: socket.socket) -> None:
    """All bytes of a connection, to its end."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server on this machine; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("certified", ["elsewhere.example", "another.example"])
def test_through_a_proxy_an_https_host_is_asked_at_its_address_and_known_by_its_name(
    site: Site,
    index: clipindex.Index,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certified: str,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ("-subj", f"/CN={certified}", "-addext", f"subjectAltName=DNS:{certified}")
    files = ("-keyout", key, "-out", certificate)
    subprocess.run([*make.split(), *subject, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Picture(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(picture_bytes(1))))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(picture_bytes(1))

        do_HEAD = do_GET  # noqa: N815 - the base class's name

    real, looked_up = socket.getaddrinfo, {"elsewhere.example": PUBLIC}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *a, **o: real(looked_up.get(name, name), *a, **o)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    site.answers["/1.jpg"] = [(302, {"Location": "https://elsewhere.example/2.jpg"}, b"")]
    with serving(Picture, context) as target:
        tunnels = type("Proxy", (Tunnels,), {"asked": [], "target": target})
        with serving(tunnels) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            run = ingest(index, site.url + "/1.jpg")
            web._client.cache_clear()
    assert run.summary.new == (certified == "elsewhere.example")
    assert set(tunnels.asked) == {f"{PUBLIC}:443"}


DIRECT = {  # NO_PROXY -> a host that it excludes, one that it does not
    "": ("127.0.0.1", "photos.example"),
    "localhost": ("localhost", "photos.example"),
    "photos.example": ("photos.example", "otherphotos.example"),
    ".example": ("photos.example", "photos.example.org"),
    "a.org, 10.0.0.0/8": ("10.1.2.3", "11.1.2.3"),
    "*": ("photos.example", ""),
}


@pytest.mark.parametrize("excluded", DIRECT)
def test_no_proxy_excludes_hosts_domains_and_networks(
    excluded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", excluded)
    direct, by_proxy = DIRECT[excluded]
    assert web_settings.proxy_for("https", direct, 443) is None
    if by_proxy:
        assert web_settings.proxy_for("https", by_proxy, 443) == "http://proxy.example:3128"
        assert web_settings.proxy_for("http", by_proxy, 80) is None


def test_a_login_of_netrc_goes_to_its_own_host_and_nowhere_else(
    site: Site, index: clipindex.Index, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password hunter2\ndefault login a password b\n")
    run = ingest(index, site.put("/1.jpg", picture_bytes(1)))
    assert run.summary.new == 1
    assert site.logins == {"Basic " + base64.b64encode(b"ann:hunter2").decode()}
    assert "hunter2" not in repr(run.events)
    assert web_settings.login_for("https", "photos.example") is None  # `default` is for all hosts


def test_a_login_of_netrc_is_not_sent_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine photos.example login ann password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    web_settings._netrc.cache_clear()
    assert web_settings.login_for("https", "photos.example") == ("ann", "hunter2")
    assert web_settings.login_for("http", "photos.example") is None
    web_settings._netrc.cache_clear()
