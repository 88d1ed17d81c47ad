"""Who a file is: the id of its point, its path as text and as bytes, its folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipindex.errors import UsageError
from clipindex.files.access import is_gone
from clipindex.files.identity import (
    NAMESPACE,
    display_path,
    exact_path,
    folders_of,
    is_below,
    path_from_payload,
    point_id,
    resolve_root,
)

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)
paths = st.lists(names, max_size=5).map(lambda parts: b"/" + b"/".join(parts))


def test_the_id_of_a_point_never_changes() -> None:
    """Stored collections hang on these values: a change would double every point."""
    assert str(NAMESPACE) == "4686a74d-193c-5a2d-ae98-05e2e787b606"
    assert str(point_id("local", b"/photos/a.jpg")) == "f2c92c17-624f-5261-85b2-d5a541bcd971"
    assert str(point_id("nas", b"/photos/a.jpg")) == "cf5650ab-2610-5173-9f96-c55b4d06bd12"
    assert str(point_id("local", b"/photos/caf\xe9.jpg")) == "f094d3af-5f95-5463-ac74-2aeb06d0a316"


@given(source=st.text(st.characters(codec="utf-8"), max_size=20), path=paths)
def test_the_id_of_a_text_path_is_python_s_own_uuid5(source: str, path: bytes) -> None:
    made = point_id(source, path)
    assert (made.version, made.variant) == (5, uuid.RFC_4122)
    if exact_path(path) is None:
        assert made == uuid.uuid5(NAMESPACE, f"{source}\0{path.decode()}")


@given(one=paths, other=paths)
def test_different_paths_have_different_ids(one: bytes, other: bytes) -> None:
    assert (point_id("local", one) == point_id("local", other)) == (one == other)
    assert point_id("local", one) != point_id("nas", one)


@given(paths)
def test_a_path_goes_into_a_payload_and_comes_back(path: bytes) -> None:
    payload: dict[str, object] = {"path": display_path(path)}
    if (exact := exact_path(path)) is not None:
        payload["path_b64"] = exact
    assert path_from_payload(payload) == path
    display_path(path).encode("utf-8")  # is text, whatever the bytes


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    assert display_path(b"/p/caf\xe9.jpg") == r"/p/caf\xe9.jpg"
    assert display_path("/p/café.jpg".encode()) == "/p/café.jpg"


def test_only_what_text_cannot_hold_is_kept_twice() -> None:
    assert exact_path("/p/café.jpg".encode()) is None
    assert exact_path(rb"/p/caf\xe9.jpg") is None
    assert exact_path(b"/p/caf\xe9.jpg") is not None
    assert path_from_payload({"path": r"/p/caf\xe9.jpg"}) == rb"/p/caf\xe9.jpg"


def test_folders_are_named_from_the_nearest_to_the_root() -> None:
    assert folders_of(b"/a/b/c.jpg") == [b"/a/b", b"/a", b"/"]
    assert folders_of(b"/c.jpg") == [b"/"]
    assert folders_of(b"/") == []


@given(paths)
def test_a_path_is_below_each_of_its_folders(path: bytes) -> None:
    folders = folders_of(path)
    assert len(folders) == (0 if path == b"/" else path.count(b"/"))
    assert all(is_below(path, folder) for folder in folders)
    assert not any(is_below(folder, path) for folder in folders)


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        (b"/a/b.jpg", b"/a", True),
        (b"/a/b/c/d.jpg", b"/a", True),
        (b"/a", b"/a", True),
        (b"/ab", b"/a", False),
        (b"/ab/c.jpg", b"/a", False),
        (b"/a", b"/a/b", False),
        (b"/a/b.jpg", b"/", True),
        (b"/a/b.jpg", b"/a/", True),
    ],
)
def test_a_folder_holds_what_lies_in_it_not_what_begins_like_it(
    path: bytes, folder: bytes, below: bool
) -> None:
    assert is_below(path, folder) is below


# --- roots -----------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `photos/one.jpg` in it, its own path free of links."""
    place = tmp_path.resolve()
    (place / "photos").mkdir()
    (place / "photos" / "one.jpg").touch()
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    "typed", ["photos", "./photos", "photos/", "photos/.", "photos/../photos", "../{}/photos"]
)
def test_a_root_is_the_same_however_it_is_typed(place: Path, typed: str) -> None:
    assert resolve_root(typed.format(place.name)) == os.fsencode(place / "photos")
    assert resolve_root(place / "photos") == os.fsencode(place / "photos")


