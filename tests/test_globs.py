"""Globs mean what they mean in a .gitignore file, on names as people see them."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from clipindex.files.globs import Globs, glob_text


def matches(glob: str, path: str, *, contents: bool = False) -> bool:
    """Whether a glob matches a path below the root; a folder has a slash at its end."""
    folder, _, name = path.rstrip("/").rpartition("/")
    where = glob_text(f"{folder}/".encode()) if folder else ""
    globs = Globs([glob], contents=contents)
    text = glob_text(name.encode("utf-8", "surrogateescape"))
    return globs.matching(where, text, is_folder=path.endswith("/")) == [glob]


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.tmp", "a.tmp sub/a.tmp sub/A.TMP sub.tmp/", "a.tmp.jpg"),
        ("private", "private private/ sub/private/ Private/", "privates my/private.jpg"),
        ("**/private", "private/ sub/private/ a/b/private", "privates/"),
        ("./private", "private/", "sub/private/"),
        ("/private", "private/ private", "sub/private/"),
        ("private/", "private/ sub/private/", "private sub/private"),
        ("sub/private/", "sub/private/", "sub/private a/sub/private/ private/"),
        ("sub//private", "sub/private", "private"),
        (r"sub\/private", "sub/private", "private"),
        ("[/a]b", "ab", "b sub/ab xb"),
        (r"?\/**", "a/b a/b/c", "a/ ab/c"),
        ("2019/raw/*", "2019/raw/a.jpg 2019/raw/sub/", "2019/raw/ 2019/raw/sub/a.jpg 2019/a"),
        ("2019/raw/**", "2019/raw/a.jpg 2019/raw/sub/a.jpg", "2019/raw/ 2019/raws/a"),
        ("2019/*.jpg", "2019/a.jpg 2019/a.JPG", "2019/sub/a.jpg a.jpg"),
        ("2019/**/*.jpg", "2019/a.jpg 2019/sub/a.jpg 2019/a/b/c.jpg", "2018/a.jpg"),
        ("**/*.jpg", "a.jpg a/b/c.jpg", "a.jpeg"),
        ("a**b", "ab axxb sub/a.b", "a/b"),
        ("**", "a sub/a sub/", ""),
        ("IMG_?.jpg", "IMG_1.jpg IMG_é.jpg IMG_字.jpg sub/img_ж.JPG", "IMG_12.jpg IMG_.jpg"),
        ("[а-я]*", "жук sub/Жук", "bug"),
        ("[éü]", "é É sub/ü", "e u"),
        ("[!a]b", "bb éb", "ab b"),
        ("[^a-c]", "d", "a b B"),
        ("a[]]b", "a]b", "a[]]b"),
        ("a[b", "a[b", "ab"),
        ("a]b", "a]b", "ab"),
        ("[a-]x", "ax -x", "bx"),
        ("[z-a]", "", "a z m"),
        ("[[]x", "[x", "]x"),
        (r"\*", "*", "a"),
        (r"a\[b]", "a[b]", "ab"),
        ("#recycle", "#recycle/ sub/#Recycle/", "recycle/"),
        ("!Best", "!Best/ sub/!best", "Best/"),
        ("a b ", "a b :a", "a b"),
        ("", "", "a sub/"),
        ("/", "", "a sub/"),
        (".", "", "a sub/"),
        ("..", "", "a sub/"),
        ("a+(b)|c$^{1}", "a+(b)|c$^{1}", "ab c"),
    ],
)
def test_a_glob_matches(glob: str, yes: str, no: str) -> None:
    if glob == "a b ":  # the one with spaces
        assert matches(glob, "a b ")
        assert not matches(glob, "a b")
        return
    for path in yes.split():
        assert matches(glob, path), path
    for path in no.split():
        assert not matches(glob, path), path


@pytest.mark.parametrize("typed", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("glob", ["Café privé", "café*", "Caf? priv?", "Caf[é] *", "cAFÉ PRIVÉ"])
def test_composed_and_decomposed_names_are_the_same(glob: str, typed: str, stored: str) -> None:
    name = unicodedata.normalize(stored, "Café privé")  # type: ignore[arg-type]
    assert matches(unicodedata.normalize(typed, glob), f"sub/{name}/")  # type: ignore[arg-type]


def test_a_name_that_is_not_utf8_is_matched_as_it_is() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    for glob in (name, "*.jpg", "caf?.jpg", "caf*"):
        assert matches(glob, name)
    assert not matches("café.jpg", name)


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.jpg", "a.jpg sub/a.JPG", "a.png"),
        ("2019/*", "2019/a.jpg 2019/sub/a.jpg", "a.jpg 2018/a.jpg"),
        ("2019/", "2019/a.jpg 2019/sub/a.jpg sub/2019/a.jpg", "2019 a.jpg"),
        ("/2019/", "2019/a.jpg", "sub/2019/a.jpg"),
        ("2019/**/*.jpg", "2019/a.jpg 2019/sub/a.jpg", "2019/a.png"),
        ("2019/*.jpg", "2019/a.jpg", "2019/sub/a.jpg"),
        ("raw", "raw sub/raw", "raw/a.jpg"),
        ("IMG*", "IMG_1.jpg", "IMG_2019/notes.txt"),
    ],
)
def test_of_files_a_glob_with_a_slash_matches_all_below_a_folder(
    glob: str, yes: str, no: str
) -> None:
    """`--include 2019/` takes the pictures of that year; a glob of a name is a file's name."""
    for path in yes.split():
        assert matches(glob, path, contents=True), path
    for path in no.split():
        assert not matches(glob, path, contents=True), path


