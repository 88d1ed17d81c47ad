"""What a token that sees a part of the index may write: pictures of that very part.

They get its conditions as tags, and lie in a folder that is called like these. So an id names one
picture of a part: nobody learns which ids another one has used, or replaces its pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote

from clipindex.search.scoped import Scope
from clipindex.serve.access import Access
from clipindex.serve.problems import Problem

LONGEST = 150  # characters of a folder's name


def part_of(scope: Scope) -> str:
    """The name of the part with these conditions; empty for the whole index. It contains a sign
    that no id has."""
    name = "&".join(sorted(f"{one.key}={quote(one.value, safe='')}" for one in scope))
    if len(name) <= LONGEST:
        return name
    return hashlib.sha256(name.encode()).hexdigest() + "="


def tags_of(part: str) -> dict[str, str]:
    """The tags that every picture of a part has, as far as its name says."""
    pairs = parse_qsl(part)
    keys = [key for key, _ in pairs]
    return {key: value for key, value in pairs if keys.count(key) == 1}


def tags_within(
    access: Access, tags: Mapping[str, str], guarded: Collection[str]
) -> dict[str, str]:
    """The tags of a picture so that its sender may see it: the conditions of its token join those
    that it gave. `guarded`: keys by which tokens are told apart.

    Raises Problem 403 for a picture that would be another's.
    """
    if not access.scope:
        return dict(tags)
    allowed: dict[str, list[str]] = {}
    for one in access.scope:
        allowed.setdefault(one.key, []).append(one.value)
    for key, value in tags.items():
        if key not in allowed and key in guarded:
            raise Problem(403, f"this token may not set the tag '{key}'", "leave it out")
        if value not in allowed.get(key, [value]):
            words = " or ".join(f"{key}={value}" for value in allowed[key])
            raise Problem(403, f"this token may only write pictures with {words}", "leave it out")
    result = dict(tags)
    for key, values in allowed.items():
        if key not in result and len(values) > 1:
            words = " or ".join(f"{key}={value}" for value in values)
            raise Problem(403, f"a picture of this token has one of {words}", "give it as a tag")
        result.setdefault(key, values[0])
    return result
