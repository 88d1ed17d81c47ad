"""Paths as `file://` links: those a terminal lets people click on (OSC 8), and a sheet's."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

from clipindex.cli.words import printable_path


def file_uri(path: bytes, host: str = "") -> str:
    """An absolute path as a URI; its bytes that are not plain ASCII are percent-encoded.

    >>> file_uri(b"/a b/caf\\xe9.jpg", "desk")
    'file://desk/a%20b/caf%E9.jpg'
    """
    if os.name == "nt":
        return f"file://{host}/" + quote(path.replace(b"\\", b"/"), safe="/:")
    return f"file://{host}" + quote(path)


def link_of(path: bytes) -> str | None:
    """The link to a path on standard output; None where it is no terminal that has links.

    The host's name is in it, so that a terminal at the other end of an ssh connection does not
    look for the file on its own machine.
    """
    return file_uri(path, _host()) if _terminal_has_links() else None


def linked(path: bytes) -> str:
    """A path for a line of standard output, as a link where there may be one."""
    link, text = link_of(path), printable_path(path)
    return f"\x1b]8;;{link}\x1b\\{text}\x1b]8;;\x1b\\" if link else text


def _terminal_has_links() -> bool:
    """Terminals ignore OSC 8 where they do not know it; the others are named here, and on Windows
    those that do know it."""
    if not sys.stdout.isatty():
        return False
    if os.name == "nt":
        return "WT_SESSION" in os.environ or "TERM_PROGRAM" in os.environ
    return os.environ.get("TERM", "dumb") not in ("dumb", "linux", "vt100", "vt220")


def _host() -> str:
    import socket  # only a terminal asks

    name = socket.gethostname()
    return name if name.replace("-", "").replace(".", "").isalnum() and name.isascii() else ""
