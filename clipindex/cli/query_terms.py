"""The arguments of a query as its terms: which of them are texts, and which are pictures.

An argument that names an existing file is a picture. Several bare words together are one text, as
if they had been quoted; among several, only a word with a slash or a picture's extension may be a
file, so that a file or folder called `beach` gets in nobody's way. An argument with spaces is a
text of its own, `2*dog` weighs a term, `-` reads standard input.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from clipindex.cli import streams
from clipindex.errors import UsageError
from clipindex.files.addresses import is_address
from clipindex.pictures.formats import OTHER_PICTURE_NAMES, PICTURE_NAMES
from clipindex.search.terms import Term, TermKind, check_is_file, parse_term

EXTENSIONS = tuple(map(os.fsdecode, (*PICTURE_NAMES, *OTHER_PICTURE_NAMES)))
STDIN = "-"
SHOWN_OF_A_QUESTION = 200  # characters
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
IsKnown = Callable[[str], bool]
ROOTED = ("/", "./", "../", "~/", ".\\", "..\\", "~\\")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the arguments were read: the terms, and what the user should be told about it."""

    terms: tuple[Term, ...]
    notes: tuple[str, ...] = ()


def read_terms(
    words: Sequence[str],
    minus: Sequence[str] = (),
    images: Sequence[str] = (),
    texts: Sequence[str] = (),
    is_known: IsKnown = lambda _path: False,
) -> Reading:
    """All terms of a query, weighted; what `minus` names is subtracted. `is_known` says of a path
    without a file whether the index still has the picture.

    Raises UsageError where there is none, or one names a picture that does not exist.
    """
    if [*words, *minus, *images, *texts].count(STDIN) > 1:
        raise UsageError("'-' is given twice", hint="standard input can be read only once")
    notes: list[str] = []
    terms = _arguments(words, notes, is_known)
    terms += [_stdin_or(Term(image, TermKind.IMAGE)) for image in images]
    terms += [_stdin_or(_text(text)) for text in texts]
    less = [_term(term, notes, is_known) for term in minus]
    terms += [replace(term, weight=-term.weight) for term in less]
    if not terms:
        raise UsageError(
            "nothing to search for",
            hint='name a text or a picture: clipindex query "a dog on a beach"',
        )
    return Reading(tuple(terms), tuple(notes))


def _arguments(words: Sequence[str], notes: list[str], is_known: IsKnown) -> list[Term]:
    if not all(words):
        raise UsageError("an empty text finds nothing", hint="name something to search for")
    if len(words) == 1:
        return [_term(words[0], notes, is_known)]
    terms: list[Term] = []
    for bare, group in groupby(words, _is_bare):
        run = list(group)
        if not bare:
            terms += [_term(word, notes, is_known) for word in run]
            continue
        text = " ".join(run)
        if len(run) > 1:
            notes.append(f'searching for "{text}" as one text; quote each to add several')
        terms.append(_text(text))
    return terms


def _is_bare(word: str) -> bool:
    """Whether a word among several belongs to a text."""
    return not (
        word == STDIN
        or _has_spaces(word)
        or parse_term(word).value != word
        or _looks_like_picture(word)
        or is_address(os.fsencode(word))
        or (any(separator in word for separator in SEPARATORS) and _exists(word))
    )


def _term(word: str, notes: list[str], is_known: IsKnown) -> Term:
    """One argument that stands for itself."""
    if word == STDIN:
        return Term(_standard_input())
    if os.path.isfile(os.fsencode(word)) or is_address(os.fsencode(word)):
        return Term(word, TermKind.IMAGE)
    weighted = parse_term(word)
    if weighted.value != word:
        return replace(_term(str(weighted.value), notes, is_known), weight=weighted.weight)
    if os.path.isdir(os.fsencode(word)) and not _looks_like_picture(word):
        notes.append(f'searching for the text "{word}"; the folder of that name is not looked at')
    elif _looks_like_picture(word) and not _exists(word) and is_known(word):
        return Term(word, TermKind.IMAGE)
    elif _exists(word) or _looks_like_picture(word):
        check_is_file(os.fsencode(word), word)
    return _text(word)


def _text(text: str) -> Term:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"the text '{text}' is not UTF-8",
            hint="set the terminal and its locale to UTF-8, or pipe the text in: clipindex query -",
        ) from None
    return Term(text, TermKind.TEXT)


def _standard_input() -> bytes:
    data = streams.read_input()
    if not data.strip():
        raise UsageError(
            "standard input is empty",
            hint="'-' reads a text or a picture from it: clipindex query - < cat.jpg",
        )
    return data


def _stdin_or(term: Term) -> Term:
    return replace(term, value=_standard_input()) if term.value == STDIN else term


def _looks_like_picture(word: str) -> bool:
    """A path, by its extension, or because it says where to look: below something that exists."""
    if word.lower().endswith(EXTENSIONS) or word.startswith(ROOTED):
        return True
    folder = os.path.dirname(word)
    return bool(folder) and not _has_spaces(word) and _exists(folder)


def _has_spaces(word: str) -> bool:
    return any(character.isspace() for character in word)


def _exists(word: str) -> bool:
    return os.path.lexists(os.fsencode(word))


def question_of(terms: Sequence[Term]) -> str:
    """What was asked, in a line: texts as they are, pictures by their names.

    >>> question_of([Term("a dog"), Term("people", weight=-1.0), Term("fog", weight=2.0)])
    'a dog − people + 2*fog'
    """
    said = "".join(_said(term) for term in terms).removeprefix(" + ").strip()
    return said if len(said) <= SHOWN_OF_A_QUESTION else said[:SHOWN_OF_A_QUESTION] + "…"


def _said(term: Term) -> str:
    if isinstance(term.value, bytes):
        what = "standard input"
    elif term.kind is TermKind.IMAGE:
        what = os.path.basename(term.value)
    else:
        what = term.value
    weight = abs(term.weight)
    sign = "−" if term.weight < 0 else "+"
    return f" {sign} {what}" if weight == 1 else f" {sign} {weight:g}*{what}"
