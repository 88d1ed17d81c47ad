"""The payload of a point: flat, small, documented, its names stable."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipindex.errors import UsageError
from clipindex.files.identity import display_path, exact_path, folders_of

if TYPE_CHECKING:
    from clipindex.files.walk import FileRecord
    from clipindex.pictures.exif import PictureFacts

PAYLOAD_SCHEMA = 1
Payload = dict[str, object]
Tags = Mapping[str, str]

TAG = "tag_"
TAG_KEY = re.compile(r"[A-Za-z0-9_]+")

# Keyword indexes in every store: what a query filters by. The embedded engine reads them whole
# at each start (2 ms for 10,000 points and field), so it has no others.
INDEXED_FIELDS = ("folders", "sha256")


def path_fields(path: bytes) -> Payload:
    """The fields that a path makes; `folders` lists every folder above the file, so that
    `--under` is an exact match. `path_b64` is None where the text is exact."""
    return {
        "path": display_path(path),
        "path_b64": exact_path(path),
        "folders": [display_path(folder) for folder in folders_of(path)],
        "name": display_path(os.path.basename(path)),
    }


def make_payload(
    source: str, record: FileRecord, sha256: bytes, facts: PictureFacts, tags: Tags
) -> Payload:
    """Everything a store keeps of a file beside its vector; unknown facts are left out."""
    latitude_longitude = facts.location
    payload: Payload = {
        "source": source,
        **path_fields(record.path),
        "sha256": sha256.hex(),
        "bytes": record.size,
        "mtime_ns": record.mtime_ns,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
        "taken": facts.taken,
        "camera": facts.camera,
        "location": latitude_longitude
        and {"lat": latitude_longitude[0], "lon": latitude_longitude[1]},
        **tag_fields(tags),
        "indexed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "schema": PAYLOAD_SCHEMA,
    }
    return {name: value for name, value in payload.items() if value is not None}


def facts_from_payload(payload: Payload) -> PictureFacts:
    """The facts of a picture that is already in the store: copies of it share them."""
    from clipindex.pictures.exif import PictureFacts

    place = payload.get("location")
    return PictureFacts(
        width=_int(payload["width"]),
        height=_int(payload["height"]),
        format=str(payload["format"]),
        taken=_text(payload.get("taken")),
        camera=_text(payload.get("camera")),
        location=(float(place["lat"]), float(place["lon"])) if isinstance(place, dict) else None,
    )


def tags_of(payload: Payload) -> Tags:
    """The user's tags: `tag_KEY` fields, without the prefix."""
    return {
        name.removeprefix(TAG): str(value)
        for name, value in sorted(payload.items())
        if name.startswith(TAG)
    }


def tag_fields(tags: Tags) -> Payload:
    """Tags as payload fields."""
    return {TAG + key: value for key, value in tags.items()}


def parse_tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises UsageError for a key that no field can have."""
    key, equals, value = text.partition("=")
    if not equals or not TAG_KEY.fullmatch(key):
        raise UsageError(
            f"'{text}' is not a tag",
            hint="write KEY=VALUE; a key has letters, digits and '_'",
        )
    return key, value


def check_key(key: str) -> None:
    """Raises UsageError for a key that no tag can have."""
    if not TAG_KEY.fullmatch(key):
        raise UsageError(f"'{key}' is not a tag's key", hint="letters, digits and '_'")


def _int(value: object) -> int:
    return int(str(value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
