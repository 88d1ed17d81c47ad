"""Which pictures a query looks at, as people say it, made into conditions on payload fields.

What is left out for lack of a date, a place or a camera is counted, and a tag that no picture has
is told: an empty result would not say why it is empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from clipindex.errors import UsageError
from clipindex.files.access import is_file
from clipindex.files.addresses import is_address
from clipindex.files.identity import display_path, resolve_root
from clipindex.search.dates import span
from clipindex.stores.filter import Filter, Near, Range
from clipindex.stores.labels import Kind
from clipindex.stores.payload import META, TAG
from clipindex.stores.points import ReadablePoints

Bound = float | str

SHOWN = 8  # values or keys named in a note
OPTIONAL = {  # fields that a picture may lack, and how a note says so
    "taken": "without a date",
    "location": "without a place",
    "camera": "without a known camera",
    "orientation": "indexed before clipindex kept their orientation (`clipindex reindex` adds it)",
}
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a tag or on metadata; `sign` is one of = < <= > >=."""

    key: str
    sign: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFilter:
    """Which pictures are wanted. All that is given must hold; of several values of one thing, any.

    Dates are the camera's local time, ISO 8601: a picture is taken at or after `since`, and before
    `before`. `near` is latitude, longitude and metres.
    """

    since: str | None = None
    before: str | None = None
    cameras: tuple[str, ...] = ()  # a part of the name, in any case
    near: tuple[float, float, float] | None = None
    formats: tuple[str, ...] = ()
    orientations: tuple[str, ...] = ()
    min_bytes: int | None = None
    min_width: int | None = None
    min_height: int | None = None
    where: tuple[Condition, ...] = ()  # several values of one key: any of them
    where_not: tuple[Condition, ...] = ()


EVERY_PICTURE = PictureFilter()


def below(folders: Iterable[Path]) -> tuple[str, ...]:
    """Folders as payloads name them."""
    return tuple(display_path(resolve_root(folder)) for folder in folders)


def filter_of(
    points: ReadablePoints, wanted: PictureFilter, folders: Sequence[Path] = ()
) -> tuple[Filter, list[str]]:
    """The filter, and notes on what it leaves out.

    Raises UsageError for a camera that took none of the pictures, and a value that does not fit
    what a key contains.
    """
    only = Filter()
    if folders:
        names = below(folders)
        only = (
            only.also(("folders", names[0]))
            if len(names) == 1
            else only.also_among("folders", names)
        )
    folders_only = only
    only = _facts(only, points, wanted)
    only, notes = _labels(only, points, wanted)
    return only, [*_lacking(points, only, folders_only), *notes]


def _facts(only: Filter, points: ReadablePoints, wanted: PictureFilter) -> Filter:
    ranges = list(only.ranges)
    if wanted.since is not None or wanted.before is not None:
        ranges.append(Range(field="taken", gte=wanted.since, lt=wanted.before))
    least = {"bytes": wanted.min_bytes, "width": wanted.min_width, "height": wanted.min_height}
    ranges += [Range(field=name, gte=most) for name, most in least.items() if most is not None]
    only = replace(only, ranges=tuple(ranges))
    if wanted.near is not None:
        only = replace(only, near=(Near("location", *wanted.near),))
    if wanted.cameras:
        only = only.also_among("camera", _cameras(points, wanted.cameras))
    if wanted.formats:
        only = only.also_among("format", wanted.formats)
    if wanted.orientations:
        only = only.also_among("orientation", wanted.orientations)
    return only


def _cameras(points: ReadablePoints, parts: Sequence[str]) -> list[str]:
    """The full names of the cameras that are meant."""
    known = [str(name) for name in points.values("camera")]
    names: list[str] = []
    for part in parts:
        meant = [name for name in known if part.casefold() in name.casefold()]
        if not meant:
            raise UsageError(
                f"no picture was taken with a camera called '{part}'",
                hint=f"the cameras: {_listed(known)}" if known else "no picture names its camera",
            )
        names += meant
    return list(dict.fromkeys(names))


def _lacking(points: ReadablePoints, only: Filter, folders: Filter) -> Iterator[str]:
    """How many of the pictures cannot match, because they do not say what is asked for."""
    for field in sorted(only.wanted() & set(OPTIONAL)):
        count = points.count(folders.also_absent(field))
        if count == 1:
            yield f"1 picture {OPTIONAL[field].replace('their', 'its')} is left out"
        elif count:
            yield f"{count:,} pictures {OPTIONAL[field]} are left out"


