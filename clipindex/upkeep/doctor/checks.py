"""One line of the doctor's, and how a question becomes one whatever its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from clipindex.errors import ClipIndexError


class State(StrEnum):
    """How it is: `note` is worth knowing, and nothing needs to be done."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do about a problem."""

    name: str
    state: State
    text: str
    hint: str = ""


def ok(name: str, text: str) -> Check:
    """All is well."""
    return Check(name, State.OK, text)


def note(name: str, text: str, hint: str = "") -> Check:
    """Worth knowing."""
    return Check(name, State.NOTE, text, hint)


def problem(name: str, text: str, hint: str) -> Check:
    """Something must be done."""
    return Check(name, State.PROBLEM, text, hint)


def guarded(name: str, look: Callable[[], Iterable[Check] | Check]) -> Iterator[Check]:
    """The checks of `look`; what it raises becomes a problem of that name."""
    try:
        result = look()
        yield from [result] if isinstance(result, Check) else result
    except ClipIndexError as error:
        yield of_error(name, error)
    except Exception as error:  # a look at something broken must not end the others
        hint = "this should not happen: please report it"
        yield problem(name, f"unexpected {type(error).__name__}: {error}", hint)


def of_error(name: str, error: ClipIndexError) -> Check:
    """An error as a problem, with its hint and path."""
    where = f" ({error.path})" if error.path and error.path not in error.message else ""
    return problem(name, error.message + where, error.hint)
