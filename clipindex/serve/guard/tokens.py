"""Tokens: who may ask, and see what.

They come from a TOML file, or a single one from the environment; never from the command line, which
every user of a machine can read. Only their SHA-256 is kept in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipindex.errors import UsageError
from clipindex.search.filter_texts import condition
from clipindex.serve.access import ANYBODY, Access

SHORTEST = 16  # characters: about what nobody guesses
MAKE_ONE = "make one with: openssl rand -hex 32"
KEYS = {"name", "value", "sha256", "where", "write"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token by its digest [32 bytes], and what its bearer may see."""

    digest: bytes
    access: Access


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a service; none: everybody may ask."""

    tokens: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tokens)

    @property
    def may_write(self) -> bool:
        """Whether one of them may."""
        return any(token.access.may_write for token in self.tokens)

    @property
    def keys(self) -> frozenset[str]:
        """The tags and metadata that decide what a token sees."""
        return frozenset(one.key for token in self.tokens for one in token.access.scope)

    def access_for(self, text: str) -> Access | None:
        """What the bearer of a token may do; None for an unknown one. Takes as long for every
        text, whichever token it may resemble."""
        digest, access = digest_of(text), None
        for token in self.tokens:
            if hmac.compare_digest(digest, token.digest):
                access = token.access
        return access


def digest_of(text: str) -> bytes:
    """The SHA-256 of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def read_tokens(file: Path | None, own: str | None, writing: str | None = None) -> Tokens:
    """The tokens of a file, and two from the environment that see everything: `own` only reads,
    `writing` may write. Raises UsageError."""
    tokens = [] if file is None else _from_file(file)
    if own is not None:
        tokens.append(Token(_checked_value(own, "CLIPINDEX_TOKEN"), Access(name="environment")))
    if writing is not None:
        digest = _checked_value(writing, "CLIPINDEX_WRITE_TOKEN")
        tokens.append(Token(digest, Access(name="writing", may_write=True)))
    if len({token.digest for token in tokens}) < len(tokens):
        raise UsageError("a token is listed twice", path=str(file or ""), hint=MAKE_ONE)
    return Tokens(tuple(tokens))


def _from_file(file: Path) -> list[Token]:
    try:
        content = tomllib.loads(file.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the file of tokens cannot be read: {getattr(error, 'strerror', None) or error}",
            path=str(file),
            hint="correct --tokens, or the file",
        ) from None
    entries = content.get("token")
    if not isinstance(entries, list) or not entries or content.keys() != {"token"}:
        raise _broken(file, "it holds no tokens, or something else beside them")
    try:
        return [_token(number, entry) for number, entry in enumerate(entries, 1)]
    except UsageError as error:
        raise _broken(file, error.message, error.hint) from None


def _broken(file: Path, reason: str, hint: str = "") -> UsageError:
    example = '[[token]] name = "page" sha256 = "..." where = ["client=acme"], each on its line'
    return UsageError(
        f"the file of tokens cannot be used: {reason}", path=str(file), hint=hint or example
    )


def _token(number: int, entry: Any) -> Token:
    if not isinstance(entry, dict) or not entry.keys() <= KEYS:
        raise UsageError(f"token {number} has other keys than {', '.join(sorted(KEYS))}")
    name = entry.get("name", f"token {number}")
    where = entry.get("where", [])
    if not (isinstance(name, str) and name.isprintable()):
        raise UsageError(f"token {number}: its name is a text in one line")
    if not (isinstance(where, list) and all(isinstance(text, str) for text in where)):
        raise UsageError(f"the token '{name}': where is a list of conditions")
    if where == [] and "where" in entry:
        raise UsageError(f"the token '{name}': where is empty, and would let everything through")
    scope = tuple(map(condition, where))
    may_write = entry.get("write", False)
    if not isinstance(may_write, bool):
        raise UsageError(f"the token '{name}': write is true or false")
    if may_write and any(one.sign != "=" for one in scope):
        raise UsageError(
            f"the token '{name}' may write, and can only have conditions such as client=acme",
            hint="its pictures get these as tags",
        )
    return Token(_digest(name, entry), Access(name=name, scope=scope, may_write=may_write))


def _digest(name: str, entry: dict[str, Any]) -> bytes:
    value, digest = entry.get("value"), entry.get("sha256")
    if isinstance(value, str) and digest is None:
        return _checked_value(value, f"the token '{name}'")
    try:
        raw = bytes.fromhex(digest) if isinstance(digest, str) and value is None else b""
    except ValueError:
        raw = b""
    if len(raw) != hashlib.sha256().digest_size:
        raise UsageError(
            f"the token '{name}' needs a value, or the SHA-256 of one in hexadecimal",
            hint="printf %s TOKEN | sha256sum",
        )
    return raw


def _checked_value(value: str, name: str) -> bytes:
    if len(value) < SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
        raise UsageError(
            f"{name} is shorter than {SHORTEST} characters, or has others than a header carries",
            hint=MAKE_ONE,
        )
    return digest_of(value)


def access_without_token(tokens: Tokens, *, may_write: bool) -> Access | None:
    """What a caller may do who shows no token; `may_write`: where there is none to be shown."""
    return None if tokens else replace(ANYBODY, may_write=may_write)
