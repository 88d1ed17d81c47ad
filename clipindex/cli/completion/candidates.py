"""What may follow the words of a command line: commands, options, and the values that exist.

Values are read from the files of an embedded store as they lie there. Nothing is opened as a store
and nothing written; no server is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clipindex.cli.config import read
from clipindex.collection.generations import live_generation
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.files.user_folders import data_folder
from clipindex.model.bundle import MANIFEST, model_folders
from clipindex.stores.payload import META, TAG

CONTRACT = "contract.json"
MOST = 200  # values of one tag


class Candidate(NamedTuple):
    """A word that may stand there, and what it means. One that ends with = is not complete."""

    word: str
    meaning: str = ""


TOP = (Candidate("--help", "explain clipindex"), Candidate("--version", "print the version"))


@dataclass(slots=True)
class Line:
    """A command line that was read up to the word to complete."""

    word: str = ""  # what is to be completed: of --option=value the value
    command: Any = None
    given: dict[str, str] = field(default_factory=dict)  # option -> its last value
    arguments: list[str] = field(default_factory=list)
    waiting: Any = None  # the option whose value comes next


def candidates(commands: Mapping[str, Any], words: Sequence[str]) -> list[Candidate]:
    """What the last of the words may become; none where the shell may offer files."""
    *before, word = words or [""]
    line = _read(commands, before)
    line.word = word
    if line.command is None:
        named = (Candidate(name, _first_line(commands, name)) for name in commands)
        return _matching(list(TOP if word.startswith("-") else named), word)
    if line.waiting is not None:
        return _matching(_values(line.waiting, line), word)
    if word.startswith("--") and "=" in word:
        name, _, line.word = word.partition("=")
        option = _options(line.command).get(name)
        known = [] if option is None else _matching(_values(option, line), line.word)
        return [Candidate(f"{name}={value}", meaning) for value, meaning in known]
    if word.startswith("-"):
        return _matching(_option_names(line), word)
    argument = _argument(line)
    return [] if argument is None else _matching(_values(argument, line), word)


def _matching(all_of_them: Sequence[Candidate], word: str) -> list[Candidate]:
    return [candidate for candidate in all_of_them if candidate.word.startswith(word)]


def _read(commands: Mapping[str, Any], words: Sequence[str]) -> Line:
    line = Line()
    only_arguments = False
    for word in words:
        if line.command is None:
            if not word.startswith("-"):
                line.command = commands[word]
        elif line.waiting is not None:
            line.given[line.waiting.name] = word
            line.waiting = None
        elif word == "--":
            only_arguments = True
        elif word.startswith("-") and word != "-" and not only_arguments:
            name, equals, value = word.partition("=")
            option = _options(line.command).get(name)
            if option is not None:
                line.given[option.name] = value
                takes_value = not (option.is_flag or option.count)
                line.waiting = option if takes_value and not equals else None
        else:
            line.arguments.append(word)
    return line


def _options(command: Any) -> dict[str, Any]:
    return {
        name: option
        for option in command.params
        if option.param_type_name == "option"
        for name in option.opts
    }


def _option_names(line: Line) -> list[Candidate]:
    names = [
        Candidate(max(option.opts, key=len), option.help or "")
        for option in dict.fromkeys(_options(line.command).values())
        if not option.hidden and (option.multiple or option.name not in line.given)
    ]
    return [*names, Candidate("--help", "explain this command")]


def _argument(line: Line) -> Any:
    """The parameter that the next argument goes to; the last takes as many as there are."""
    arguments = [each for each in line.command.params if each.param_type_name == "argument"]
    number = len(line.arguments)
    if number < len(arguments):
        return arguments[number]
    return arguments[-1] if arguments and arguments[-1].nargs == -1 else None


def _first_line(commands: Mapping[str, Any], name: str) -> str:
    return (commands[name].help or "").strip().split("\n")[0]


# --- values ------------------------------------------------------------------------------------


def _values(parameter: Any, line: Line) -> list[Candidate]:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return [Candidate(str(getattr(choice, "value", choice))) for choice in choices]
    if parameter.name == "collection":
        return [Candidate(name) for name in _collections(_store(line))]
    metavar = (parameter.metavar or "").strip("[].")
    if parameter.param_type_name == "argument" and "|" in metavar:
        return [Candidate(choice) for choice in metavar.split("|")]
    values = _BY_METAVAR.get((line.command.name, metavar)) or _BY_METAVAR.get(("", metavar))
    return [Candidate(value) for value in values(line)] if values else []


def _store(line: Line) -> Path | None:
    """The embedded store that is meant; None where it is a server."""
    values = _configured(line)
    if line.given.get("url") or values.get("url") or os.environ.get("CLIPINDEX_URL"):
        return None
    typed = line.given.get("store") or os.environ.get("CLIPINDEX_STORE") or values.get("store")
    return Path(os.path.expanduser(str(typed))) if typed else data_folder() / "store"


def _configured(line: Line) -> Mapping[str, object]:
    named = line.given.get("config") or os.environ.get("CLIPINDEX_CONFIG")
    configuration = read(Path(named) if named else None)
    return {} if configuration is None else configuration.values


def _collections(store: Path | None) -> list[str]:
    return [] if store is None else sorted(path.parent.name for path in store.glob(f"*/{CONTRACT}"))


def _files(line: Line) -> Path | None:
    """The folder with the files of the collection that is meant, as it is now."""
    store = _store(line)
    named = line.given.get("collection") or os.environ.get("CLIPINDEX_COLLECTION")
    name = named or str(_configured(line).get("collection") or DEFAULT_COLLECTION)
    if store is None or re.search(r"[/\\]", name):
        return None
    folder = store / name
    return folder / live_generation(folder)


def _labels(line: Line) -> dict[str, list[str]]:
    """The keys of tags and metadata with their values."""
    from clipindex.stores.lookup import labels_at_rest  # its library is loaded for this alone

    files = _files(line)
    fields = {} if files is None else labels_at_rest(files / "shard", MOST)
    return {
        name.removeprefix(TAG).removeprefix(META): [str(value) for value in values]
        for name, values in fields.items()
    }


def _pairs(line: Line) -> list[str]:
    """`KEY=`, and once that is typed `KEY=VALUE`; of a single key the values at once."""
    labels = _labels(line)
    if len(labels) > 1 and "=" not in line.word:
        return [f"{key}=" for key in labels]
    return [f"{key}={value}" for key, values in labels.items() for value in values]


def _models(_line: Line) -> list[str]:
    return sorted(
        {path.parent.name for folder in model_folders() for path in folder.glob(f"*/{MANIFEST}")}
    )


def _known_models(line: Line) -> list[str]:
    from clipindex.model.registry import descriptions  # only for the commands about models

    return sorted({*_models(line), *descriptions()})


_BY_METAVAR: dict[tuple[str, str], Callable[[Line], Iterable[str]]] = {
    ("", "CONDITION"): _pairs,
    ("", "KEY=VALUE"): _pairs,
    ("", "KEY"): _labels,
    ("", "NAME|FOLDER"): _models,
    ("models", "NAME"): _known_models,
    ("switch-model", "NEW"): _models,
}
