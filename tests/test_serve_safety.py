"""Who is answered by `clipindex serve`, what may be seen, and what an attacker gets."""

from __future__ import annotations

import hashlib
import io
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx
from PIL import Image

import clipindex
from clipindex.cli.app import app
from clipindex.errors import UsageError
from clipindex.serve.guard.origins import is_loopback, origins_of
from clipindex.serve.guard.tokens import read_tokens
from clipindex.serve.options import Limits
from clipindex.serve.problems import Problem
from conftest import TINY, make_pictures, picture_bytes
from serving import Caller, calling, listening

pytestmark = pytest.mark.usefixtures("one_load")

ACME, ALL = "acme-acme-acme-acme", "all-all-all-all-all"
TOKENS = f"""
[[token]]
name = "acme"
value = "{ACME}"
where = ["client=acme"]

[[token]]
name = "all"
sha256 = "{hashlib.sha256(ALL.encode()).hexdigest()}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with forty pictures, of which ten are one client's."""
    folder = tmp_path_factory.mktemp("safety")
    paths = make_pictures(folder / "pictures", 40)
    index = clipindex.Index(folder / "store", model=str(TINY))
    index.ingest(folder / "pictures")
    index.tag({"client": "acme", "owner": "ann"}, paths[:10])
    index.tag({"client": "globex"}, paths[10:])
    return folder


@pytest.fixture
def index(folder: Path) -> clipindex.Index:
    return clipindex.Index(folder / "store", model=str(TINY))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS)
    return file


@pytest.fixture(scope="module")
def caller(folder: Path) -> Iterator[Caller]:
    with calling(clipindex.Index(folder / "store", model=str(TINY))) as caller:
        yield caller


@pytest.fixture
def guarded(index: clipindex.Index, tokens: Path) -> Iterator[Caller]:
    with calling(index, tokens=read_tokens(tokens, None)) as caller:
        yield caller


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def query(**more: Any) -> dict[str, Any]:
    return {"q": "a cat", "limit": 100, **more}


# --- tokens ------------------------------------------------------------------------------------


def test_without_a_token_nothing_of_the_index_is_shown(guarded: Caller) -> None:
    for path in ("/search?q=cat", "/facets", "/points/x", "/original/x"):
        for headers in ({}, bearer("wrong-wrong-wrong-wrong"), bearer(""), {"authorization": ALL}):
            answer = guarded.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


def test_the_page_and_the_signs_of_life_need_no_token(guarded: Caller) -> None:
    assert guarded.get("/").status_code == 200
    assert guarded.get("/healthz").status_code == 200


def test_a_token_may_see_a_part_alone(guarded: Caller) -> None:
    names = {f"{number:03d}.jpg" for number in range(10)}
    own, every = bearer(ACME), bearer(ALL)
    results = guarded.get("/search", params=query(), headers=own).json()["results"]
    assert {result["name"] for result in results} == names
    everything = guarded.get("/search", params=query(), headers=every).json()["results"]
    assert len(everything) == 40
    others = [result["id"] for result in everything if result["name"] not in names]
    for foreign in (others[0], others[-1]):
        assert guarded.get(f"/points/{foreign}", headers=own).status_code == 404
        assert guarded.get(f"/original/{foreign}", headers=own).status_code == 404
        assert guarded.get("/search", params={"like": foreign}, headers=own).status_code == 400
        assert guarded.get(f"/points/{foreign}", headers=every).status_code == 200


def test_no_option_widens_what_a_token_may_see(guarded: Caller) -> None:
    options: list[dict[str, Any]] = [
        {"where": "client=globex"},
        {"where": ["client=acme", "client=globex"]},
        {"where_not": "client=acme"},
        {"copies": "true"},
        {"group_by": "client"},
        {"sort": "path", "offset": 5},
        {"camera": "canon"},
        {"after": "2020"},
    ]
    for more in options:
        answer = guarded.get("/search", params=query(**more), headers=bearer(ACME))
        assert "globex" not in answer.text.replace("client=globex", "")  # as it was asked
        for result in answer.json().get("results", ()):
            assert result["tags"]["client"] == "acme"


