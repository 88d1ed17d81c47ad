"""Pictures on web servers: named one by one, redirects not followed into the house."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import clipindex
from clipindex.errors import UsageError
from clipindex.files import web
from clipindex.ingest.events import FolderFault
from conftest import TINY, ingest, picture_bytes, reconciles, run_clipindex

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
        self.url = ""

    def put(self, path: str, data: bytes, **headers: str) -> str:
        """Store a picture; returns its address."""
        self.answers[path] = [(200, {**TAG, **headers}, data)]
        return self.url + path


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(web, "TRIES", 3)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            site.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            answers = site.answers.get(path) or [(404, {}, b"")]
            status, headers, data = answers.pop(0) if len(answers) > 1 else answers[0]
            start = 0
            if (given := self.headers.get("range")) and self.headers.get("if-range") == '"one"':
                start, status = int(given[6:].partition("-")[0]), 206
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Transfer-Encoding" not in headers:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if self.command == "GET":
                length = site.cut.pop(path, None)
                if "Transfer-Encoding" in headers:
                    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
                self.wfile.write(data[start:] if length is None else data[start : start + length])
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


def test_a_list_of_addresses_is_read(site: Site, index: clipindex.Index) -> None:
    addresses = [site.put(f"/{number}.jpg", picture_bytes(number)) for number in range(40)]
    gone = site.url + "/gone.jpg"
    names = [address.encode() for address in (*addresses, gone)]
    events = list(index.ingest_events([], files=names))
    summary = events[-1].summary
    assert (summary.found, summary.new, summary.exit_code) == (40, 40, 3)
    assert [event.path for event in events if isinstance(event, FolderFault)] == [gone]
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
