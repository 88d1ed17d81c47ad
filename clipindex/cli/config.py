"""The configuration file: defaults for options, in TOML.

    store = "/var/lib/clipindex"      # every command that has the option

    [ingest]                          # one command
    exclude = ["*.tmp", "private/*"]

A flag beats the environment, the environment beats the file, the file beats the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from clipindex.cli.exits import Ending
from clipindex.cli.origins import CONFIG_FILE
from clipindex.cli.values import PATH_WORDS, names_a_thing
from clipindex.errors import UsageError
from clipindex.files.user_folders import config_folder, expand_user

Values = dict[str, object]
OptionsOf = Callable[[str], Collection[str]]


def default_path() -> Path | None:
    """The user's own file, which need not exist; None for a user without a home."""
    folder = config_folder()
    return None if folder is None else folder / "config.toml"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says."""

    file: Path
    values: Values


def read(path: Path | None) -> Configuration | None:
    """The named file, or the user's own, which need not exist.

    Raises UsageError when a named file is missing, or one is broken.
    """
    file = path or default_path()
    if file is None:
        return None
    try:
        file = expand_user(file)
        if path is None and not file.exists():
            return None
        text = file.read_bytes().decode("utf-8-sig")  # Windows editors write a byte order mark
    except FileNotFoundError:
        raise UsageError(
            "there is no such configuration file",
            path=str(file),
            hint="correct --config or CLIPINDEX_CONFIG",
        ) from None
    except (OSError, ValueError) as error:
        raise _broken(file, error) from error
    import tomllib  # most have no such file

    try:
        return Configuration(file, tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise _broken(file, error) from error


def _broken(file: Path, error: Exception) -> UsageError:
    reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
    return UsageError(
        f"the configuration file cannot be read: {getattr(error, 'strerror', None) or reason}",
        path=str(file),
        hint="correct it, or name another one with --config",
    )


def defaults_for(
    configuration: Configuration, command: str, commands: Collection[str], options_of: OptionsOf
) -> Values:
    """Defaults of one command's options by parameter name.

    Raises UsageError when the file sets what no command has. `options_of` builds a command, so
    it is only asked for those that the file is about.
    """
    known = options_of(command)
    defaults: Values = {}
    for key, value in configuration.values.items():
        name = _name(key)
        if isinstance(value, dict):
            if key not in commands:
                raise _unknown(configuration, f"[{key}]", "no such command")
            options = options_of(key)
            for own in value:
                if _name(own) not in options:
                    raise _unknown(configuration, f"{own}' of '[{key}]", "no such option")
        elif name in known:
            defaults[name] = value
        elif not any(name in options_of(other) for other in commands):
            raise _unknown(configuration, key, "no such option")
    table = configuration.values.get(command)
    return defaults | ({_name(k): v for k, v in table.items()} if isinstance(table, dict) else {})


def _unknown(configuration: Configuration, key: str, why: str) -> UsageError:
    return UsageError(
        f"the configuration file sets '{key}', and there is {why}",
        path=str(configuration.file),
        hint='options are written as on the command line, without the dashes: log-file = "..."',
    )


def _name(key: str) -> str:
    return key.replace("-", "_")


def configure(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of --config: the file's values become the defaults of the command.

    Raises UsageError, as `read` and `defaults_for` do.
    """
    if (configuration := read(path)) is None:
        return path
    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    values = defaults_for(
        configuration,
        context.command.name or "",
        commands,
        lambda name: {parameter.name for parameter in commands[name].params} - {"config"},
    )
    context.meta[CONFIG_FILE] = str(configuration.file)
    if values.get("json") is True and (ending := context.find_object(Ending)) is not None:
        ending.output.json = True  # errors in the options that are still to be read
    parameters = {parameter.name: parameter for parameter in context.command.params}
    context.default_map = {
        name: _as_typed(configuration, name, value, parameters[name])
        for name, value in values.items()
    }
    return path


def _as_typed(configuration: Configuration, name: str, value: object, parameter: Any) -> object:
    """A value of the file as it would be typed: as text, except for flags, `~` spelt out."""
    many = parameter.nargs == -1 or getattr(parameter, "multiple", False)
    texts = list(_texts(configuration, name, value))
    if not many and isinstance(value, list):
        raise _mistyped(configuration, f"'{name}' takes one value, not a list")
    if getattr(parameter, "is_flag", False):
        return value if isinstance(value, bool) else texts[0]
    metavar = parameter.metavar or ""
    if "" in texts and names_a_thing(metavar):
        raise _mistyped(configuration, f"'{name}' is empty")
    if any("\0" in text for text in texts):  # no path has one, and no command line can
        raise _mistyped(configuration, f"'{name}' contains a NUL character")
    if "<path>" in str(parameter.type).lower() or any(word in metavar for word in PATH_WORDS):
        texts = [os.path.expanduser(text) for text in texts]
    return texts if many else texts[0]


def _texts(configuration: Configuration, name: str, value: object) -> Iterator[str]:
    for single in value if isinstance(value, list) else [value]:
        if isinstance(single, dict | list):
            raise _mistyped(configuration, f"'{name}' is neither a value nor a list of values")
        yield str(single)


def _mistyped(configuration: Configuration, what: str) -> UsageError:
    return UsageError(
        f"the configuration file's {what}", path=str(configuration.file), hint="correct the file"
    )
