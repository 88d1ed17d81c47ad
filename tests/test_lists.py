"""Lists of files: as find, PowerShell and editors write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.errors import UsageError
from clipindex.files.durable import write_durably
from clipindex.files.lists import paths_in_list
from conftest import TINY, make_pictures

NAMES = [b"/p/a.jpg", "/p/\u00e9 \u5b57.jpg".encode()]


@pytest.mark.parametrize(
    "data",
    [
        b"\n".join(NAMES),
        b"\n".join(NAMES) + b"\n",
        b"\r\n".join(NAMES) + b"\r\n\r\n",
        b"\xef\xbb\xbf" + b"\r\n".join(NAMES) + b"\r\n",
        (b"\n".join(NAMES) + b"\n").decode().encode("utf-16"),
        b"\xfe\xff" + (b"\r\n".join(NAMES) + b"\r\n").decode().encode("utf-16-be"),
    ],
    ids=["lines", "ended", "windows", "utf-8 mark", "utf-16", "utf-16 big-endian"],
)
def test_a_list_of_lines_is_read_whatever_wrote_it(data: bytes) -> None:
    assert paths_in_list(data, null=False) == NAMES


def test_names_are_kept_byte_for_byte() -> None:
    assert paths_in_list(b" caf\xe9.jpg \na\\b\n", null=False) == [b" caf\xe9.jpg ", b"a\\b"]
    assert paths_in_list(b"new\nline.jpg\0b\r\0", null=True) == [b"new\nline.jpg", b"b\r"]
    assert paths_in_list(b"", null=True) == paths_in_list(b"\n\n", null=False) == []


@pytest.mark.parametrize(
    ("data", "null", "hint"),
    [
        (b"/p/a.jpg\0/p/b.jpg\0", False, "add -0"),
        ("/p/a.jpg\n".encode("utf-16-le"), False, "UTF-8"),
        (b"\xff\xfe\x00\xd8\n\0", False, "UTF-8"),
        (b"/p/a.jpg\n/p/b.jpg\n", True, "omit -0"),
    ],
)
def test_a_list_of_the_other_kind_is_a_usage_error(data: bytes, null: bool, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        paths_in_list(data, null=null)
    assert hint in (caught.value.hint or "")


@given(st.binary(), st.booleans())
def test_any_bytes_are_a_list_or_a_usage_error(data: bytes, null: bool) -> None:
    try:
        paths = paths_in_list(data, null=null)
    except UsageError:
        return
    assert all(path and b"\0" not in path for path in paths)


def test_a_link_at_the_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "contract.json.partial").symlink_to("precious")
    write_durably(tmp_path / "contract.json", b"{}")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert (tmp_path / "contract.json").read_bytes() == b"{}"
    assert not (tmp_path / "contract.json").is_symlink()


# --- without a home --------------------------------------------------------------------------

NOBODY = (
    "import pwd, sys\n"
    "def nobody(_): raise KeyError\n"
    "pwd.getpwuid = pwd.getpwnam = nobody\n"
    "from clipindex.cli.app import app\n"
    "app(sys.argv[1:])\n"
)


def without_home(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """A command by a user without HOME, XDG folders and an entry in passwd."""
    kept = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    return subprocess.run(
        [sys.executable, "-c", NOBODY, *map(str, args)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_user_without_a_home_works_with_a_named_store(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", 1)
    where = ("--store", tmp_path / "store")
    done = without_home("ingest", tmp_path / "photos", "--model", TINY, *where)
    assert done.returncode == 0, done.stderr
    assert without_home("query", "a dog", *where).returncode == 0
    assert without_home("status", *where).returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["status"], "no home folder"),
        (["status", "--store", "~/store"], "no such home folder"),
        (["ingest", ".", "--store", "s", "--model", "~/bundle"], "no such home folder"),
    ],
)
def test_what_needs_a_home_says_so(args: list[str], said: str) -> None:
    done = without_home(*args)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
