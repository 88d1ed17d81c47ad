r"""Text for people: counts, and names that cannot steer a terminal.

A character that could move the cursor, colour the screen, ring the bell, break a line or turn the
text around is shown as its escape: `\x1b`, `\u202e`, `\U000e0001`. Letters of every script, wide
and non-breaking spaces, joiners and emoji stay as they are: they are parts of real file names.
"""

from __future__ import annotations

import re

UNSAFE = (
    r"\x00-\x1f\x7f-\x9f"  # control characters, of which U+009B starts an escape sequence too
    r"\u2028\u2029"  # line and paragraph separators
    r"\u202a-\u202e\u2066-\u2069"  # direction overrides and isolates
    r"\ud800-\udfff"  # surrogates: bytes that were not UTF-8
    r"\ufeff\ufff9-\ufffb\U000e0001"
)
# A backslash of a name that would read as one of our escapes, or as half of a doubled one.
AMBIGUOUS = rf"\\(?=\\|x[0-9a-f]{{2}}|u[0-9a-f]{{4}}|U[0-9a-f]{{8}}|[{UNSAFE}])"


def count_of(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `2 files`, `1,204 files`; `plural` where an `s` does not make it.

    >>> count_of(1, "copy", "copies"), count_of(1204, "file")
    ('1 copy', '1,204 files')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def megabytes(number: int) -> str:
    """Bytes for people, in powers of ten as `df -H` and file managers count.

    >>> megabytes(12_345_678), megabytes(2_500_000_000)
    ('12.3 MB', '2.5 GB')
    """
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def quotes(message: str, name: str) -> bool:
    """Whether a message quotes a name or path; one such as `link` may also be a word of it."""
    return repr(name) in message or ("/" in name and name in message)


def printable(text: str) -> str:
    """Text for one line of a terminal or a log: what could steer it as escapes."""
    if text.isprintable():  # nearly always, and then no pattern need be compiled
        return text
    return re.sub(f"[{UNSAFE}]", _escape, text)


def printable_path(path: bytes) -> str:
    r"""A path for one line, escaped so that it can be turned back: a byte that is not UTF-8 as
    `\xNN`, and the backslash of a name that would read as an escape twice."""
    text = path.decode("utf-8", "surrogateescape")
    if "\\" in text:
        text = re.sub(AMBIGUOUS, r"\\\\", text)
    return printable(text)


def printable_json(line: str) -> str:
    """A line of JSON: the same characters as JSON's own escapes."""
    if line.isprintable():
        return line
    return re.sub(f"[{UNSAFE}]", _escape_in_json, line)


def _escape_in_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)
    )


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # as Python keeps a byte that is not UTF-8
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
