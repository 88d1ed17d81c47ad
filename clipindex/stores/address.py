"""The address of a Qdrant server: URL and key, checked before anything is sent."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from clipindex.errors import Refused, UsageError

PORT = 6333  # Qdrant's default, for https too


@dataclass(frozen=True, slots=True)
class Server:
    """A server's normalised URL, and the API key, which is never shown. `timeout`: seconds that
    it may take to answer; None: 10 for reading, 60 for writing.

    Raises UsageError for an invalid URL, key or timeout, Refused for a key over plain http to
    another machine.
    """

    url: str
    key: str = field(default="", repr=False)
    timeout: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", normalised(self.url))
        object.__setattr__(self, "key", self.key.strip())
        if self.timeout is not None and self.timeout < 1:
            raise UsageError("the timeout is below a second", hint="60 suits a slow server")
        if not self.key.isascii() or not self.key.isprintable():
            raise UsageError(
                "CLIPINDEX_API_KEY contains characters that no key has",
                hint="copy it again; it may include a line end or a quotation mark",
            )
        if self.key and self.url.startswith("http:") and not self.is_localhost:
            raise Refused(
                f"the key would be sent to {self.url} unencrypted",
                hint="use https, or an ssh tunnel to localhost",
            )

    @property
    def is_localhost(self) -> bool:
        """Whether the URL names this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def normalised(url: str) -> str:
    """Scheme, host, port and path in one spelling, because the URL is part of a catalogue's key.

    Raises UsageError for anything but a server's URL.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or PORT
    except ValueError:
        raise _invalid_url() from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _invalid_url()
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "the server's URL has more than scheme, host, port and path",
            hint="set a key in the environment, as CLIPINDEX_API_KEY",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _invalid_url() -> UsageError:
    return UsageError("this is not the URL of a server", hint="example: http://localhost:6333")
