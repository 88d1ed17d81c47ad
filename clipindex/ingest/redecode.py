"""Pictures that are decoded again although nothing changed: those whose previews stand for them."""

from __future__ import annotations

from clipindex.collection.opening import Collection
from clipindex.collection.place import is_shared
from clipindex.errors import UsageError
from clipindex.files.identity import path_from_payload
from clipindex.ingest.options import Redecode
from clipindex.pictures.preprocessing import Preprocessing, Way
from clipindex.stores.filter import Filter
from clipindex.stores.payload import DECODED


def contents_again(collection: Collection, redecode: Redecode | None) -> dict[bytes, bytes]:
    """Path -> SHA-256 of this source's pictures that are to be decoded again; empty for None.

    Raises UsageError where the collection's preprocessing looks at no previews.
    """
    if redecode is None:
        return {}
    if collection.preprocessing is not Preprocessing.PREVIEWS:
        raise UsageError(
            f"the collection's preprocessing is {collection.preprocessing.value}: every picture "
            "was decoded in full",
            hint="leave --redecode out",
        )
    if is_shared(collection.place):
        collection.points.index_field(DECODED)  # a server may refuse to filter without
    only = Filter(equals=(("source", collection.source), (DECODED, Way.PREVIEW.value)))
    return {
        path_from_payload(payload): bytes.fromhex(str(payload["sha256"]))
        for _, payload in collection.points.scroll(only)
    }
