"""What a contact sheet shows, apart from how: a card for each picture, in sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipindex.cli.words import count_of, megabytes, printable, printable_path
from clipindex.search.hits import Hit
from clipindex.upkeep.duplicates.findings import DuplicateFile, DuplicateGroup, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One picture. `facts` are said below it, `copies` are the paths of its other files."""

    path: bytes
    sha256: str
    facts: tuple[str, ...]
    badge: str = ""
    is_best: bool = False
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Cards below a heading, or without one."""

    heading: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """`notes` are said above the pictures: that nothing fits, for example."""

    title: str
    summary: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    @property
    def cards(self) -> list[Card]:
        """All of them, in order."""
        return [card for section in self.sections for card in section.cards]


def sheet_of_hits(hits: Sequence[Hit], question: str, notes: Sequence[str]) -> Sheet:
    """The pictures that a query found; each group's value is said, where there are groups."""
    cards = tuple(map(_card_of_hit, hits))
    return Sheet(
        title=printable(question),
        summary=count_of(len(hits), "picture") if hits else "nothing found",
        sections=(Section("", cards),) if cards else (),
        notes=tuple(map(printable, notes)),
    )


def sheet_of_groups(groups: Sequence[DuplicateGroup], totals: str) -> Sheet:
    """Duplicates, the best of each group first."""
    return Sheet(
        title="Duplicates",
        summary=totals,
        sections=tuple(
            Section(
                f"Group {number:,}: {count_of(len(group.files), 'file')}"
                f"{' with the same bytes' if group.exact else ''}",
                tuple(map(_card_of_file, group.files)),
            )
            for number, group in enumerate(groups, 1)
        ),
    )


def _card_of_hit(hit: Hit) -> Card:
    shown = printable_path(hit.exact_path)
    return Card(
        path=hit.exact_path,
        sha256=hit.sha256,
        facts=tuple(_facts_of_hit(hit)),
        badge="weak" if hit.fits is False else "",
        copies=tuple(printable(path) for path in hit.paths if printable(path) != shown),
    )


def _facts_of_hit(hit: Hit) -> Iterator[str]:
    z = f", z {hit.z:.1f}" if hit.z is not None else ""
    yield f"{hit.rank}. score {hit.score:.4f}{z}"
    if hit.group is not None:
        yield printable(str(hit.group))
    yield from _date_and_size(hit.taken, hit.width, hit.height)
    match hit.payload.get("location"):
        case {"lat": int() | float() as latitude, "lon": int() | float() as longitude}:
            yield f"{latitude:.5f}, {longitude:.5f}"
    tags = ", ".join(f"{key}={value}" for key, value in hit.tags.items())
    if tags:
        yield printable(tags)


def _card_of_file(file: DuplicateFile) -> Card:
    keep = file.keep and file.role is not Role.COPY
    size = megabytes(file.bytes) if file.bytes >= 1e5 else f"{file.bytes / 1e3:.0f} kB"
    score = () if file.role is Role.BEST else (f"cosine to the best {file.score:.4f}",)
    return Card(
        path=file.exact_path,
        sha256=file.sha256,
        facts=(*_date_and_size(file.taken, file.width, file.height), size, *score),
        badge="keep" if keep else file.role.value,
        is_best=file.role is Role.BEST or keep,
    )


def _date_and_size(taken: str | None, width: int, height: int) -> Iterator[str]:
    if taken:
        yield printable(taken.replace("T", " "))
    if width and height:
        yield f"{width} × {height}"
