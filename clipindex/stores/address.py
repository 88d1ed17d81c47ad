"""Where a Qdrant server is: its URL and key, checked before anything is sent."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from clipindex.errors import Refused, UsageError

PORT = 6333  # Qdrant's own, also for https, where the URL names none


@dataclass(frozen=True, slots=True)
class Server:
    """A server's URL in its one spelling, and the key for it, which is never shown."""

    url: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _one_spelling(self.url))
        object.__setattr__(self, "key", self.key.strip())
        if not self.key.isascii() or not self.key.isprintable():
            raise UsageError(
                "CLIPINDEX_API_KEY holds characters that no key has",
                hint="copy it again; a line end or a quotation mark may have slipped in",
            )
        if self.key and self.url.startswith("http:") and not self.loopback:
            raise Refused(
                f"the key would travel to {self.url} unencrypted, for everyone on the way to read",
                hint="use https, or reach the server through an ssh tunnel on this machine",
            )

    @property
    def loopback(self) -> bool:
        """Whether the server is on this very machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def _one_spelling(url: str) -> str:
    """Scheme, host, port and prefix, so that one server has one catalogue.

    Raises UsageError for what is no URL of a server.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or PORT
    except ValueError:
        raise _no_url() from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_url()
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "the server's URL holds more than scheme, host, port and path",
            hint="a key belongs into the environment, as CLIPINDEX_API_KEY",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _no_url() -> UsageError:
    return UsageError(
        "--url is not the URL of a server", hint="write it like http://localhost:6333"
    )
