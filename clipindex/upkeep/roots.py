"""Remembered roots: what `reindex` walks."""

from __future__ import annotations

import os

from clipindex.collection.opening import open_for_change
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath
from clipindex.errors import UsageError
from clipindex.files.identity import resolve_root


def forget(place: Place, path: AnyPath) -> None:
    """Forget a root: `reindex` no longer looks there; its points stay.

    Raises UsageError when it is not remembered.
    """
    with open_for_change(place, "forget") as collection:
        for name in (resolve_root(path), os.fsencode(os.path.abspath(path))):
            if collection.catalogue.forget_root(name):
                return
    raise UsageError(
        "not a remembered folder", path=str(path), hint="`clipindex status` lists them"
    )
