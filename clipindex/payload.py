"""The payload of a point: flat, small, documented, its names stable."""

from __future__ import annotations

from datetime import UTC, datetime

from clipindex.identity import exact_path, folders_of, shown
from clipindex.images import PictureFacts
from clipindex.walk import FileRecord

SCHEMA = 1
Payload = dict[str, object]

INDEXED_FIELDS = ("path", "folders", "sha256", "source")  # keyword indexes in every store


def make_payload(source: str, record: FileRecord, sha256: bytes, facts: PictureFacts) -> Payload:
    """Everything a store keeps of a file beside its vector; unknown facts are left out.

    `folders` lists every folder above the file, so that `--under` is an exact match.
    """
    latitude_longitude = facts.location
    payload: Payload = {
        "source": source,
        "path": shown(record.path),
        "path_b64": exact_path(record.path),
        "folders": [shown(folder) for folder in folders_of(record.path)],
        "name": shown(record.path).rpartition("/")[2],
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
        "indexed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "schema": SCHEMA,
    }
    return {name: value for name, value in payload.items() if value is not None}


def facts_from_payload(payload: Payload) -> PictureFacts:
    """The facts of a picture that is already in the store: copies of it share them."""
    place = payload.get("location")
    return PictureFacts(
        width=_int(payload["width"]),
        height=_int(payload["height"]),
        format=str(payload["format"]),
        taken=_text(payload.get("taken")),
        camera=_text(payload.get("camera")),
        location=(float(place["lat"]), float(place["lon"])) if isinstance(place, dict) else None,
    )


def tags_of(payload: Payload) -> dict[str, str]:
    """The user's tags: `tag_KEY` fields, without the prefix."""
    return {
        name.removeprefix("tag_"): str(value)
        for name, value in sorted(payload.items())
        if name.startswith("tag_")
    }


def _int(value: object) -> int:
    return int(str(value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
