"""Pure: dates as people write them, as the span of time that they mean."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from clipindex.errors import UsageError

DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?")


def span(text: str) -> tuple[str, str]:
    """When a year, month, day, minute or second begins, and when it is over, in ISO 8601.

    Raises UsageError for what is no date.

    >>> span("2024-02")
    ('2024-02-01', '2024-03-01')
    """
    match = DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (
            None if part is None else int(part) for part in match.groups()
        )
        start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0)
        if month is None:
            end = start.replace(year=start.year + 1)
        elif day is None:
            end = (start + timedelta(days=31)).replace(day=1)
        elif hour is None:
            end = start + timedelta(days=1)
        else:
            end = start + timedelta(seconds=60 if second is None else 1)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is not a date", hint="such as 2024, 2024-06, 2024-06-12 or 2024-06-12T18:30"
        ) from None
    return _iso(start), _iso(end)


def _iso(moment: datetime) -> str:
    """Without a time at midnight: as text it then comes before every time of that day."""
    text = moment.isoformat()
    return text.removesuffix("T00:00:00")
