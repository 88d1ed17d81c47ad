"""Waiting for a server: how long, who hears of it, and what ends it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

import clipindex
from clipindex.cli import values
from clipindex.collection import server_place
from clipindex.errors import StoreError, UsageError
from clipindex.stores import connection, server_requests
from clipindex.stores.address import Server
from clipindex.stores.connection import READING, Connection, RetryPolicy
from clipindex.stores.failures import ErrorAnswer, understand
from clipindex.stores.session import Session
from conftest import ingest, make_pictures, run_clipindex
from qdrant_double import Double, Request, refused_port
from test_server import on


def call(server: Server, policy: RetryPolicy) -> None:
    client = Connection(server, policy)
    try:
        client.call("asking", server_requests.version)
    finally:
        client.close()


def test_patience_alone_ends_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.02)
    attempts = itertools.count()

    def ask(session: Session) -> object:
        next(attempts)
        return server_requests.version(session)

    with refused_port() as url, pytest.raises(StoreError, match=r"tried for 2 s"):
        Connection(Server(url), RetryPolicy(1, 2.0)).call("asking", ask)
    assert next(attempts) > 9


def test_a_server_that_opens_its_port_late_is_waited_for_by_commands_that_write(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_place, "READING", RetryPolicy(1, 0.0))
    monkeypatch.setattr(server_place, "WRITING", RetryPolicy(5, 30.0))
    make_pictures(tmp_path / "photos", 2)

    def is_first(request: Request) -> bool:
        return request.path == "/aliases"

    double.fail("503", times=2, when=is_first)
    assert ingest(on(double), tmp_path / "photos").summary.points == 2
    double.fail("503", times=2, when=is_first)
    assert on(double).reindex().unchanged == 2
    double.fail("503", times=2, when=is_first)
    assert on(double).tag({"who": "ann"}, [tmp_path / "photos"]) == 2
    double.fail("503", when=is_first)
    with pytest.raises(StoreError, match="in trouble"):  # a person is waiting
        on(double).query("a dog")


def test_nobody_stares_at_silence(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENT_FOR", 0.3)
    monkeypatch.setattr(connection, "SLICE", 0.1)

    def is_late(_request: Request) -> bool:
        time.sleep(1.2)
        return False

    double.fail("503", when=is_late)
    with pytest.warns(clipindex.ClipIndexWarning, match="has not answered for") as warned:
        call(Server(double.url), RetryPolicy(10, 20.0))
    assert len(warned) == 1  # not one a slice


def test_a_slow_server_is_given_the_time_that_the_user_names(double: Double) -> None:
    def is_late(_request: Request) -> bool:
        time.sleep(1.5)
        return False

    double.fail("503", when=is_late)
    with pytest.raises(StoreError, match="did not answer within 1 s") as caught:
        call(Server(double.url), RetryPolicy(1, 1.0))
    assert "--timeout" in caught.value.hint
    double.faults.clear()
    double.fail("503", when=is_late)
    call(Server(double.url, timeout=20), RetryPolicy(1, 1.0))


def test_the_time_out_is_an_option_of_every_command_that_talks_to_a_server(
    double: Double, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "photos", 1)
    ingest(on(double), tmp_path / "photos")
    env = {"CLIPINDEX_URL": double.url, "CLIPINDEX_SOURCE": "here"}
    assert run_clipindex("status", "--timeout", "30", env=env).code == 0
    wrong = run_clipindex("status", env={**env, "CLIPINDEX_TIMEOUT": "soon"})
    assert wrong.code == 2
    assert "CLIPINDEX_TIMEOUT" in wrong.err
    server = values.server("http://localhost", 30)
    assert server is not None
    assert server.timeout == 30
    with pytest.raises(UsageError):
        Server("http://localhost", timeout=0)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_an_interrupt_ends_the_wait_at_once(
    double: Double, start_clipindex: Callable[..., Popen[str]], fault: str
) -> None:
    double.fail("slow", value=60, times=99)
    with refused_port() as refused:
        url = refused if fault == "refused" else double.url
        process = start_clipindex("ingest", Path(__file__).parent, "--url", url)
        deadline = time.monotonic() + 60
        while fault == "silent" and not double.log and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(8 if fault == "refused" else 1)  # it has begun to wait
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - started < 20


def test_the_words_of_a_server_that_denies_access_are_shown() -> None:
    headers = httpx.Headers({"content-type": "text/plain; charset=utf-8"})
    answer = ErrorAnswer(403, headers, b"Invalid JWT,\n the token\thas expired")
    failure = understand(answer, 1)
    assert failure.reason == "denies access (403): Invalid JWT, the token has expired"
    bare = ErrorAnswer(403, httpx.Headers(), b"ExpiredSignature")  # as Qdrant 1.18.3 does
    reason = understand(bare, 1).reason
    assert reason == "denies access (403): ExpiredSignature"
    page = ErrorAnswer(401, httpx.Headers({"content-type": "text/html"}), b"<html>no</html>")
    assert understand(page, 1).reason.endswith("(401)")


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate of one's own for localhost, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    file = tmp_path / "authority.pem"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*made, *names, "-keyout", str(file) + ".key", "-out", str(file)],
        check=True,
        capture_output=True,
    )
    return file


def test_an_authority_of_ones_own_is_trusted_on_this_machine_too(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, str(authority) + ".key")
    double = Double(tmp_path / "qdrant")
    double.server.socket = context.wrap_socket(double.server.socket, server_side=True)
    with double:
        server = Server(double.url.replace("http:", "https:"))
        with pytest.raises(StoreError, match="no certificate that this machine trusts"):
            call(server, READING)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        call(server, READING)
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull + "/nothing")
        with pytest.raises(StoreError, match="SSL_CERT_FILE or SSL_CERT_DIR cannot be read"):
            call(server, READING)
