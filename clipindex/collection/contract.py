"""The contract of a collection: what all of its vectors share, checked whenever it is opened."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from clipindex.errors import ContractMismatch, StoreError
from clipindex.files.durable import disk_errors, write_durably
from clipindex.model.bundle import Bundle, decides_pictures
from clipindex.model.manifest import Manifest
from clipindex.pictures.preprocessing import Preprocessing

T = TypeVar("T")

CONTRACT_SCHEMA = 2  # 1: `files` are all files of the bundle, the text tower's as well
SINCE_2 = ("conversion", "image", "fp32_files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The facts that decide a picture's vector. Vectors meet only where these are equal.

    Model and revision are names: they say which tower it is, its files decide.
    """

    model: str
    revision: str
    precision: str  # compared before the files: those of an int8 bundle differ because of it
    # Name -> hexadecimal SHA-256 of the vision tower's files; where our conversion made them, of
    # the downloaded files that it made them of.
    files: dict[str, str]
    dimension: int
    preprocessing: str
    preprocessing_version: int
    conversion: int = 0  # version of our conversion; 0: the files are the tower itself
    image: dict[str, str | int] = field(default_factory=dict)  # see `contract_of`
    fp32_files: dict[str, str] = field(default_factory=dict)  # of which an int8 tower was made
    schema: int = CONTRACT_SCHEMA

    @property
    def vision_files(self) -> dict[str, str]:
        """The files that decide a picture's vector, whatever the schema."""
        if self.schema > 1:
            return self.files
        return {name: digest for name, digest in self.files.items() if decides_pictures(name)}

    def check(self, wanted: Contract) -> None:
        """Raises ContractMismatch, naming the first fact in which `wanted` differs."""
        own, other = self._facts(), wanted._facts()
        if not (self.image and wanted.image):  # contracts of schema 1 do not say it
            own["image"] = other["image"] = None
        if own["files"] == other["files"]:  # then it is the same model, whatever it is called
            own["model"] = own["revision"] = other["model"] = other["revision"] = None
        for name, fact in own.items():
            if fact != other[name]:
                raise ContractMismatch(
                    f"the collection was made with {_difference(name, fact, other[name])}",
                    hint="leave --model and --preprocessing out to use what the collection was "
                    "made with, or name another --collection",
                )

    def check_text_tower(self, texts: Bundle) -> None:
        """Raises ContractMismatch unless the lone text tower of this bundle was trained for the
        vectors of this contract."""
        mate = texts.manifest.mate
        digests = set(mate.files.values()) if mate is not None else set()
        own = self.vision_files.values(), self.fp32_files.values()
        if mate is None or digests not in map(set, own):
            raise ContractMismatch(
                f"the text tower '{texts.manifest.model}' is for pictures indexed with "
                f"'{mate.model if mate else 'another model'}', and this collection was made with "
                f"'{self.model}', revision {self.revision}: its vectors mean other things",
                path=str(texts.folder),
                hint="leave --model out to search with the collection's own model",
            )

    def _facts(self) -> dict[str, object]:
        """What decides a vector, in the order in which a difference is best named."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        del facts["schema"], facts["fp32_files"]
        return {**facts, "files": self.vision_files}


@dataclass(frozen=True, slots=True)
class StoredContract:
    """A contract as it is stored with a collection, with notes that decide nothing."""

    contract: Contract
    bundle: str  # folder of the model when it was last used
    noted: dict[str, str]  # what it was first computed with, see `noted.computed_with`

    @classmethod
    def from_json(cls, raw: Any) -> StoredContract:
        """The inverse of `to_json`.

        Raises KeyError, TypeError or ValueError when `raw` is not a contract that this clipindex
        can read.
        """
        facts = {"schema": 1, **raw["contract"]}
        schema = int(facts["schema"])
        if schema > CONTRACT_SCHEMA:
            raise ValueError(f"it has schema {schema}, this clipindex knows {CONTRACT_SCHEMA}")
        return cls(Contract(**facts), str(raw["bundle"]), dict(raw["noted"]))

    def to_json(self) -> dict[str, Any]:
        """As it is stored, exported and put on a server. One of schema 1 stays one: an earlier
        clipindex may share the collection."""
        raw = asdict(self)
        if self.contract.schema == 1:
            for name in SINCE_2:
                del raw["contract"][name]
        return raw


def contract_of(bundle: Bundle, preprocessing: str, preprocessing_version: int) -> Contract:
    """The contract of a collection made with a bundle and a preprocessing.

    Raises ModelError when the bundle has no vision tower.
    """
    manifest, image = bundle.manifest, bundle.image
    conversion, quantisation = manifest.conversion, manifest.quantisation
    return Contract(
        model=manifest.model,
        revision=manifest.revision,
        precision=manifest.precision,
        files=conversion.files if conversion is not None else bundle.vision_files,
        dimension=manifest.dimension,
        preprocessing=preprocessing,
        preprocessing_version=preprocessing_version,
        conversion=conversion.version if conversion is not None else 0,
        image={**image.geometry.as_facts(), **_pooling(manifest)},
        fp32_files=(quantisation.made_from or {}) if quantisation is not None else {},
    )


def _pooling(manifest: Manifest) -> dict[str, str | int]:
    """Of a vision-language model: what makes one vector of many hidden states."""
    return {} if manifest.merged is None else {"pooling": manifest.merged.pooling}


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
    return read_json(path, StoredContract.from_json)


def read_json(path: Path, parsed: Callable[[Any], T]) -> T | None:
    """What a contract's file holds, as `parsed` reads it; None when there is no such file.

    Raises StoreError when it cannot be read.
    """
    try:
        return parsed(json.loads(path.read_text("utf-8")))
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
    pixels = {name: value for name, value in contract.image.items() if type(value) is int}
    image = {name: value for name, value in contract.image.items() if name not in pixels}
    numbers = [contract.dimension, contract.preprocessing_version, contract.schema]
    numbers += [contract.conversion or 1, *pixels.values()]
    tables: tuple[dict[str, Any], ...] = (contract.files, contract.fp32_files, image, stored.noted)
    texts = [
        *(contract.model, contract.revision, contract.precision, contract.preprocessing),
        *(text for table in tables for pair in table.items() for text in pair),
        *pixels,
        stored.bundle,
    ]
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("it contains something that is not printable text")
    for number in numbers:
        if type(number) is not int or not 0 < number <= 8192:
            raise ValueError(f"it contains a number that is out of range: {number!r}")
    return stored


def write_contract(path: Path, stored: StoredContract) -> None:
    """Write the contract durably: without this file the collection does not exist.

    Raises DiskFull or StoreError; the old file then stays.
    """
    with disk_errors(path, "the collection's contract cannot be written"):
        write_durably(path, json.dumps(stored.to_json(), indent=2).encode())


def _difference(name: str, own: object, other: object) -> str:
    if isinstance(own, dict) and isinstance(other, dict):
        what = "other model files" if name == "files" else f"another {name}"
        keys = sorted(key for key in own | other if own.get(key) != other.get(key))
        if name == "files":
            return f"{what}: {', '.join(keys)} (the sha256 differs)"
        pairs = (f"{key} {own.get(key)} (asked for: {other.get(key)})" for key in keys)
        return f"{what}: {', '.join(pairs)}"
    return f"another {name.replace('_', ' ')}: {own} (asked for: {other})"
