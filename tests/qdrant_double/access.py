"""Keys, read-only keys and tokens: who may do what.

Words and rules: src/common/auth/, lib/storage/src/rbac/ of Qdrant v1.18.3. A token is a JWT,
signed with the server's key (HS256); its `access` is "r" or "m" everywhere, or a list of
{"collection": name, "access": "r" | "rw" | "prw"}, where the name is the one that a request uses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

from qdrant_double.protocol import Json, Problem, Request

LEEWAY = 30  # seconds that a token outlives its end
OPEN = ("", "healthz", "readyz", "livez")  # paths that need no key


@dataclass(frozen=True)
class Access:
    """What a request may do: everywhere ("r" or "m"), or in the collections listed."""

    everywhere: str = ""
    collections: tuple[tuple[str, str], ...] = ()

    def manage(self) -> None:
        """Raises Problem unless all may be changed."""
        if not self.everywhere:
            raise forbidden("Global access is required")
        if self.everywhere != "m":
            raise forbidden("Global manage access is required")

    def use(self, name: str, *, write: bool = False, extras: bool = False) -> None:
        """Raises Problem unless a collection, or an alias of this name, may be used so."""
        if self.everywhere:
            if write and self.everywhere != "m":
                raise forbidden("Global manage access is required")
            return
        mode = dict(self.collections).get(name)
        if mode is None:
            raise forbidden(f"Access to collection {name} is required")
        if extras and mode == "prw":
            raise forbidden(f"Only points access is allowed for collection {name}")
        if write and mode == "r":
            raise forbidden(f"Write access to collection {name} is required")

    def sees(self, name: str) -> bool:
        return bool(self.everywhere) or name in dict(self.collections)


def forbidden(words: str) -> Problem:
    return Problem(403, f"Forbidden: {words}")


def authenticate(request: Request, key: str, read_only_key: str) -> Access:
    """The access of a request's key or token. Raises Problem, in plain text, for none."""
    if not (key or read_only_key) or request.route[:1] in ([name] for name in OPEN):
        return Access("m")
    bearer = request.headers.get("authorization", "")
    given = request.headers.get("api-key") or bearer.removeprefix("Bearer ")
    if not given:
        words = "Must provide an API key or an Authorization bearer token"
        raise Problem(401, words, plain=True)
    if key and hmac.compare_digest(given.encode(), key.encode()):
        return Access("m")
    if read_only_key and hmac.compare_digest(given.encode(), read_only_key.encode()):
        return Access("r")
    claims = _claims(given, key) if key else None
    if claims is None:
        raise Problem(401, "Invalid API key or JWT", plain=True)
    access: Any = claims.get("access", "m")
    if isinstance(access, str):
        return Access(access)
    return Access("", tuple((each["collection"], each["access"]) for each in access))


def token(key: str, access: str | list[Json], *, expires_in: float | None = None) -> str:
    """A JWT as the owner of the server makes it."""
    claims: Json = {"access": access}
    if expires_in is not None:
        claims["exp"] = int(time.time() + expires_in)
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    return f"{signed}.{_signature(signed, key)}"


def _claims(jwt: str, key: str) -> Json | None:
    """What a token says; None for what is no token. Raises Problem for one that is not valid."""
    signed, _, signature = jwt.rpartition(".")
    try:
        middle = signed.split(".")[1]
        claims: Json = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError):
        return None
    if not hmac.compare_digest(signature, _signature(signed, key)):
        raise Problem(403, "InvalidSignature", plain=True)
    if claims.get("exp", time.time()) + LEEWAY < time.time():
        raise Problem(403, "ExpiredSignature", plain=True)
    return claims


def _encoded(part: Json) -> str:
    return _base64(json.dumps(part).encode())


def _signature(signed: str, key: str) -> str:
    return _base64(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
