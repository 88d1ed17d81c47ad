"""Which collections of a store were made with a model."""

from __future__ import annotations

from pathlib import Path

from clipindex.collection.contract import StoredContract
from clipindex.collection.generations import contracts_in
from clipindex.errors import StoreError
from clipindex.model.installed import Installed


def collections_made_with(model: Installed, store: Path) -> list[str]:
    """Their names, sorted; while one is switched to another model, both models are in use. What
    cannot be read is left out: it is not this model's fault."""
    return [
        contract.parent.name
        for contract in sorted(store.glob("*/contract.json"))
        if _was_made_with(model, contract)
    ]


def _was_made_with(model: Installed, path: Path) -> bool:
    try:
        return any(_uses(model, stored) for stored in contracts_in(path.parent))
    except StoreError:
        return False


def _uses(model: Installed, stored: StoredContract) -> bool:
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
