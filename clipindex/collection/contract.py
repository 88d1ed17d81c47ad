"""The contract of a collection: what all of its vectors share, checked whenever it is opened."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from clipindex.errors import ContractMismatch, ModelError, StoreError
from clipindex.files.durable import disk_errors, write_durably
from clipindex.model.bundle import Bundle, find_bundle, open_bundle
from clipindex.pictures.preprocessing import Preprocessing

CONTRACT_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The facts that decide a vector. Vectors meet only where all of these are equal."""

    model: str
    revision: str
    precision: str  # compared before the files: those of an int8 bundle differ because of it
    files: dict[str, str]  # name -> hexadecimal SHA-256 of each file of the bundle
    dimension: int
    preprocessing: str
    preprocessing_version: int
    schema: int = CONTRACT_SCHEMA

    def check(self, wanted: Contract) -> None:
        """Raises ContractMismatch, naming the first field in which `wanted` differs."""
        for field in fields(self):
            own, other = getattr(self, field.name), getattr(wanted, field.name)
            if own != other:
                name = field.name.replace("_", " ")
                what = "other model files" if name == "files" else f"another {name}"
                raise ContractMismatch(
                    f"the collection was made with {what}: {_difference(own, other)}",
                    hint="leave --model and --preprocessing out to use what the collection was "
                    "made with, or name another --collection",
                )


@dataclass(frozen=True, slots=True)
class StoredContract:
    """A contract as it is stored with a collection, with notes that decide nothing."""

    contract: Contract
    bundle: str  # folder of the model when it was last used
    noted: dict[str, str]  # what it was first computed with, see `noted.computed_with`

    @classmethod
    def from_json(cls, raw: Any) -> StoredContract:
        """The inverse of `asdict`.

        Raises KeyError, TypeError or ValueError when `raw` is not a contract that this clipindex
        can read.
        """
        fields_read = dict(raw["contract"])
        schema = int(fields_read.get("schema", 1))
        if schema > CONTRACT_SCHEMA:
            raise ValueError(f"it has schema {schema}, this clipindex knows {CONTRACT_SCHEMA}")
        return cls(Contract(**fields_read), str(raw["bundle"]), dict(raw["noted"]))


def contract_of(bundle: Bundle, preprocessing: str, preprocessing_version: int) -> Contract:
    """The contract of a collection made with a bundle and a preprocessing."""
    manifest = bundle.manifest
    return Contract(
        model=manifest.model,
        revision=manifest.revision,
        precision=manifest.precision,
        files={name: spec.sha256 for name, spec in manifest.files.items()},
        dimension=manifest.dimension,
        preprocessing=preprocessing,
        preprocessing_version=preprocessing_version,
    )


def recipe_of(contract: Contract) -> Preprocessing:
    """A collection's preprocessing. Raises ContractMismatch when this version has no such one."""
    known = {(recipe.value, recipe.version): recipe for recipe in Preprocessing}
    stored = contract.preprocessing, contract.preprocessing_version
    if stored not in known:
        here = ", ".join(f"{name} {version}" for name, version in known)
        raise ContractMismatch(
            "the collection was made with another preprocessing version: "
            f"{stored[0]} {stored[1]} (this clipindex makes {here})",
            hint="ingest the pictures into a new --collection, or use the clipindex that made "
            "this one",
        )
    return known[stored]


def read_contract(path: Path) -> StoredContract | None:
    """A contract from its file; None when there is no such file.

    Raises StoreError when it cannot be read.
    """
    try:
        return StoredContract.from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
            is_file = error.errno == errno.ENOTDIR
            raise StoreError(
                f"no store can be there: {'a file is in the way' if is_file else reason}",
                path=str(path.parent.parent),
                hint="name another folder with --store",
            ) from error
        raise StoreError(
            f"the collection's contract cannot be read: {reason}",
            path=str(path),
            hint="check the folder's permissions, update clipindex if a newer one wrote the "
            "file, or restore it from a backup",
        ) from error


def foreign_contract(raw: Any) -> StoredContract:
    """A contract from a server or an export, which anybody may have written.

    Raises KeyError, TypeError or ValueError when it is not valid.
    """
    stored = StoredContract.from_json(raw)
    contract = stored.contract
    texts = [
        *(contract.model, contract.revision, contract.precision, contract.preprocessing),
        *(text for pair in (*contract.files.items(), *stored.noted.items()) for text in pair),
        stored.bundle,
    ]
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("it contains something that is not printable text")
    for number in (contract.dimension, contract.preprocessing_version, contract.schema):
        if type(number) is not int or not 0 < number <= 8192:
            raise ValueError(f"it contains a number that is out of range: {number!r}")
    return stored


def write_contract(path: Path, stored: StoredContract) -> None:
    """Write the contract durably: without this file the collection does not exist.

    Raises DiskFull or StoreError; the old file then stays.
    """
    with disk_errors(path, "the collection's contract cannot be written"):
        write_durably(path, json.dumps(asdict(stored), indent=2).encode())


def bundle_for(stored: StoredContract, model: str | None) -> Bundle:
    """Find a collection's bundle: at `model` when that is given, else at its old path, else by
    its name (an environment may have been made anew).

    Raises ContractMismatch when its hashes are not those of the contract, ModelError when there
    is none.
    """
    contract = stored.contract
    bundle = find_bundle(model) if model is not None else _remembered_bundle(stored)
    contract.check(contract_of(bundle, contract.preprocessing, contract.preprocessing_version))
    return bundle


def _remembered_bundle(stored: StoredContract) -> Bundle:
    folder = Path(stored.bundle)
    if folder.exists():
        return open_bundle(folder)
    try:
        return find_bundle(stored.contract.model)
    except ModelError as error:
        raise ModelError(
            f"the collection's model '{stored.contract.model}' is no longer at its place",
            path=stored.bundle,
            hint="say where it is now with --model DIR",
        ) from error


def _difference(own: object, other: object) -> str:
    if isinstance(own, dict) and isinstance(other, dict):
        names = sorted(name for name in own | other if own.get(name) != other.get(name))
        return f"{', '.join(names)} (the sha256 differs)"
    return f"{own} (asked for: {other})"
