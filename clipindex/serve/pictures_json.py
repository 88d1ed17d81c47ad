"""A picture of the collection as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clipindex.search.hits import Hit
from clipindex.search.indexed import IndexedPicture
from clipindex.stores.payload import Payload, meta_of, tags_of


def picture_json(name: str, payload: Payload, paths: Sequence[str]) -> dict[str, Any]:
    """What every answer says of a picture; what is not known is null."""
    known = {field: payload.get(field) for field in KNOWN}
    return {
        "id": name,
        "path": payload.get("path"),
        "name": payload.get("name"),
        "paths": list(paths),
        **known,
        "tags": dict(tags_of(payload)),
        "meta": meta_of(payload),
        "thumbnail": f"/thumb/{name}",
    }


KNOWN = (
    *("width", "height", "taken", "camera", "location", "format", "bytes", "orientation"),
    "sha256",
)


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit of a search."""
    return {
        "id": hit.id,
        "rank": hit.rank,
        "similarity": hit.score,
        "z": hit.z,
        "fits": hit.fits,
        "group": hit.group,
        **picture_json(hit.id, hit.payload, hit.paths),
    }


def indexed_json(picture: IndexedPicture) -> dict[str, Any]:
    """A picture by itself, with what is stored about its file."""
    payload = picture.payload
    return {
        **picture_json(str(picture.id), payload, picture.paths),
        "source": payload.get("source"),
        "indexed_at": payload.get("indexed_at"),
    }
