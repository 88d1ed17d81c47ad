"""Paths on a terminal: a line each, clickable, never folded; in a pipe nothing but the path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.cli import links
from conftest import run_clipindex
from test_cli import in_terminal, photos, store

__all__ = ["photos", "store"]
LINK = re.compile(r"\x1b\]8;[^;]*;file://([^/]*)(/[^\x1b]*)\x1b\\(.*?)\x1b\]8;;\x1b\\")
POSIX = pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")


@POSIX
@given(st.binary(min_size=1).map(lambda name: b"/" + name.replace(b"\0", b"")))
def test_a_link_is_plain_ascii_and_names_the_bytes_of_the_path(path: bytes) -> None:
    uri = links.file_uri(path)
    assert re.fullmatch(r"file:///[A-Za-z0-9_.~%/-]*", uri)
    assert unquote_to_bytes(uri.removeprefix("file://")) == path


@POSIX
def test_on_a_terminal_each_path_is_one_line_and_a_link(store: Path, photos: Path) -> None:
    code, seen = in_terminal("query", "x", "-n", 2, "--store", store, columns=40)
    assert code == 0
    lines = seen.splitlines()
    assert len(lines) == 3  # a heading, and a line for each hit
    for line in lines[1:]:
        ((host, path, text),) = LINK.findall(line)
        assert os.path.isfile(unquote_to_bytes(path))
        assert text.startswith(str(photos))
        assert host == links._host()


@POSIX
@pytest.mark.parametrize("options", [["--paths"], []], ids=["paths", "lines"])
def test_a_dumb_terminal_gets_no_escape(store: Path, options: list[str]) -> None:
    env = {"TERM": "dumb"}
    _, seen = in_terminal("query", "x", *options, "--store", store, columns=40, env=env)
    assert "\x1b" not in seen
    assert all(line.endswith(".jpg") or "jpg (" in line for line in seen.splitlines()[1:])


@pytest.mark.parametrize("option", ["--json", "--paths", "-0", "--quiet"])
def test_a_pipe_gets_no_escape(store: Path, option: str) -> None:
    out = run_clipindex("query", "x", option, "--store", store).out
    assert ".jpg" in out
    assert "\x1b" not in out


def test_a_host_whose_name_is_no_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "a b\x1b")
    assert links._host() == ""
