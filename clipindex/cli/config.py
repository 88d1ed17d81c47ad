"""The configuration file: defaults for options, in TOML.

    store = "/var/lib/clipindex"      # any command that has the option

    [ingest]                          # one command
    exclude = ["*.tmp", "private/*"]

Flag beats environment beats file beats default.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from clipindex.errors import UsageError
from clipindex.files.user_folders import config_folder

Values = dict[str, object]


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
    if file is None or (path is None and not file.exists()):
        return None
    import tomllib  # most have no such file

    try:
        return Configuration(file, tomllib.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        raise UsageError("no such configuration file", path=str(file)) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the configuration cannot be read: {error}", path=str(file)) from error


def defaults_for(
    configuration: Configuration, command: str, options: Mapping[str, Set[str]]
) -> Values:
    """Defaults of one command's options by parameter name; `options` are those of all commands.

    Raises UsageError when the file sets what no command has.
    """
    raw = configuration.values
    common = {_name(key): value for key, value in raw.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in raw.items() if isinstance(value, dict)}
    every = set().union(*options.values())
    unknown = [key for key in common if key not in every]
    unknown += [key for key in tables if key not in options]
    for key, table in tables.items():
        unknown += [name for name in table if _name(name) not in options.get(key, every)]
    if unknown:
        raise UsageError(
            f"the configuration sets '{unknown[0]}', which no command knows there",
            path=str(configuration.file),
        )
    own = {_name(key): value for key, value in tables.get(command, {}).items()}
    known = options.get(command, set())
    return {name: value for name, value in {**common, **own}.items() if name in known}


def _name(key: str) -> str:
    return key.replace("-", "_")
