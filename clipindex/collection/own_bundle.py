"""The bundle that goes with a collection: its own, or one that was named and fits it."""

from __future__ import annotations

import shlex
from pathlib import Path

from clipindex.collection.contract import Contract, StoredContract, contract_of
from clipindex.errors import ContractMismatch, ModelError
from clipindex.model.bundle import Bundle, find_bundle, model_folders, open_bundle


def bundle_for(stored: StoredContract, model: str | None) -> Bundle:
    """Find a collection's bundle: at `model` when that is given, else at its old path, else by
    its name (an environment may have been made anew).

    Raises ContractMismatch when its vision tower is not that of the contract, ModelError when
    there is none.
    """
    contract = stored.contract
    bundle = find_bundle(model) if model is not None else _remembered_bundle(stored)
    own = contract_of(bundle, contract.preprocessing, contract.preprocessing_version)
    try:
        contract.check(own)
    except ContractMismatch as error:
        if model is None:
            raise _replaced(contract, bundle) from error
        raise
    return bundle


def bundle_for_query(stored: StoredContract, model: str | None) -> Bundle:
    """As `bundle_for`; `model` may also name a text tower alone that was trained for the
    collection's vectors. Pictures are then embedded by the collection's own bundle, if it is
    there."""
    named = find_bundle(model) if model is not None else None
    if named is None or named.manifest.image is not None:
        return bundle_for(stored, model)
    stored.contract.check_text_tower(named)
    try:
        return bundle_for(stored, None).with_text_tower_of(named)
    except ModelError:  # texts need no more than the text tower
        return named


def _replaced(contract: Contract, bundle: Bundle) -> ContractMismatch:
    """The error where another model took the place of a collection's own: an update of clipindex
    brings another `mini`, or somebody converted the bundle again."""
    manifest, name = bundle.manifest, shlex.quote(str(bundle.folder))
    if bundle.folder.name == manifest.model and bundle.folder.parent in model_folders():
        name = manifest.model
    return ContractMismatch(
        f"the collection was made with the model '{contract.model}', revision {contract.revision};"
        f" at its place is another one now: '{manifest.model}', revision {manifest.revision}",
        path=str(bundle.folder),
        hint=f"`clipindex switch-model {name}` moves the collection to the new model: it reads "
        "the pictures again, and keeps tags and folders; or name the folder of the old one with "
        "--model",
    )


def _remembered_bundle(stored: StoredContract) -> Bundle:
    folder = Path(stored.bundle)
    if folder.exists():
        return open_bundle(folder)
    try:
        return find_bundle(stored.contract.model)
    except ModelError as error:
        from clipindex.model.missing import how_to_get_again  # 15 ms, and most models are there

        again = how_to_get_again(stored.contract.model, folder.name)
        raise ModelError(
            f"the collection's model '{stored.contract.model}' is no longer at its place",
            path=stored.bundle,
            hint="say where it is now with --model DIR" + (f"; or {again}" if again else ""),
        ) from error
