"""Sessions of the page: a cookie in place of the token where a browser can send no header."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict

from clipindex.serve.access import Access

LASTS = 12 * 3600  # seconds
MOST = 1000  # the oldest go first


class Sessions:
    """Random names of sessions, kept in memory: they end with the service."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[Access, float]] = OrderedDict()

    def begin(self, access: Access) -> str:
        """A new session for whoever has shown a token; its name is a secret like it."""
        name = secrets.token_urlsafe(32)
        self._sessions[name] = access, time.monotonic() + LASTS
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return name

    def access_for(self, name: str) -> Access | None:
        """What the holder of a cookie may do; None where the session is over or never was."""
        access, until = self._sessions.get(name, (None, 0.0))
        if time.monotonic() > until:
            self._sessions.pop(name, None)
            return None
        return access

    def end(self, name: str) -> None:
        """The session is over."""
        self._sessions.pop(name, None)
