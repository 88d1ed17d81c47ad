"""Which collections of a store were made with a model."""

from __future__ import annotations

from pathlib import Path

from clipindex.collection.contract import read_contract
from clipindex.errors import StoreError
from clipindex.model.installed import Installed


def collections_made_with(model: Installed, store: Path) -> list[str]:
    """Their names, sorted. What cannot be read is left out: it is not this model's fault."""
    return [
        contract.parent.name
        for contract in sorted(store.glob("*/contract.json"))
        if _was_made_with(model, contract)
    ]


def _was_made_with(model: Installed, path: Path) -> bool:
    try:
        stored = read_contract(path)
    except StoreError:
        return False
    if stored is None:
        return False
    if Path(stored.bundle) == model.folder:
        return True
    if model.bundle is None:
        return False
    made, manifest = stored.contract, model.bundle.manifest
    return (made.model, made.revision, made.precision) == (
        manifest.model,
        manifest.revision,
        manifest.precision,
    )
