"""Pure: from pairs that show the same picture to groups, the best picture of each first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from clipindex.collection.verdicts import Apart, apart
from clipindex.upkeep.duplicates.contents import Contents, File

Edge = tuple[float, int, int]  # how much two contents differ, and their numbers


def grouped(
    edges: Iterable[Edge], digests: Sequence[bytes], different: Collection[Apart]
) -> list[list[int]]:
    """Contents that are connected, the most alike connected first; two that a person called
    different are never in one group, whatever connects them."""
    foes: dict[int, set[int]] = {}
    for one, other in _known(different, digests):
        foes.setdefault(one, set()).add(other)
        foes.setdefault(other, set()).add(one)
    group_of: dict[int, list[int]] = {}
    for _, one, other in sorted(edges):
        first, second = (group_of.setdefault(number, [number]) for number in (one, other))
        if first is second:
            continue
        if foes and any(foes.get(number, set()).intersection(second) for number in first):
            continue
        if len(first) < len(second):
            first, second = second, first
        first += second
        for number in second:
            group_of[number] = first
    groups = {id(group): group for group in group_of.values() if len(group) > 1}
    return list(groups.values())


def _known(different: Collection[Apart], digests: Sequence[bytes]) -> Iterable[tuple[int, int]]:
    numbers = {digest: number for number, digest in enumerate(digests)} if different else {}
    for one, other in different:
        if one in numbers and other in numbers:
            yield numbers[one], numbers[other]


def separated(edges: Iterable[Edge], digests: Sequence[bytes], different: Collection[Apart]) -> int:
    """How many pairs that look the same a verdict keeps apart."""
    if not different:
        return 0
    return sum(apart(digests[one], digests[other]) in different for _, one, other in edges)


def best_first(group: Sequence[int], contents: Contents, keep: Collection[bytes]) -> list[int]:
    """What is to be kept first, then by pixels, bytes, age (the oldest first) and path."""

    def rank(number: int) -> tuple[bool, int, int, int, bytes]:
        file = oldest_first(contents.files[number])[0]
        return (
            contents.digests[number] not in keep,
            -file.width * file.height,
            -file.bytes,
            file.mtime_ns,
            file.path,
        )

    return sorted(group, key=rank)


def oldest_first(files: Sequence[File]) -> list[File]:
    """Copies of one content, which differ in age and path alone."""
    return sorted(files, key=lambda file: (file.mtime_ns, file.path, file.source))
