"""Pure: a table of metadata, and which of its rows belong to a picture.

One column names pictures: by path, by the end of a path, by name with or without extension, or by
a pattern with * and ?. Every other column is a field, of the kind that all its values are; a column
called `path` or alike is no field, one such as `sku` is both.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from clipindex.errors import UsageError
from clipindex.search.dates import DATE
from clipindex.stores.labels import Kind
from clipindex.stores.payload import META, TAG_KEY, Payload

KEYS = ("path", "file", "filename", "file_name", "name", "pattern", "picture", "image")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # 007 is a code, no number
TRUTH = {"true": True, "yes": True, "false": False, "no": False}
DELIMITERS = ",;\t"
HINT = "give a CSV file with a header, or JSON lines; --key names the column with the pictures"

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: what it says of the pictures that `key` names."""

    number: int  # of the line for JSON, of the record for CSV; the header is 1
    key: str
    fields: Payload


@dataclass(slots=True)
class Table:
    """The rows, found by what names a picture."""

    rows: Sequence[Row]
    kinds: Mapping[str, Kind]  # of each payload field
    used: set[int] = field(default_factory=set)  # numbers of the rows that some picture matched
    _named: dict[str, list[Row]] = field(default_factory=dict)
    _patterns: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        for row in self.rows:
            if any(sign in row.key for sign in "*?"):
                self._patterns.append(row)
            else:
                self._named.setdefault(re.split(r"[/\\]", row.key)[-1], []).append(row)

    def fields_of(self, path: str) -> Payload:
        """What the rows say of a picture; of several rows the later one holds."""
        name = re.split(r"[/\\]", path)[-1]
        stem = name.rpartition(".")[0] or name
        rows = [row for row in self._named.get(name, ()) if _ends_with(path, row.key)]
        if stem != name:
            rows += [row for row in self._named.get(stem, ()) if row.key == stem]
        rows += [row for row in self._patterns if _fits(path, name, row.key)]
        fields: Payload = {}
        for row in sorted(rows, key=lambda row: row.number):
            self.used.add(row.number)
            fields.update(row.fields)
        return fields

    def unmatched(self) -> list[Row]:
        """The rows that no picture matched so far."""
        return [row for row in self.rows if row.number not in self.used]


def _ends_with(path: str, key: str) -> bool:
    return path == key or path.endswith(("/" + key, "\\" + key))


def _fits(path: str, name: str, pattern: str) -> bool:
    if "/" not in pattern:
        return fnmatchcase(name, pattern)
    return fnmatchcase(path, pattern) or fnmatchcase(path, "*/" + pattern)


def read_table(
    data: bytes,
    name: str,
    key: str | None = None,
    texts: Iterable[str] = (),
    *,
    all_text: bool = False,
) -> Table:
    """A CSV file (UTF-8; comma, semicolon or tab) or JSON lines, told apart by the name's end.

    `key` is the column that names pictures, by default the first of KEYS that there is; columns
    in `texts`, or all, are text, whatever their values look like. Raises UsageError.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("the file is not UTF-8", path=name, hint="save it as UTF-8") from None
    is_json = name.lower().endswith((".jsonl", ".ndjson", ".json"))
    records = list(_json_lines(text, name) if is_json else _csv(text, name))
    columns = list(dict.fromkeys(column for _, record in records for column in record))
    if not records:
        raise UsageError("the file has no rows", path=name, hint=HINT)
    key = key or next((column for column in columns if column.casefold() in KEYS), None)
    if key is None or key not in columns:
        missing = f"'{key}'" if key else "that names pictures (path, name, ...)"
        listed = ", ".join(columns[:10])
        raise UsageError(
            f"the file has no column {missing}", path=name, hint=f"its columns: {listed}"
        )
    unknown = set(texts) - set(columns)
    if unknown:
        raise UsageError(f"the file has no column '{min(unknown)}'", path=name, hint=HINT)
    only_names = key.casefold() in KEYS  # any other key column is a field as well: a sku
    shown = [column for column in columns if column != key or not only_names]
    others = {column: _field(column, name) for column in shown}
    kinds = {
        other: Kind.TEXT
        if all_text or column in texts
        else _kind(record.get(column) for _, record in records)
        for column, other in others.items()
    }
    rows = [
        Row(number, str(record[key]).strip(), _fields(record, others, kinds))
        for number, record in records
        if str(record.get(key) or "").strip()
    ]
    return Table(rows, kinds)


def _csv(text: str, name: str) -> Iterable[tuple[int, Record]]:
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for number, record in enumerate(reader, 2):
            if None in record:
                raise csv.Error(f"row {number} has more fields than the header")
            yield number, {column.strip(): value for column, value in record.items()}
    except csv.Error as error:
        raise UsageError(f"the file is not CSV: {error}", path=name, hint=HINT) from error


def _json_lines(text: str, name: str) -> Iterable[tuple[int, Record]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise UsageError(f"line {number} is not a JSON object", path=name, hint=HINT)
        yield number, record


def _field(column: str, name: str) -> str:
    key = re.sub(r"[^A-Za-z0-9_]+", "_", column.strip()).strip("_")
    if not TAG_KEY.fullmatch(key):
        raise UsageError(
            f"a column is called {column!r}",
            path=name,
            hint="a name needs a letter or digit of ASCII: it is what --where takes",
        )
    return META + key


def _kind(values: Iterable[object]) -> Kind:
    """What all values are that are not empty; text otherwise."""
    given = [value for value in values if not _is_empty(value)]
    kinds = {
        Kind.BOOLEAN: _truth,
        Kind.NUMBER: _number,
        Kind.DATE: _date,
    }
    for kind, convert in kinds.items():
        if given and all(convert(value) is not None for value in given):
            return kind
    return Kind.TEXT


def _fields(record: Record, others: Mapping[str, str], kinds: Mapping[str, Kind]) -> Payload:
    fields: Payload = {}
    for column, name in others.items():
        value = record.get(column)
        if _is_empty(value):
            continue
        convert = {Kind.BOOLEAN: _truth, Kind.NUMBER: _number, Kind.DATE: _date, Kind.TEXT: _text}
        fields[name] = convert[kinds[name]](value)
    return fields


def _is_empty(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return TRUTH.get(value.strip().casefold()) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = float(value) if NUMBER.fullmatch(value := value.strip()) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _date(value: object) -> str | None:
    """A day or a time, in ISO 8601."""
    if not isinstance(value, str) or not (match := DATE.fullmatch(value.strip())):
        return None
    return value.strip().replace(" ", "T") if match[3] else None


def _text(value: object) -> object:
    if isinstance(value, list):
        return [str(item).strip() for item in value]
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()
