"""The options that a root is remembered with, as they are typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SWITCHES = ("hidden", "follow", "one_file_system")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootOptions:
    """How a root is walked, and the tags that its pictures get."""

    path: str
    exclude: list[str] = field(default_factory=list)
    include: list[str] = field(default_factory=list)
    hidden: bool = False
    follow: bool = False
    one_file_system: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """As they are typed: `--exclude '*.tmp' --tag owner=ann`; empty for none."""
        globs = [("--exclude", glob) for glob in self.exclude]
        globs += [("--include", glob) for glob in self.include]
        switches = [name for name in SWITCHES if getattr(self, name)]
        tags = [("--tag", f"{key}={value}") for key, value in sorted(self.tags.items())]
        words = [
            *(f"{name} {shlex.quote(value)}" for name, value in globs),
            *(f"--{name.replace('_', '-')}" for name in switches),
            *(f"{name} {shlex.quote(value)}" for name, value in tags),
        ]
        return " ".join(words)


def root_options(path: str, memory: Mapping[str, Any]) -> RootOptions:
    """The options as the catalogue keeps them. What it does not name is the default."""
    policy = memory.get("policy", {})
    return RootOptions(
        path=path,
        exclude=list(policy.get("exclude", ())),
        include=list(policy.get("include", ())),
        tags=dict(memory.get("tags", {})),
        **{name: bool(policy.get(name, False)) for name in SWITCHES},
    )
