"""The two collections of one name while it changes to another model, in a folder.

    COLLECTION/contract.json        its contract; once it was switched, a pointer to the live one
    COLLECTION/generation-2/        the collection with the other model: contract.json, shard/, ...
    COLLECTION/switch.json          there while both exist

The switch is the replacement of contract.json. An earlier clipindex refuses the pointer as the
contract of a newer one, so it never writes to the collection that is no longer the live one.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipindex.collection.contract import StoredContract, read_contract, read_json, write_contract
from clipindex.errors import StoreError
from clipindex.files.durable import disk_errors, sync_folder, write_durably

FIRST = ""  # the generation whose files lie in the collection's folder itself
POINTER_SCHEMA = 1000  # above that of any contract: who knows no pointer refuses it as newer
PAIR = "switch.json"
NAME = re.compile(r"generation-([1-9][0-9]{0,8})")
OF_THE_FIRST = ("shard", ".shard-*", "compacted.json", "catalogue*.sqlite*", "verify-*.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """The generation that was live when the switch began, and the new one. `dropping`: the one
    that is being deleted."""

    old: str
    new: str
    began: str  # ISO 8601, UTC
    dropping: str | None = None

    def other(self, live: str) -> str | None:
        """The one that is not live; None when neither is."""
        return {self.old: self.new, self.new: self.old}.get(live)


def live_generation(folder: Path) -> str:
    """The generation that contract.json points to. Raises StoreError for a name that is none."""
    pointer = _pointer(folder / "contract.json")
    return FIRST if pointer is None else _name(pointer, folder)


def read_live(folder: Path) -> tuple[str, StoredContract | None]:
    """The live generation and its contract, of one look at contract.json. Raises StoreError."""

    def parsed(raw: Any) -> tuple[str, StoredContract | None]:
        if isinstance(raw, dict) and "generation" in raw:
            return _name(raw, folder), None
        return FIRST, StoredContract.from_json(raw)

    name, stored = read_json(folder / "contract.json", parsed) or (FIRST, None)
    return name, stored if name == FIRST else read_stored(folder, name)


def read_stored(folder: Path, generation: str) -> StoredContract | None:
    """The contract of a generation; None where there is none. Raises StoreError."""
    if generation != FIRST:
        return read_contract(folder / generation / "contract.json")
    pointer = _pointer(folder / "contract.json")
    if pointer is None:
        return read_contract(folder / "contract.json")
    try:
        return None if pointer["own"] is None else StoredContract.from_json(pointer["own"])
    except (KeyError, ValueError, TypeError) as error:
        raise _unreadable(folder / "contract.json", str(error)) from error


def contracts_in(folder: Path) -> list[StoredContract]:
    """The contracts of all generations of a collection. Raises StoreError."""
    others = [path.name for path in folder.iterdir() if NAME.fullmatch(path.name)]
    stored = (read_stored(folder, name) for name in (FIRST, *others))
    return [one for one in stored if one is not None]


def write_stored(folder: Path, generation: str, stored: StoredContract) -> None:
    """Write a generation's contract durably. Raises DiskFull or StoreError."""
    if generation == FIRST and (live := live_generation(folder)) != FIRST:
        point_to(folder, live, own=stored)
        return
    write_contract(folder / generation / "contract.json", stored)


def make_live(folder: Path, generation: str) -> None:
    """Let the collection's name stand for a generation from now on, in one durable step."""
    point_to(folder, generation, own=read_stored(folder, FIRST))


def point_to(folder: Path, generation: str, *, own: StoredContract | None) -> None:
    """Write contract.json: of the first generation its contract itself, `own`, else a pointer."""
    contract = None if own is None else own.to_json()
    if generation == FIRST:
        assert contract is not None  # it exists
        _write(folder / "contract.json", contract)
        return
    pointer = {
        "contract": {"schema": POINTER_SCHEMA},  # all that an earlier clipindex reads
        "generation": generation,
        "own": contract,
    }
    _write(folder / "contract.json", pointer)


def read_generations(folder: Path) -> Generations | None:
    """The switch under way; None without one. Raises StoreError."""
    path = folder / PAIR
    try:
        raw = json.loads(path.read_bytes())
        names = Generations(
            old=str(raw["old"]),
            new=str(raw["new"]),
            began=str(raw["began"]),
            dropping=None if raw["dropping"] is None else str(raw["dropping"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, str(error)) from error
    if not all(name == FIRST or NAME.fullmatch(name) for name in (names.old, names.new)):
        raise _unreadable(path, f"it names {names.old!r} and {names.new!r}")
    return names


def next_generation(folder: Path) -> str:
    """A name that no generation has. What was begun and never became part of a switch is deleted:
    a kill came first."""
    live = live_generation(folder)
    taken = [1]
    for path in folder.iterdir():
        if match := NAME.fullmatch(path.name):
            if path.name != live:
                shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                taken.append(int(match[1]))
    return f"generation-{max(taken) + 1}"


def begin(folder: Path, new: str) -> None:
    """Note, durably, that `new` is being made beside the live generation."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    _save(folder, Generations(old=live_generation(folder), new=new, began=began))


def drop(folder: Path, generation: str) -> None:
    """Delete a generation that is not live, and end the switch. After a kill, `finish_drop`."""
    names = read_generations(folder)
    assert names is not None  # the caller looked
    assert generation != live_generation(folder)  # what is live is never deleted
    _save(folder, replace(names, dropping=generation))
    finish_drop(folder)


def finish_drop(folder: Path) -> bool:
    """Finish a deletion that was begun; whether there was one. Raises StoreError."""
    names = read_generations(folder)
    if names is None or names.dropping is None or names.dropping == live_generation(folder):
        return False
    with disk_errors(folder, "the collection beside the live one cannot be deleted"):
        if names.dropping == FIRST:
            point_to(folder, live_generation(folder), own=None)
            for path in (path for glob in OF_THE_FIRST for path in folder.glob(glob)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif (folder / names.dropping).exists():
            shutil.rmtree(folder / names.dropping)
        sync_folder(folder)
        (folder / PAIR).unlink(missing_ok=True)
        sync_folder(folder)
    return True


def forget_bookmarks(folder: Path) -> None:
    """An unfinished `verify` was one of the other generation."""
    for path in folder.glob("verify-*.json"):
        path.unlink(missing_ok=True)


def _pointer(path: Path) -> dict[str, Any] | None:
    """None: it is a contract, or nothing that can be read, which `read_contract` reports."""
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) and "generation" in raw else None


def _name(pointer: dict[str, Any], folder: Path) -> str:
    name = str(pointer["generation"])
    if not NAME.fullmatch(name):
        raise _unreadable(folder / "contract.json", f"it names {name!r}")
    return name


def _save(folder: Path, names: Generations) -> None:
    _write(folder / PAIR, asdict(names))


def _write(path: Path, value: dict[str, Any]) -> None:
    with disk_errors(path, "the collection's contract cannot be written"):
        write_durably(path, json.dumps(value, indent=2).encode())


def _unreadable(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"it cannot be read which model's collection is the live one: {reason}",
        path=str(path),
        hint="update clipindex if a newer one wrote the file, or restore it from a backup",
    )
