"""`query --show`: pictures in the terminal's own protocol or half blocks; never into a pipe."""

from __future__ import annotations

import base64
import io
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipindex.cli.sixel import sixels
from clipindex.cli.terminal_pictures import Protocol, drawing, fitted, protocol_of
from clipindex.errors import UsageError
from clipindex.pictures.thumbnails import samples, size_of, thumbnail
from conftest import picture_bytes, run_clipindex
from test_cli import in_terminal, photos, store

__all__ = ["photos", "store"]
JPEG = thumbnail(picture_bytes(3), 120)
KITTY, ITERM2, SIXEL, BLOCKS = Protocol


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, BLOCKS),
        ({"TERM": "xterm-256color"}, BLOCKS),
        ({"TERM": "xterm-kitty"}, KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, KITTY),
        ({"TERM": "xterm-ghostty"}, KITTY),
        ({"TERM_PROGRAM": "iTerm.app"}, ITERM2),
        ({"TERM_PROGRAM": "WezTerm"}, ITERM2),
        ({"LC_TERMINAL": "iTerm2", "TERM": "xterm-256color"}, ITERM2),
        ({"TERM": "foot"}, SIXEL),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"}, BLOCKS),
        ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app"}, BLOCKS),
        ({"TERM": "xterm", "CLIPINDEX_TERMINAL": "sixel"}, SIXEL),
        ({"TERM": "xterm-kitty", "CLIPINDEX_TERMINAL": "blocks"}, BLOCKS),
    ],
)
def test_what_a_terminal_speaks_is_told_by_its_environment(
    environment: Mapping[str, str], protocol: Protocol
) -> None:
    assert protocol_of(environment) is protocol


def test_a_protocol_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="CLIPINDEX_TERMINAL is 'regis'"):
        protocol_of({"CLIPINDEX_TERMINAL": "regis"})


def test_kitty_gets_the_pixels_in_parts_and_is_not_asked_to_answer() -> None:
    parts = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", drawing(JPEG, (20, 8), KITTY))
    keys = [dict(pair.split(b"=") for pair in part.split(b",")) for part, _ in parts]
    assert keys[0][b"q"] == b"2"
    assert [key[b"m"] for key in keys] == [b"1"] * (len(keys) - 1) + [b"0"]
    assert all(len(data) <= 4096 for _, data in parts)
    width, height = size_of(JPEG)
    raw = zlib.decompress(base64.b64decode(b"".join(data for _, data in parts)))
    got = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    assert np.array_equal(got, samples(JPEG, width, height))
    assert (keys[0][b"c"], keys[0][b"r"]) == (b"20", b"8")


def test_iterm2_gets_the_thumbnail_itself() -> None:
    (keys, data) = re.fullmatch(  # type: ignore[misc]
        rb"\x1b\]1337;File=([^:]*):(.*)\a", drawing(JPEG, (20, 8), ITERM2), re.DOTALL
    ).groups()
    assert base64.b64decode(data) == JPEG
    assert {b"inline=1", b"width=20", b"height=8"} <= set(keys.split(b";"))


def drawn(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What a terminal makes of sixels: a second reading of DEC's manual."""
    text = data.decode()
    assert text.startswith("\x1bP")
    assert text.endswith("\x1b\\")
    head, body = re.fullmatch(r'\x1bP[\d;]*q"1;1;(\d+;\d+)(.*)\x1b\\', text, re.DOTALL).groups()  # type: ignore[union-attr]
    width, height = map(int, head.split(";"))
    canvas = np.zeros((height + 6, width, 3), np.uint8)
    palette: dict[int, list[int]] = {}
    x = y = colour = 0
    token = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|(.)", re.DOTALL)
    for number, red, green, blue, chosen, count, repeated, single in token.findall(body):
        if number:
            palette[int(number)] = [round(int(part) * 2.55) for part in (red, green, blue)]
        elif chosen:
            colour = int(chosen)
        elif single == "$":
            x = 0
        elif single == "-":
            x, y = 0, y + 6
        else:
            bits = ord(repeated or single) - 63
            end = x + int(count or 1)
            for row in range(6):
                if bits >> row & 1:
                    canvas[y + row, x:end] = palette[colour]
            x = end
    assert not canvas[height:].any()
    return canvas[:height]


@pytest.mark.parametrize("size", [(60, 36), (61, 37), (1, 1), (7, 5)])
def test_sixels_show_the_picture(size: tuple[int, int]) -> None:
    pixels = samples(JPEG, *size)
    got = drawn(sixels(pixels)).astype(int)
    assert got.shape == pixels.shape
    assert np.abs(got - pixels).max() <= 52  # one level of six
    assert abs(got.mean() - pixels.mean()) < 20


def test_a_picture_fits_its_columns_and_lines() -> None:
    for size in [(1, 400), (400, 1), (3, 4), (400, 300)]:
        columns, lines = fitted(size, (36, 12))
        assert 1 <= columns <= 36
        assert 1 <= lines <= 12


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_at_forty_columns_half_blocks_keep_to_the_terminal(store: Path) -> None:
    env = {"COLORTERM": "truecolor", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}
    args = ("query", "x", "-n", 2, "--show", "--store", store)
    code, seen = in_terminal(*args, columns=40, env=env)
    assert code == 0
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in seen.splitlines()]
    blocks = [line for line in plain if "▀" in line]
    assert len(blocks) == 24
    assert {*"".join(blocks)} == {" ", "▀"}
    assert all(len(line) <= 40 for line in blocks)
    assert "48;2;" in seen


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("env", "said"), [({"NO_COLOR": "1"}, ""), ({"TERM": "dumb"}, "no pictures are drawn")]
)
def test_without_colours_there_are_shades_and_on_a_dumb_terminal_words(
    store: Path, env: dict[str, str], said: str
) -> None:
    code, seen = in_terminal("query", "x", "-n", 1, "--show", "--store", store, env=env)
    assert code == 0
    assert "38;" not in seen
    assert "▀" not in seen
    assert said in seen
    assert bool({*"░▒▓█"} & {*seen}) is (not said)


def test_a_pipe_gets_the_usual_lines_and_a_note(store: Path) -> None:
    plain = run_clipindex("query", "x", "--store", store)
    shown = run_clipindex("query", "x", "--show", "--store", store)
    assert (shown.code, shown.out) == (0, plain.out)
    assert "no pictures are drawn: standard output is not a terminal" in shown.err
    assert run_clipindex("query", "x", "--show", "--json", "--store", store).code == 2


def test_samples_are_those_of_the_thumbnail() -> None:
    image = Image.open(io.BytesIO(JPEG))
    assert np.array_equal(samples(JPEG, *image.size), np.asarray(image))
