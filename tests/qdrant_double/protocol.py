"""What travels between client and double: requests, answers that are no success, faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, unquote

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request, as it came in; `body` is empty where it was no JSON object."""

    method: str
    path: str  # with the query, as sent
    headers: dict[str, str]
    body: Json

    @cached_property
    def route(self) -> list[str]:
        """The parts of the path; slashes at its end do not count."""
        path = self.path.partition("?")[0].rstrip("/")
        return [unquote(part) for part in path.split("/")[1:]]

    @cached_property
    def query(self) -> dict[str, str]:
        """The parameters behind the question mark."""
        parsed = parse_qs(self.path.partition("?")[2], keep_blank_values=True)
        return {name: values[-1] for name, values in parsed.items()}


class Problem(Exception):
    """An answer that is no success: JSON in Qdrant's form, or `plain` text."""

    def __init__(
        self, status: int, words: str, *, plain: bool = False, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__(words)
        self.status = status
        self.plain = plain
        self.headers = dict(headers)


def wrong_input(words: str) -> Problem:
    """The 400 of a request that asks for something impossible."""
    return Problem(400, f"Wrong input: {words}")


def no_collection(name: str) -> Problem:
    """The 404 of a collection or alias that does not exist."""
    return Problem(404, f"Not found: Collection `{name}` doesn't exist!")


@dataclass
class Fault:
    """Something that goes wrong with the next `times` requests that `when` picks."""

    kind: str  # see faults.py
    times: int = 1
    when: Callable[[Request], bool] = lambda _request: True
    value: str | float = ""
    plain: bool = False  # a 403 as of a token that has expired, which is no JSON
    headers: dict[str, str] = field(default_factory=dict)
