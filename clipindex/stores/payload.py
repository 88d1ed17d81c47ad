"""The payload of a point: flat, small, documented, its names stable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipindex.errors import UsageError
from clipindex.files.identity import display_path, exact_path, folders_of
from clipindex.files.times import storable_time
from clipindex.pictures.preprocessing import Way

if TYPE_CHECKING:
    from clipindex.files.file_system import FileRecord
    from clipindex.pictures.exif import PictureFacts  # a query has no use for it

PAYLOAD_SCHEMA = 1
Payload = dict[str, object]
Tags = Mapping[str, str]

TAG = "tag_"  # a user's tags
DECODED = "decoded"  # which `Way` its pixels were made; belongs to the vector
META = "meta_"  # metadata from elsewhere: reserved, so that imports accept it
TAG_KEY = re.compile(r"[A-Za-z0-9_]+")

# A server's keyword indexes. The embedded engine reads an index whole at each open (10 ms a field
# for 10,000 points), so it has none, and `lookup` answers.
INDEXED_FIELDS = ("folders", "sha256", "source", "path")
# A server's further ones, each of its kind: what filters ask of a picture.
FILTERED_FIELDS = {
    "taken": "datetime",
    "camera": "keyword",
    "format": "keyword",
    "orientation": "keyword",
    "bytes": "integer",
    "width": "integer",
    "height": "integer",
    "location": "geo",
}


def path_fields(path: bytes) -> Payload:
    """The fields made from a path; `folders` lists every folder above the file, so that `--under`
    is an exact match. `path_b64` is None where the text is exact."""
    return {
        "path": display_path(path),
        "path_b64": exact_path(path),
        "folders": [display_path(folder) for folder in folders_of(path)],
        "name": display_path(os.path.basename(path)),
    }


def make_payload(
    source: str, record: FileRecord, sha256: bytes, facts: PictureFacts, tags: Tags
) -> Payload:
    """Everything that is stored of a file beside its vector, without the facts that are unknown.

    Raises UsageError for a tag value that is not UTF-8.
    """
    location = facts.location
    payload: Payload = {
        "source": source,
        **path_fields(record.path),
        "sha256": sha256.hex(),
        "bytes": record.size,
        "mtime_ns": record.mtime_ns,
        "width": facts.width,
        "height": facts.height,
        "orientation": orientation(facts.width, facts.height),
        "format": facts.format,
        "taken": facts.taken,
        "camera": facts.camera,
        "location": location and {"lat": location[0], "lon": location[1]},
        DECODED: facts.decoded and facts.decoded.value,
        **tag_fields(tags),
        "indexed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "schema": PAYLOAD_SCHEMA,
    }
    return {name: value for name, value in payload.items() if value is not None}


def orientation(width: int, height: int) -> str:
    """`landscape`, `portrait` or `square`, as the picture is seen: an engine compares no two
    fields with one another."""
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


def orientation_of(payload: Payload) -> str | None:
    """The orientation of a stored picture; None where its size is not known. Versions up to
    0.2.0 stored the size alone."""
    width, height = payload.get("width"), payload.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and width and height):
        return None
    return orientation(width, height)


def facts_from_payload(payload: Payload) -> PictureFacts:
    """The facts of a picture that is stored already: its copies share them."""
    from clipindex.pictures.exif import PictureFacts  # a query has no use for it

    location = payload.get("location")
    return PictureFacts(
        width=_int(payload["width"]),
        height=_int(payload["height"]),
        format=str(payload["format"]),
        taken=_text(payload.get("taken")),
        camera=_text(payload.get("camera")),
        location=(float(location["lat"]), float(location["lon"]))
        if isinstance(location, dict)
        else None,
        decoded=Way(str(payload[DECODED])) if DECODED in payload else None,
    )


def with_vector_of(payload: Payload, other: Payload) -> Payload:
    """A payload for the vector that the point of the `other` payload has."""
    fields = {name: value for name, value in payload.items() if name != DECODED}
    return {**fields, DECODED: other[DECODED]} if DECODED in other else fields


def mtime_of(payload: Payload) -> int:
    """A stored file time in nanoseconds; earlier versions also stored times beyond 64 bits."""
    value = payload["mtime_ns"]
    return storable_time(value if isinstance(value, int | float) else int(str(value)))


def tags_of(payload: Payload) -> Tags:
    """The user's tags: `tag_KEY` fields, without the prefix."""
    return {
        name.removeprefix(TAG): str(value)
        for name, value in sorted(payload.items())
        if name.startswith(TAG)
    }


def meta_of(payload: Payload) -> Payload:
    """Metadata that people joined: `meta_KEY` fields, without the prefix."""
    return {
        name.removeprefix(META): value
        for name, value in sorted(payload.items())
        if name.startswith(META)
    }


def meta_fields(payload: Payload) -> Payload:
    """The same as it is stored."""
    return {name: value for name, value in payload.items() if name.startswith(META)}


def tag_fields(tags: Tags) -> Payload:
    """Tags as payload fields. Raises UsageError for a value that no store can hold."""
    for value in tags.values():
        _check_value(value)
    return {TAG + key: value for key, value in tags.items()}


def parse_tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises UsageError for a tag that no field can hold."""
    key, equals, value = text.partition("=")
    if not equals or not TAG_KEY.fullmatch(key):
        raise UsageError(
            f"{text!r} is not a tag",
            hint="write KEY=VALUE; a key has letters, digits and '_'",
        )
    _check_value(value)
    return key, value


def parse_tags(texts: Iterable[str]) -> Tags:
    """Several `KEY=VALUE`. Raises UsageError as `parse_tag` does, and for two values of a key."""
    tags: dict[str, str] = {}
    for key, value in map(parse_tag, texts):
        if tags.setdefault(key, value) != value:
            raise UsageError(
                f"the tag '{key}' is given twice", hint="a picture has one value of each tag"
            )
    return tags


def check_key(key: str) -> None:
    """Raises UsageError for a key that no tag can have."""
    if not TAG_KEY.fullmatch(key):
        raise UsageError(f"{key!r} is not a tag's key", hint="use letters, digits and '_'")


def _check_value(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the tag value {value!r} is not UTF-8",
            hint="set it again with --tag, in a terminal that uses UTF-8",
        ) from None


def _int(value: object) -> int:
    return int(str(value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
