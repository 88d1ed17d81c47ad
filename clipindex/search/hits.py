"""Hits: what a query finds, made of the points of a content."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from clipindex.files.identity import path_from_payload
from clipindex.stores.payload import Payload, meta_of, tags_of

Copy = tuple[uuid.UUID, Payload]  # one point of a content


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One picture found: the score is the cosine to the query, to four places, in [-1, 1]."""

    rank: int
    score: float
    path: str
    paths: tuple[str, ...]  # of every copy that matches
    id: str
    width: int
    height: int
    taken: str | None
    tags: dict[str, str] = field(default_factory=dict)
    meta: dict[str, object] = field(default_factory=dict)
    group: object = None  # the value of the key that hits are grouped by
    sha256: str = ""
    exact_path: bytes = b""  # as the file system has it
    search: str = "exact"  # or "approximate": by an index that may miss a picture
    ef: int | None = None  # how many candidates an approximate search kept
    z: float | None = None  # standard deviations above what the query scores in the collection
    fits: bool | None = None  # whether it is a picture of what was asked; None: nobody can say
    payload: Payload = field(
        default_factory=dict, repr=False, compare=False
    )  # of the point, as it is stored


def hits_of(
    own: bytes | None, copies: Iterable[Copy], content: str, score: float, *, apart: bool
) -> list[Hit]:
    """All copies of one content as one hit, shown as the query's `own` file where it is one, or
    `apart`, each as a hit of its own."""
    ordered = sorted(
        copies, key=lambda copy: (path_from_payload(copy[1]) != own, str(copy[1]["path"]))
    )
    paths = tuple(str(payload["path"]) for _, payload in ordered)
    shown = ordered if apart else ordered[:1]
    return [_hit(copy, paths, content, score) for copy in shown]


def _hit(copy: Copy, paths: tuple[str, ...], content: str, score: float) -> Hit:
    name, payload = copy
    return Hit(
        rank=0,
        score=score,
        path=str(payload["path"]),
        paths=paths,
        id=str(name),
        width=_pixels(payload.get("width")),
        height=_pixels(payload.get("height")),
        taken=None if payload.get("taken") is None else str(payload["taken"]),
        tags=dict(tags_of(payload)),
        meta=meta_of(payload),
        sha256=content,
        exact_path=path_from_payload(payload),
        payload=payload,
    )


def _pixels(value: object) -> int:
    """0 where a point does not say it: another program, or an unchecked import, wrote it."""
    return value if isinstance(value, int) else 0
