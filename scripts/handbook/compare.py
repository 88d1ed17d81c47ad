"""Whether two outputs say the same, apart from what differs from run to run."""

from __future__ import annotations

import re
from itertools import zip_longest

VARYING = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00)?"), "<date>"),
    (re.compile(r"\b\d+\.\d s\b"), "<n> s"),
    (re.compile(r"\bprocess \d+"), "process <n>"),
    (re.compile(r"\b\d[\d,]*\.\d [MG]B\b"), "<n> MB"),  # file systems differ
    (re.compile(r'"(seconds|pictures_per_second)": \d+(\.\d+)?'), r'"\1": <n>'),
    (re.compile(r'"((disk|reclaimable)_bytes)": \d+'), r'"\1": <n>'),
]
WAITED = re.compile(r"note: the server \S+ has not answered for \d+ s; still waiting")
SCORE = re.compile(r"(-?\d\.\d{3,4})")
TOLERANCE = 0.002  # of a score: another processor rounds differently


def alike(expected: str, actual: str) -> bool:
    """Whether two lines say the same, apart from times, ids and the last digits of a score."""
    for pattern, word in VARYING:
        expected, actual = pattern.sub(word, expected), pattern.sub(word, actual)
    pairs = zip_longest(SCORE.split(expected.rstrip()), SCORE.split(actual.rstrip()))
    return all(_same(number, *pair) for number, pair in enumerate(pairs))


def differences(expected: str, actual: str) -> list[tuple[str, str]]:
    """Lines of two texts that are not alike; that a busy machine waited is left out."""
    told = [line for line in actual.splitlines() if not WAITED.fullmatch(line)]
    lines = zip_longest(expected.splitlines(), told, fillvalue="")
    return [pair for pair in lines if not alike(*pair)]


def _same(number: int, expected: str | None, actual: str | None) -> bool:
    """Of a line cut at its scores: texts at even numbers, scores at odd ones."""
    if expected is None or actual is None:
        return False
    if number % 2:
        return abs(float(expected) - float(actual)) <= TOLERANCE
    return expected == actual
