"""The globs of `--exclude` and `--include`: they mean what they mean in a .gitignore file.

A glob without a slash is matched against names at any depth. With a slash it is matched against
the path below the root; there `*` and `?` stay within one name and `**` crosses folders
(`**/x` begins at the root, too). A slash at the end asks for a folder. Unlike in a .gitignore
file, case never matters, and `!` and `#` at the beginning are plain characters: folders have
such names.

Names are compared as text in composed form (Unicode NFC), because the same name arrives
decomposed from macOS and composed from a keyboard. Bytes that are not UTF-8 match themselves.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass


def glob_text(path: bytes) -> str:
    """A name or a path as globs see it: composed, its parts separated by slashes."""
    if path.isascii():
        text = path.decode("ascii")
    else:
        text = unicodedata.normalize("NFC", path.decode("utf-8", "surrogateescape"))
    return text if os.sep == "/" else text.replace(os.sep, "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """One glob: as it was typed, the expression for the whole of a name or of a path, and
    whether it asks for a folder."""

    typed: str
    expression: str
    by_path: bool
    folder: bool


def parse_glob(typed: str) -> Glob:
    """Translate one glob; every text is one."""
    try:
        text = glob_text(os.fsencode(typed))
    except UnicodeEncodeError:  # typed under another locale, and remembered
        text = unicodedata.normalize("NFC", typed)
    parts = _parts(text)
    by_path = "/" in text.rstrip("/")
    expression = _path(parts) if by_path else "".join(map(_name, parts))
    return Glob(
        typed=typed,
        expression=expression or "(?!)",  # an empty glob matches nothing
        by_path=by_path,
        folder=text.endswith("/"),
    )


# One character of a glob: an escaped one, a class, or any other. `]` may be a class's first.
_TOKEN = re.compile(
    r"\\(?P<escaped>.)"
    r"|\[(?P<negated>[!^]?)(?P<members>\]?(?:\\.|[^]\\])*)\]"
    r"|(?P<one>.)",
    re.DOTALL,
)


def _parts(text: str) -> list[str]:
    """The globs of names in a glob: parted by each slash, escaped or not, outside a class."""
    parts = [""]
    for token in _TOKEN.finditer(text):
        if "/" in (token["one"], token["escaped"]):
            parts.append("")
        else:
            parts[-1] += token[0]
    return [part for part in parts if part not in ("", ".")]


def _path(parts: list[str]) -> str:
    """The expression for a path. Between two `**` each group of names is matched as early as
    possible and never again (an atomic group), so that no glob takes exponential time."""
    groups: list[list[str]] = [[]]
    for part in parts:
        if part != "**":
            groups[-1].append(_name(part))
        elif len(groups) == 1 or groups[-1]:
            groups.append([])
    first, *others = groups
    if not others:
        return "/".join(first)
    *middle, last = others
    expression = "".join(f"{name}/" for name in first)
    for group in middle:
        expression += "(?>(?:[^/]+/)*?" + "".join(f"{name}/" for name in group) + ")"
    return expression + ("(?:[^/]+/)*" + "/".join(last) if last else ".+")


def _name(part: str) -> str:
    """The expression for one name; between two stars as `_path` does between two `**`."""
    pieces = [""]
    for token in _TOKEN.finditer(part):
        if token["one"] == "*":
            pieces.append("")
        elif token["one"] == "?":
            pieces[-1] += "[^/]"
        elif token["members"] is not None:
            pieces[-1] += _character_class(token["members"], negated=bool(token["negated"]))
        else:
            pieces[-1] += re.escape(token["escaped"] or token["one"])
    first, *others = pieces
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle if piece) + "[^/]*" + last


def _character_class(members: str, *, negated: bool) -> str:
    """`[a-z]`, with everything that `re` reads otherwise escaped. A range that runs backwards
    holds nothing, so that its class matches nothing, or negated everything."""
    ranges = re.findall(r"\\?(.)-\\?(.)|\\?(.)", members, re.S)
    inside = ""
    for low, high, single in ranges:
        if single:
            inside += re.escape(single)
        elif low <= high:
            inside += f"{re.escape(low)}-{re.escape(high)}"
    if not inside:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{inside}]"


class Globs:
    """Several globs as one test."""

    def __init__(self, typed: Iterable[str], *, contents: bool = False) -> None:
        """`contents`: a glob that asks for a folder, or has a slash, matches all that lies in a
        folder that it matches as well. For globs that are asked only of files."""
        globs = [parse_glob(text) for text in dict.fromkeys(typed)]
        self._tests = [_Test(glob, contents) for glob in globs]
        self._of_files = _Union(test for test in self._tests if not test.folders_only)
        self._of_folders = _Union(self._tests)

    def matching(self, folder: str, name: str, *, is_folder: bool) -> list[str]:
        """The globs, as typed, that match a name in a folder. `folder` is the path below the
        root with a slash at its end, empty for the root itself; both as `glob_text` makes them.
        """
        union = self._of_folders if is_folder else self._of_files
        if not union.match(folder, name):  # the usual answer, from one or two expressions
            return []
        return [
            test.typed
            for test in self._tests
            if (is_folder or not test.folders_only) and test.match(folder, name)
        ]


class _Test:
    """One glob, compiled."""

    def __init__(self, glob: Glob, contents: bool) -> None:
        inside = contents and (glob.folder or glob.by_path)
        self.typed = glob.typed
        self.folders_only = glob.folder and not contents
        self.by_path = glob.by_path or inside
        anywhere = "" if glob.by_path else "(?:.+/)?"
        tail = ("/.+" if glob.folder else "(?:/.+)?") if inside else ""
        self.expression = (anywhere if inside else "") + glob.expression + tail
        self._match = _compiled(self.expression).fullmatch

    def match(self, folder: str, name: str) -> bool:
        return self._match(folder + name if self.by_path else name) is not None


class _Union:
    """Two expressions for many globs: one of names, one of paths."""

    def __init__(self, tests: Iterable[_Test]) -> None:
        every = list(tests)
        names = [test.expression for test in every if not test.by_path]
        paths = [test.expression for test in every if test.by_path]
        self._name = _compiled("|".join(names)).fullmatch if names else None
        self._path = _compiled("|".join(paths)).fullmatch if paths else None

    def match(self, folder: str, name: str) -> bool:
        return bool(
            (self._name is not None and self._name(name))
            or (self._path is not None and self._path(folder + name))
        )


def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE | re.DOTALL)
