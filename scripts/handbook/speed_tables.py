"""The speed page's tables, from the JSON of `python -m benchmarks.compare --json FILE`."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.report import overview

TABLE = re.compile(r"(<!-- table: (?P<name>[^>]+) -->\n\n)(?:\|.*\n)*")


def with_tables(page: str, results: dict[str, Any]) -> str:
    """The page with the measured tables below their marks. Raises KeyError for an unknown one."""
    tables = overview(results)
    return TABLE.sub(lambda mark: f"{mark[1]}{tables[mark['name']]}\n", page)
