"""What a person decides about pictures that look alike. It is bound to their contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.collection.status import open_catalogue
from clipindex.collection.verdicts import Verdicts, apart, now
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, point_id, resolve_root
from clipindex.stores.points import POINTS_AT_ONCE

DIFFERENT, KEEP = "different", "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision. `paths` has a file of each content; null where none is indexed."""

    verdict: str  # "different" or "keep"
    sha256: tuple[str, ...]
    paths: tuple[str | None, ...]
    made: str  # ISO 8601, UTC


def mark_different(place: Place, paths: Sequence[AnyPath]) -> int:
    """Say of indexed pictures that each two of them are different; returns how many pairs were
    not marked before. Raises UsageError for a file that is not indexed, and for two that have the
    same bytes."""
    with open_for_change(place, "duplicates different") as collection:
        contents = _contents(collection, paths)
        if len(contents) < 2:
            raise UsageError(
                "two pictures are different from each other: name at least two",
                hint="clipindex duplicates different ONE.jpg OTHER.jpg",
            )
        known: dict[bytes, str] = {}
        for path, digest in contents.items():
            other = known.setdefault(digest, path)
            if other != path:
                raise UsageError(
                    f"this file and {other} have the same bytes: they cannot be different",
                    path=path,
                    hint="leave one of them out",
                )
        made = now()
        pairs = {apart(one, other): made for one, other in combinations(known, 2)}
        return collection.catalogue.add_verdicts(Verdicts(different=pairs))


def mark_keep(place: Place, paths: Sequence[AnyPath]) -> int:
    """Say of indexed pictures that they are to be kept, whatever is larger; returns how many were
    not marked before. Raises UsageError for a file that is not indexed."""
    with open_for_change(place, "duplicates keep") as collection:
        contents = _contents(collection, paths)
        made = now()
        return collection.catalogue.add_verdicts(
            Verdicts(keep=dict.fromkeys(contents.values(), made))
        )


def forget_verdicts(place: Place, paths: Sequence[AnyPath]) -> int:
    """Forget every verdict about indexed pictures; no path: every one. Returns how many."""
    with open_for_change(place, "duplicates forget") as collection:
        contents = set(_contents(collection, paths).values())
        if not paths:
            verdicts = collection.catalogue.verdicts()
            contents = {*verdicts.keep, *(one for one, _ in verdicts.different)}
        return collection.catalogue.forget_verdicts(contents)


def verdicts_of(place: Place) -> list[Verdict]:
    """Every verdict, the latest last; nothing is locked."""
    located = place.locate()
    located.require()
    with open_catalogue(located) as catalogue:
        if catalogue is None:
            return []
        verdicts = catalogue.verdicts()
        named: list[tuple[str, tuple[bytes, ...], str]] = [
            (DIFFERENT, pair, made) for pair, made in verdicts.different.items()
        ]
        named += [(KEEP, (digest,), made) for digest, made in verdicts.keep.items()]

        def path(digest: bytes) -> str | None:
            copies = catalogue.indexed_copies(digest, 1)
            return display_path(copies[0]) if copies else None

        return [
            Verdict(
                verdict=verdict,
                sha256=tuple(digest.hex() for digest in digests),
                paths=tuple(map(path, digests)),
                made=made,
            )
            for verdict, digests, made in sorted(named, key=lambda named: (named[2], named[1]))
        ]


def _contents(collection: Collection, paths: Sequence[AnyPath]) -> dict[str, bytes]:
    """The contents of indexed files, by path as it is shown."""
    contents: dict[str, bytes] = {}
    names = iter(dict.fromkeys(map(resolve_root, paths)))
    while batch := list(islice(names, POINTS_AT_ONCE)):
        ids = {point_id(collection.source, name): name for name in batch}
        points = collection.points.retrieve(list(ids))
        for point, name in ids.items():
            if point not in points:
                raise UsageError(
                    "this file is not indexed",
                    path=display_path(name),
                    hint="correct the path, or ingest it first",
                )
            contents[display_path(name)] = bytes.fromhex(str(points[point].payload["sha256"]))
    return contents