def test_counts_and_names_are_of_what_a_token_may_see(guarded: Caller) -> None:
    facets = guarded.get("/facets", headers=bearer(ACME)).json()
    assert facets["points"] == 10
    assert facets["tags"] == {"client": [["acme", 10]], "owner": [["ann", 10]]}
    notes = guarded.get("/search", params=query(taken="2020"), headers=bearer(ACME)).json()["notes"]
    assert notes == ["10 pictures without a date are left out"]
    assert guarded.get("/facets", headers=bearer(ALL)).json()["points"] == 40


def test_a_copy_that_another_may_see_is_not_named(tmp_path: Path, tokens: Path) -> None:
    (first,) = make_pictures(tmp_path / "a", 1)
    second = tmp_path / "b" / "secret.jpg"
    second.parent.mkdir()
    second.write_bytes(first.read_bytes())
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest([tmp_path / "a", tmp_path / "b"])
    index.tag({"client": "acme"}, [first])
    index.tag({"client": "globex"}, [second])
    with calling(index, tokens=read_tokens(tokens, None)) as caller:
        answer = caller.get("/search", params=query(), headers=bearer(ACME))
        (result,) = answer.json()["results"]
        assert result["paths"] == [str(first)]
        point = caller.get(f"/points/{result['id']}", headers=bearer(ACME))
        assert "secret" not in answer.text + point.text


def test_a_session_stands_for_a_token_where_a_browser_sends_no_header(guarded: Caller) -> None:
    assert guarded.post("/session").status_code == 401
    begun = guarded.post("/session", headers=bearer(ACME))
    assert begun.status_code == 204
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ACME not in cookie
    sent = {"cookie": cookie.partition(";")[0]}
    (first, *_) = guarded.get("/search", params=query(), headers=sent).json()["results"]
    assert guarded.get(f"/original/{first['id']}", headers=sent).status_code == 200
    assert guarded.post("/search", json={"q": "cat"}, headers=sent).status_code == 401
    assert guarded.ask("DELETE", "/session", headers=bearer(ACME) | sent).status_code == 204
    assert guarded.get(f"/original/{first['id']}", headers=sent).status_code == 401


def test_no_token_is_ever_logged(
    index: clipindex.Index, tokens: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    known = read_tokens(tokens, None)
    with calling(index, say=lines.append, tokens=known) as caller:
        caller.get("/search", params=query(q="holidays"), headers=bearer(ACME))
        caller.get("/search", params=query(token=ALL), headers=bearer("wrong-wrong-wrong-wrong"))
    assert [re.sub(r"\d+ ms", "N ms", line) for line in lines] == [
        "GET /search 200 N ms acme",
        "GET /search 401 N ms",
    ]
    said = "".join([*lines, *capfd.readouterr(), repr(known)])
    assert not [secret for secret in (ACME, ALL, "wrong-wrong", "holidays") if secret in said]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no tokens"),
        ("token = 1", "holds no tokens"),
        ("[[token]]\nname = 'a'", "needs a value"),
        ("[[token]]\nvalue = 'short'", "shorter than 16"),
        ("[[token]]\nsha256 = 'abc'", "needs a value"),
        (f"[[token]]\nvalue = '{ALL}'\nwhere = []", "would let everything through"),
        (f"[[token]]\nvalue = '{ALL}'\nwhere = ['client']", "is not a condition"),
        (f"[[token]]\nvalue = '{ALL}'\nwhere = 'client=a'", "list of conditions"),
        (f"[[token]]\nvalue = '{ALL}'\nwere = ['client=a']", "other keys"),
        (f"[[token]]\nvalue = '{ALL}'\nowner = true", "other keys"),
        (f"[[token]]\nvalue = '{ALL}'\nwrite = 1", "true or false"),
        (f"[[token]]\nvalue = '{ALL}'\nwrite = true\nwhere = ['n<3']", "such as client=acme"),
        (f"[[token]]\nvalue = '{ALL}'\n[[token]]\nvalue = '{ALL}'", "listed twice"),
        ("[[token", "cannot be read"),
    ],
)
def test_a_file_of_tokens_that_is_not_quite_right_is_refused(
    tmp_path: Path, content: str, reason: str
) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=reason) as refused:
        read_tokens(file, None)
    assert ALL not in str(refused.value) + refused.value.hint


