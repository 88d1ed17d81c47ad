"""What every vector of a collection shares; stored with it and checked at every open."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from clipindex.errors import ContractMismatch, ModelError, StoreError
from clipindex.files.durable import write_durably
from clipindex.model.bundle import Bundle, find_bundle, open_bundle
from clipindex.pictures.preprocessing import Preprocessing

SCHEMA = 1  # of contract, payload and catalogue together


@dataclass(frozen=True, slots=True)
class Contract:
    """The facts that decide a vector. Two vectors meet only where all of them are equal."""

    model: str
    revision: str
    precision: str  # before the files: an int8 bundle has others, and that is why
    files: dict[str, str]  # name -> sha256 of each file of the bundle
    dimension: int
    preprocessing: str
    preprocessing_version: int
    schema: int = SCHEMA

    def check(self, wanted: Contract) -> None:
        """Raises ContractMismatch, naming the first field in which `wanted` differs."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(wanted, field.name)
            if mine != theirs:
                name = field.name.replace("_", " ")
                other = "other model files" if name == "files" else f"another {name}"
                raise ContractMismatch(
                    f"the collection was made with {other}: {_difference(mine, theirs)}",
                    hint="leave --model and --preprocessing out to use what the collection was "
                    "made with, or name another --collection",
                )


@dataclass(frozen=True, slots=True)
class StoredContract:
    """A contract as it lies with a collection, with notes that decide nothing."""

    contract: Contract
    bundle: str  # where the model was found
    noted: dict[str, str]  # versions of Pillow and libjpeg at creation


def contract_of(bundle: Bundle, preprocessing: str, preprocessing_version: int) -> Contract:
    """The contract that a bundle and a preprocessing make."""
    manifest = bundle.manifest
    return Contract(
        manifest.model,
        manifest.revision,
        manifest.precision,
        {name: spec.sha256 for name, spec in manifest.files.items()},
        manifest.dimension,
        preprocessing,
        preprocessing_version,
    )


def recipe_of(contract: Contract) -> Preprocessing:
    """A collection's preprocessing. Raises ContractMismatch for one that is not known here."""
    made_here = {(each.value, each.version): each for each in Preprocessing}
    made = contract.preprocessing, contract.preprocessing_version
    if made not in made_here:
        here = ", ".join(f"{name} {version}" for name, version in made_here)
        raise ContractMismatch(
            "the collection was made with another preprocessing version: "
            f"{made[0]} {made[1]} (this clipindex makes {here})",
            hint="ingest the pictures into a new --collection, or use the clipindex that made "
            "this one",
        )
    return made_here[made]


def read_contract(path: Path) -> StoredContract | None:
    """The contract in a file, None where there is none. Raises StoreError when unreadable."""
    try:
        raw = json.loads(path.read_text("utf-8"))
        return StoredContract(Contract(**raw["contract"]), raw["bundle"], raw["noted"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the collection's contract cannot be read: {error}",
            path=str(path),
            hint="check the folder's permissions, or restore that file from a backup",
        ) from error


def foreign_contract(raw: Any) -> StoredContract:
    """A contract from a server or an export, which anybody may have written.

    Raises ValueError, KeyError or TypeError for one that is not valid.
    """
    contract = Contract(**raw["contract"])
    bundle, noted = raw["bundle"], raw["noted"]
    texts = [
        *(contract.model, contract.revision, contract.precision, contract.preprocessing, bundle),
        *(text for pair in (*contract.files.items(), *noted.items()) for text in pair),
    ]
    numbers = (contract.dimension, contract.preprocessing_version, contract.schema)
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("it contains something that is not printable text")
    if not all(type(number) is int and 0 < number <= 8192 for number in numbers):
        raise ValueError("it contains a number that is out of range")
    return StoredContract(contract, bundle, dict(noted))


def write_contract(path: Path, stored: StoredContract) -> None:
    """Write the contract whole or not at all, durably: without it there is no collection."""
    write_durably(path, json.dumps(asdict(stored), indent=2).encode())


def bundle_for(stored: StoredContract, model: str | None) -> Bundle:
    """The bundle that made a collection: where it was, under its name (an environment was made
    anew), or where `model` says it is now. Its hashes must be those of the contract."""
    mine = stored.contract
    bundle = find_bundle(model) if model is not None else _remembered_bundle(stored)
    mine.check(contract_of(bundle, mine.preprocessing, mine.preprocessing_version))
    return bundle


def _remembered_bundle(stored: StoredContract) -> Bundle:
    place = Path(stored.bundle)
    if place.exists():
        return open_bundle(place)
    try:
        return find_bundle(stored.contract.model)
    except ModelError as error:
        raise ModelError(
            f"the collection's model '{stored.contract.model}' is no longer at its place",
            path=stored.bundle,
            hint="say where it is now with --model DIR",
        ) from error


def _difference(mine: object, theirs: object) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
        return f"{', '.join(names)} (the sha256 differs)"
    return f"{mine} (asked for: {theirs})"