def _labels(
    only: Filter, points: ReadablePoints, wanted: PictureFilter
) -> tuple[Filter, list[str]]:
    if not (wanted.where or wanted.where_not):
        return only, []
    known = points.labels()
    notes: list[str] = []
    equal: dict[str, list[str]] = {}
    for condition in wanted.where:
        field, kind = _field_of(condition, known, notes)
        if kind in (Kind.TEXT, None) and condition.sign == "=":
            equal.setdefault(field, []).append(condition.value)
        else:
            only = _narrowed(only, field, kind, condition)
    for field, values in equal.items():
        several = list(dict.fromkeys(values))
        only = (
            only.also((field, several[0])) if len(several) == 1 else only.also_among(field, several)
        )
    for condition in wanted.where_not:
        field, kind = _field_of(condition, known, notes)
        without = _narrowed(Filter(), field, kind, condition)
        only = replace(
            only,
            differs=(*only.differs, *without.equals),
            beyond=(*only.beyond, *without.ranges),
        )
    return only, notes


def _field_of(
    condition: Condition, known: dict[str, Kind], notes: list[str]
) -> tuple[str, Kind | None]:
    """The payload field of a key, a tag or else metadata, and what it contains."""
    for prefix in (TAG, META):
        if (kind := known.get(prefix + condition.key)) is not None:
            return prefix + condition.key, kind
    names = sorted({name.split("_", 1)[1] for name in known})
    note = f"no picture has a tag or metadata called '{condition.key}'"
    if note not in notes and not any(other.startswith(note) for other in notes):
        notes.append(note + _suggestion(condition.key, names))
    return TAG + condition.key, None


def check_folder(points: ReadablePoints, folder: Path) -> None:
    """Raises UsageError when nothing is indexed below it: it is mistyped, or no folder."""
    if any(True for _ in points.scroll(Filter().also_among("folders", below([folder])))):
        return
    path = resolve_root(folder)
    if not is_address(path) and is_file(path):
        raise UsageError(
            "this is a file, and --under takes a folder",
            path=display_path(path),
            hint="name the folder that it is in",
        )
    raise UsageError(
        "nothing is indexed below this folder",
        path=display_path(path),
        hint="correct --under, or ingest the folder first; `clipindex status` lists the folders",
    )


def check_group(points: ReadablePoints, key: str) -> None:
    """Raises UsageError for a key that no picture has."""
    known = points.labels()
    if not {TAG + key, META + key} & known.keys():
        names = sorted({name.split("_", 1)[1] for name in known})
        raise UsageError(
            f"no picture has a tag or metadata called '{key}'{_suggestion(key, names)}",
            hint="`clipindex tags` lists them",
        )


def _narrowed(only: Filter, field: str, kind: Kind | None, condition: Condition) -> Filter:
    """The filter with a condition on a field that contains this kind of values."""
    if kind is None or (kind is Kind.TEXT and condition.sign == "="):
        return only.also((field, condition.value))  # no picture has the field, or any text
    if kind is Kind.BOOLEAN:
        truth = TRUTH.get(condition.value.casefold())
        if truth is None or condition.sign != "=":
            message = f"'{condition.key}' is true or false"
            raise UsageError(message, hint=f"write {condition.key}=true")
        return only.also((field, truth))
    if kind is Kind.NUMBER:
        number = _number(condition)
        bounds = _bounds(condition.sign, number, number)
    else:
        start, end = span(condition.value)
        bounds = _bounds(condition.sign, start, end)
        if condition.sign in ("=", "<="):  # the end itself is outside
            bounds["lt"] = bounds.pop("lte")
        elif condition.sign == ">":
            bounds["gte"] = bounds.pop("gt")
    return replace(only, ranges=(*only.ranges, Range(field=field, **bounds)))


def _bounds(sign: str, start: Bound, end: Bound) -> dict[str, Bound]:
    """The bounds of a comparison with what goes from `start` to `end`."""
    every: dict[str, dict[str, Bound]] = {
        "=": {"gte": start, "lte": end},
        "<": {"lt": start},
        "<=": {"lte": end},
        ">": {"gt": end},
        ">=": {"gte": start},
    }
    return every[sign]


def _number(condition: Condition) -> float:
    try:
        number = float(condition.value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(
            f"'{condition.key}' contains numbers, and '{condition.value}' is none",
            hint=f"write {condition.key}{condition.sign}50",
        )
    return number


def unknown_values(points: ReadablePoints, wanted: PictureFilter) -> Iterator[str]:
    """What to say where nothing was found: a value that no picture has of a key that some have."""
    known = points.labels() if wanted.where else {}
    for condition in wanted.where:
        fields = [prefix + condition.key for prefix in (TAG, META)]
        field = next((name for name in fields if known.get(name) is Kind.TEXT), None)
        if field is None or condition.sign != "=":
            continue
        values = sorted(map(str, points.values(field)))
        if condition.value not in values:
            note = f"no picture has {condition.key}={condition.value}"
            yield note + _suggestion(condition.value, values)


def _suggestion(word: str, known: Sequence[str]) -> str:
    if close := get_close_matches(word, known, n=1):
        return f"; did you mean '{close[0]}'?"
    return f"; there are: {_listed(known)}" if known else "; no picture has any"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