@pytest.mark.parametrize(
    "typed", ["photos/one.jpg", "./photos/one.jpg", "photos/../photos/one.jpg"]
)
def test_a_file_is_the_same_however_it_is_typed(place: Path, typed: str) -> None:
    assert resolve_root(typed) == os.fsencode(place / "photos" / "one.jpg")
    assert resolve_root(os.fsencode(typed)) == os.fsencode(place / "photos" / "one.jpg")


def test_a_root_that_is_a_link_is_the_folder_it_leads_to(place: Path) -> None:
    (place / "link").symlink_to("photos")
    assert resolve_root("link") == os.fsencode(place / "photos")
    assert resolve_root("link/one.jpg") == os.fsencode(place / "photos" / "one.jpg")


def test_a_file_that_is_a_link_keeps_its_own_name(place: Path) -> None:
    (place / "link.jpg").symlink_to("photos/one.jpg")
    assert resolve_root("link.jpg") == os.fsencode(place / "link.jpg")


def test_dots_after_a_link_mean_what_the_system_means(place: Path) -> None:
    """`link/..` is the folder above the link's target, as for `cat` and `ls`."""
    (place / "far" / "deep").mkdir(parents=True)
    (place / "far" / "two.jpg").touch()
    (place / "link").symlink_to("far/deep")
    assert os.path.exists("link/../two.jpg")
    assert resolve_root("link/..") == os.fsencode(place / "far")
    assert resolve_root("link/../two.jpg") == os.fsencode(place / "far" / "two.jpg")


def test_a_root_that_is_missing_keeps_its_absolute_name(place: Path) -> None:
    assert resolve_root("gone") == os.fsencode(place / "gone")
    assert resolve_root("photos/gone/") == os.fsencode(place / "photos" / "gone")


def test_a_root_need_not_be_utf8(place: Path) -> None:
    name = b"caf\xe9"
    os.mkdir(os.path.join(os.fsencode(place), name))
    assert resolve_root(name) == os.path.join(os.fsencode(place), name)
    assert resolve_root(os.fsdecode(name)) == os.path.join(os.fsencode(place), name)


@pytest.mark.parametrize("typed", [b"a\0b.jpg", "a\0b", Path("a\0b"), "\ud800"])
def test_what_cannot_be_a_path_is_a_usage_error(typed: bytes | str | Path) -> None:
    with pytest.raises(UsageError):
        resolve_root(typed)


# --- what is gone ----------------------------------------------------------------------------


def test_a_name_is_gone_when_it_is_not_there(place: Path) -> None:
    (place / "dangling.jpg").symlink_to("nowhere")
    assert is_gone(os.fsencode(place / "photos" / "two.jpg"))
    assert is_gone(os.fsencode(place / "none" / "one.jpg"))
    for name in ("photos/one.jpg", "photos", "dangling.jpg"):
        assert not is_gone(os.fsencode(place / name))


IGNORES_CASE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>
// A volume that ignores the case of one name: what is asked as OLD is looked up as old.
static const char *real(const char *path, char *out) {
    strcpy(out, path);
    char *at = strstr(out, "OLD");
    if (at) memcpy(at, "old", 3);
    return out;
}
#define LOOKED_UP(name, status) \\
    int name(const char *path, struct status *s) { \\
        char out[4096]; \\
        int (*f)(const char *, struct status *) = dlsym(RTLD_NEXT, #name); \\
        return f(real(path, out), s); \\
    }
LOOKED_UP(stat, stat)
LOOKED_UP(lstat, stat)
LOOKED_UP(stat64, stat64)
LOOKED_UP(lstat64, stat64)
"""


@pytest.mark.parametrize(("now", "asked"), [("old/a.jpg", "OLD/a.jpg"), ("b/old.jpg", "b/OLD.jpg")])
def test_a_name_that_changed_in_case_is_gone(place: Path, now: str, asked: str) -> None:
    """It still opens under its old name on a volume that ignores case; the library emulates one."""
    (place / "case.c").write_text(IGNORES_CASE)
    build = ["gcc", "-shared", "-fPIC", "-o", place / "case.so", place / "case.c", "-ldl"]
    if shutil.which("gcc") is None or subprocess.run(build, check=False).returncode:
        pytest.skip("needs gcc")
    (place / now).parent.mkdir(exist_ok=True)
    (place / now).touch()
    code = (
        "import sys; from clipindex.files.access import exists, is_gone; "
        "print([(exists(name.encode()), is_gone(name.encode())) for name in sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, place / asked, place / now],
        env={**os.environ, "LD_PRELOAD": str(place / "case.so")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[(True, True), (True, False)]"
