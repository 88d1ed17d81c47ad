"""Many queries, one a line, answered with one model and one open collection, as JSON lines.

A line is a text or the path of a picture, read as a single argument of `query` is, or an object:

    {"id": 7, "text": "a dog", "image": "beach.jpg", "minus": "people", "limit": 3}
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clipindex.cli.hit_options import MOST_HITS
from clipindex.cli.output import Output, error_fields
from clipindex.cli.query_terms import STDIN, IsKnown, read_terms
from clipindex.cli.results import hit_fields
from clipindex.errors import ClipIndexWarning, ExitCode, UsageError
from clipindex.files.user_folders import expand_user
from clipindex.search.known_pictures import is_known
from clipindex.search.query import QueryOptions
from clipindex.search.terms import Term

if TYPE_CHECKING:
    from clipindex.index import Index

WORDS = ("text", "image", "minus")
FIELDS = ("id", *WORDS, "limit")


@dataclass(frozen=True, slots=True)
class Question:
    """What a line asks; `limit` is None where the command's own holds."""

    terms: tuple[Term, ...]
    notes: tuple[str, ...] = ()
    limit: int | None = None


def answer_batch(index: Index, file: Path, options: QueryOptions, output: Output) -> int:
    """Answer each line of a file, or of standard input, as soon as it is read. A line that cannot
    be answered is an error in its place, and makes the exit code 3.

    Raises UsageError when the file cannot be read, and whatever the next line would meet as well:
    StoreError, ModelError and their kin.
    """
    answered = failed = 0
    with _lines_of(file) as lines, index:
        for number, raw in enumerate(lines, 1):
            line = os.fsdecode(raw).strip()
            if not line:
                continue
            facts: dict[str, object] = {"line": number, "id": None, "query": line}
            try:
                given = _object(line) if line.startswith("{") else None
                facts |= {} if given is None else {"id": given.get("id"), "query": given}
                question = read_question(line, given, partial(is_known, index.place))
                answer = _answer(index, question, options)
            except UsageError as error:
                output.record({"type": "error", **facts, **error_fields(error)})
                failed += 1
            else:
                output.record({"type": "answer", **facts, **answer})
                answered += 1
            output.done = f"{answered:,} answered, {failed:,} not"
    return ExitCode.ATTENTION if failed else ExitCode.DONE


def read_question(line: str, given: Mapping[str, Any] | None, is_known: IsKnown) -> Question:
    """A line as a question; `given` is the object in it, if it is one. Raises UsageError."""
    if given is None:
        _refuse_stdin([line])
        reading = read_terms([line], is_known=is_known)
        return Question(reading.terms, reading.notes)
    if unknown := [name for name in given if name not in FIELDS]:
        raise UsageError(f"{unknown[0]!r} is no field of a query", hint=", ".join(FIELDS))
    texts, images, minus = (_words(given, name) for name in WORDS)
    limit = given.get("limit")
    if limit is not None and not (type(limit) is int and 1 <= limit <= MOST_HITS):
        raise UsageError(f"the limit is not a whole number from 1 to {MOST_HITS:,}")
    reading = read_terms((), minus, images, texts, is_known)
    return Question(reading.terms, reading.notes, limit)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("the line begins with { and is not JSON") from None
    assert isinstance(value, dict)  # it begins with {
    return value


def _words(given: Mapping[str, Any], name: str) -> list[str]:
    value = given.get(name)
    words = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"'{name}' is neither a text nor a list of texts")
    _refuse_stdin(words)
    return words


def _refuse_stdin(words: list[str]) -> None:
    if STDIN in words:
        raise UsageError("'-' means standard input, which no line of a batch can read")


def _answer(index: Index, question: Question, options: QueryOptions) -> dict[str, object]:
    limit = options.limit if question.limit is None else question.limit
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClipIndexWarning)
        hits = index.query(question.terms, replace(options, limit=limit))
    notes = [*question.notes, *(str(warning.message) for warning in caught)]
    return {"hits": list(map(hit_fields, hits)), "notes": notes}


@contextmanager
def _lines_of(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == STDIN:
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint="--batch - reads queries from it")
        yield sys.stdin.buffer
        return
    path = expand_user(file)
    try:
        opened = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(
            f"the queries cannot be read: {error.strerror}",
            path=str(path),
            hint="name a file with a query on each line, or - for standard input",
        ) from error
    with opened:
        yield opened
