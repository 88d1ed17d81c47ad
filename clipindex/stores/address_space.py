"""How much memory this process may still map."""

from __future__ import annotations

from pathlib import Path


def address_space_left() -> int | None:
    """Bytes that this process may still map; None where there is no limit, or none is enforced."""
    try:
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])  # Linux
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()