def test_other_machines_are_let_in_with_a_token_alone(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    for host in ("0.0.0.0", "::", "192.0.2.7", "photos.example.org"):
        done = CliRunner().invoke(app, ["serve", "--host", host, "--store", str(tmp_path)])
        assert done.exit_code == 2
        assert "CLIPINDEX_TOKEN" in done.stderr
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")] == [
        True
    ] * 4


# --- other sites -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "localhost.evil.example", "", "192.0.2.1"]
)
def test_a_name_that_another_site_lets_point_here_is_refused(caller: Caller, host: str) -> None:
    answer = caller.get("/search?q=cat", headers={"host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:8420", "[::1]:8420"])
def test_the_names_of_this_machine_are_answered(caller: Caller, host: str) -> None:
    assert caller.get("/healthz", headers={"host": host}).status_code == 200


def test_a_service_for_others_is_called_by_the_names_it_was_given() -> None:
    origins = origins_of("0.0.0.0", ["Photos.example.org"])
    for host in ("photos.example.org", "photos.example.org:443", "192.0.2.7:8420", "localhost"):
        origins.check("GET", "/", {"host": host})
    with pytest.raises(Problem) as refused:
        origins.check("GET", "/", {"host": "other.example.org"})
    assert refused.value.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ],
)
def test_a_request_that_another_sites_page_makes_is_refused(
    caller: Caller, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        answer = caller.ask(method, "/search?q=cat", headers=headers)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_a_link_to_the_page_is_no_attack(caller: Caller) -> None:
    visit = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert caller.get("/", headers=visit).status_code == 200
    own = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8420"}
    assert caller.get("/search?q=cat", headers=own).status_code == 200


@pytest.mark.parametrize("path", ["/", "/search?q=cat", "/nothing", "/search"])
def test_every_answer_forbids_scripts_frames_and_guessing(caller: Caller, path: str) -> None:
    headers = caller.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


# --- files -------------------------------------------------------------------------------------


OUTSIDE = (
    *("../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd"),
    *("....//etc/passwd", "..%5c..%5cetc%5cpasswd", "%00", "file:///etc/passwd", "a%0a", "%ff"),
    "00000000-0000-0000-0000-000000000000",
)


@pytest.mark.parametrize("route", ["original", "points", "thumb", "static"])
def test_no_path_leads_out_of_the_index(caller: Caller, route: str) -> None:
    for name in OUTSIDE:
        answer = caller.get(f"/{route}/{name}")
        assert answer.status_code in (400, 404)
        assert "root:" not in answer.text


def test_a_text_never_names_a_file_of_the_services_machine(caller: Caller, folder: Path) -> None:
    own = str(folder / "pictures" / "000.jpg")
    for name in ("q", "text"):
        for text in ("/etc/passwd", "../../etc/passwd", "./x.jpg", "2*/etc/passwd"):
            assert caller.get("/search", params={name: text}).status_code == 200
        (best, *_) = caller.get("/search", params={name: own}).json()["results"]
        assert best["similarity"] < 0.99


def test_a_file_that_was_changed_or_replaced_is_not_shown(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "pictures", 3)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    index = clipindex.Index(tmp_path / "store", model=str(TINY))
    index.ingest(tmp_path / "pictures")
    paths[0].write_bytes(picture_bytes(99))
    paths[1].unlink()
    paths[1].symlink_to(secret)
    paths[2].unlink()
    os.mkfifo(paths[2])
    with calling(index) as caller:
        results = caller.get("/search", params=query()).json()["results"]
        answers = [caller.get(f"/original/{result['id']}") for result in results]
    assert [answer.status_code for answer in answers] == [410, 410, 410]
    assert not [answer for answer in answers if "secret" in answer.text]


# --- too much ----------------------------------------------------------------------------------


def test_a_huge_body_is_refused_before_and_while_it_arrives(index: clipindex.Index) -> None:
    with (
        listening(index, limits=Limits(body=1 << 20)) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        announced = client.post("/search", content=b"x" * (2 << 20))
        assert announced.status_code == 413
        with closing(raw(url)) as line:
            line.sendall(
                b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            sent = 0
            while sent < 1000 and not has_answered(line):
                line.sendall(piece)
                sent += 1
            assert b" 413 " in line.recv(4096)
            assert sent < 1000
        assert client.get("/healthz").status_code == 200


def bomb(side: int) -> bytes:
    """A PNG of side x side white pixels, in a few kilobytes."""
    out = io.BytesIO()
    Image.new("1", (side, side), 1).save(out, "PNG")
    return out.getvalue()


def test_a_picture_of_too_many_pixels_is_refused(caller: Caller) -> None:
    answers = [
        (413, "megapixels", bomb(12_000)),
        (422, "not a picture", b"no picture"),
    ]
    for status, reason, data in answers:
        answer = caller.post("/search", files={"image": ("x.png", data)})
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True)


@pytest.mark.slow
def test_bombs_hold_up_nobody_else(index: clipindex.Index) -> None:
    data = bomb(7_000)
    with listening(index, limits=Limits(waiting=3)) as url, httpx.Client(base_url=url) as client:
        answers: list[int] = []

        def attack() -> None:
            answer = httpx.post(f"{url}/search", files={"image": ("x.png", data)}, timeout=60)
            answers.append(answer.status_code)

        attackers = [threading.Thread(target=attack) for _ in range(8)]
        for attacker in attackers:
            attacker.start()
        while any(attacker.is_alive() for attacker in attackers):
            assert client.get("/search?q=cat", timeout=5).status_code == 200
            time.sleep(0.05)
        assert set(answers) == {200, 503}


def test_more_than_the_queue_takes_is_told_to_come_again(index: clipindex.Index) -> None:
    with listening(index, limits=Limits(waiting=1)) as url:
        answers: list[httpx.Response] = []
        data = bomb(5_000)
        send = lambda: answers.append(  # noqa: E731
            httpx.post(f"{url}/search", files={"image": ("x.png", data)}, timeout=60)
        )
        senders = [threading.Thread(target=send) for _ in range(12)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["error"] == "too many requests wait"


# --- too slow, too many ------------------------------------------------------------------------


def raw(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def has_answered(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return bool(line.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        line.settimeout(10)


def is_cut(line: socket.socket) -> bool:
    """Whether the other side closes the connection, whatever it says before."""
    try:
        while line.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


HEAD = b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"", b""), (b"GET / HTT", b""), (HEAD + b"content-length: 9\r\n\r\n{", b" 408 ")],
)
def test_who_says_nothing_or_half_of_it_is_cut(
    index: clipindex.Index, said: bytes, status: bytes
) -> None:
    limits = Limits(idle=0.6, seconds=0.6)
    with listening(index, limits=limits) as url, closing(raw(url)) as line:
        start = time.monotonic()
        line.sendall(said)
        answer = line.recv(4096) if status else b""
        assert status in answer
        assert is_cut(line)
        assert time.monotonic() - start < 20


def test_who_says_it_byte_by_byte_is_cut(index: clipindex.Index) -> None:
    limits = Limits(idle=0.6, seconds=0.6)
    with listening(index, limits=limits) as url, closing(raw(url)) as line:
        start = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - start < 40:
                line.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - start < 20


def test_two_hundred_connections_keep_nobody_out(index: clipindex.Index) -> None:
    with listening(index, limits=Limits(connections=50)) as url:
        lines = [raw(url) for _ in range(200)]
        try:
            time.sleep(0.6)
            for _ in range(3):
                answer = httpx.get(f"{url}/search?q=cat", timeout=5)
                assert answer.status_code == 200
            answers = [line.recv(100) for line in lines if has_answered(line)]
        finally:
            for line in lines:
                line.close()
    assert any(b" 503 " in answer for answer in answers)


def test_an_answer_that_takes_too_long_is_given_up(caller: Caller, index: clipindex.Index) -> None:
    with calling(index, limits=Limits(seconds=0.01)) as hurried:
        answer = hurried.post("/search", files={"image": ("x.png", bomb(5_000))})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert caller.get("/search?q=cat").status_code == 200
