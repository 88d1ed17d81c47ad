"""The configuration file: defaults for options, in TOML.

    store = "/var/lib/clipindex"      # any command that has the option

    [ingest]                          # one command
    exclude = ["*.tmp", "private/*"]

Flag beats environment beats file beats default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from pathlib import Path

import platformdirs

from clipindex.errors import UsageError

Values = dict[str, object]


def default_path() -> Path:
    """The user's own file; it need not exist."""
    return Path(platformdirs.user_config_dir("clipindex", appauthor=False)) / "config.toml"


def defaults_for(command: str, options: Mapping[str, Set[str]], path: Path | None) -> Values:
    """Defaults of one command's options by parameter name; `options` are those of all commands.

    Raises UsageError when a named file is missing, broken, or sets what no command has.
    """
    file = path or default_path()
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError("no such configuration file", path=str(file)) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the configuration cannot be read: {error}", path=str(file)) from error
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
            path=str(file),
        )
    own = {_name(key): value for key, value in tables.get(command, {}).items()}
    known = options.get(command, set())
    return {name: value for name, value in {**common, **own}.items() if name in known}


def _name(key: str) -> str:
    return key.replace("-", "_")
