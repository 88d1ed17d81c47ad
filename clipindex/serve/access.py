"""Who may see what."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from clipindex.search.scoped import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a caller may see. `scope`: conditions without which a picture does not exist for it.
    `may_write`: it may also add pictures, to that part of the index alone."""

    name: str = ""  # of its token; empty without one
    scope: Scope = ()
    may_write: bool = False


ANYBODY = Access()  # where no token is set


def access_of(request: HTTPConnection) -> Access:
    """What the sender of a request may see, as the guard found out."""
    access = request.scope.get("state", {}).get("access", ANYBODY)
    assert isinstance(access, Access)
    return access
