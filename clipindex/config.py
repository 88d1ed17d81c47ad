"""The configuration file: defaults for options, in TOML.

    store = "/var/lib/clipindex"      # any command that has the option

    [ingest]                          # one command
    exclude = ["*.tmp", "private/*"]

Flag beats environment beats file beats default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

import platformdirs

from clipindex.errors import UsageError

Values = dict[str, object]


def default_path() -> Path:
    """The user's own file; it need not exist."""
    return Path(platformdirs.user_config_dir("clipindex", appauthor=False)) / "config.toml"


def defaults_for(
    command: str, options: Collection[str], commands: Collection[str], path: Path | None
) -> Values:
    """Defaults of one command's options by parameter name.

    Raises UsageError when a named file is missing, broken, or names an option that no command
    has.
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
    common = {name: value for name, value in raw.items() if not isinstance(value, dict)}
    own = raw.get(command, {})
    unknown = [name for name in own if name.replace("-", "_") not in options]
    unknown += [
        name for name, value in raw.items() if isinstance(value, dict) and name not in commands
    ]
    if unknown:
        raise UsageError(
            f"the configuration sets '{unknown[0]}', which `clipindex {command}` does not know",
            path=str(file),
        )
    merged = {**common, **own}
    names = {name.replace("-", "_"): value for name, value in merged.items()}
    return {name: value for name, value in names.items() if name in options}