def test_every_glob_that_matches_is_named() -> None:
    globs = Globs(["*.jpg", "a*", "*.png", "*.jpg", "sub/"])
    assert globs.matching("", "a.jpg", is_folder=False) == ["*.jpg", "a*"]
    assert globs.matching("", "b.gif", is_folder=False) == []
    assert globs.matching("", "sub", is_folder=False) == []
    assert globs.matching("", "sub", is_folder=True) == ["sub/"]


@given(st.lists(st.text(), max_size=4), st.text(max_size=10).map(lambda t: t.replace("/", "")))
def test_every_text_is_a_glob(typed: list[str], name: str) -> None:
    for contents in (False, True):
        globs = Globs(typed, contents=contents)
        assert set(globs.matching("sub/", name, is_folder=False)) <= set(typed)
        assert set(globs.matching("", name, is_folder=True)) <= set(typed)


@pytest.mark.parametrize(
    "glob", ["*a" * 40 + "b", "**/" * 12 + "b", "**/a/" * 12 + "b", "[!b]*" * 30 + "c"]
)
def test_no_glob_takes_long(glob: str) -> None:
    globs = Globs([glob])
    begin = time.process_time()
    for _ in range(20):
        globs.matching("a/" * 30, "a" * 250, is_folder=False)
    assert time.process_time() - begin < 2


# --- against git itself ----------------------------------------------------------------------

parts = st.text(st.sampled_from("ab*?[]!^-\\"), min_size=1, max_size=4) | st.just("**")
gitignore = st.builds(
    lambda before, parts, after: before + "/".join(parts) + after,
    st.sampled_from(["", "/", "**/"]),
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(["", "/", "/**"]),
)
names = st.text(st.sampled_from("abA]!-"), min_size=1, max_size=3)
below = st.lists(names, min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "config", "core.ignorecase", "true"], check=True)
    return folder


@pytest.mark.slow
@given(glob=gitignore, paths=st.lists(below, min_size=1, max_size=8))
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_git_excludes_the_same_paths(repository: Path, glob: str, paths: list[str]) -> None:
    assume(not glob.rstrip("/").endswith("\\"))
    # git crosses folders at some of these, although its manual says that it does not
    assume(not re.search(r"[^/]\*\*/|/\*\*[^/]", f"/{glob}/"))
    assume("/\\/" not in f"/{glob}")  # git looks for a name without a character there
    escaped = "\\" + glob if glob.startswith("!") else glob
    (repository / ".gitignore").write_text(escaped + "\n")
    done = subprocess.run(
        ["git", "-C", repository, "check-ignore", "--no-index", "--stdin", "-z"],
        input="\0".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    ignored = set(done.stdout.split("\0")) - {""}

    def excluded(path: str) -> bool:
        """As a walk excludes it: by itself, or with a folder above it."""
        steps = path.split("/")
        folders = ["/".join(steps[:depth]) + "/" for depth in range(1, len(steps))]
        return any(matches(glob, step) for step in [*folders, path])

    assert {path for path in paths if excluded(path)} == ignored & set(paths)
