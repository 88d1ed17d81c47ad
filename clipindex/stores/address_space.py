"""How much memory this process may still map."""

from __future__ import annotations

from pathlib import Path

from clipindex.errors import StoreError

ADDRESS_SPACE = 600 << 20  # that the engine takes at an open: 550 MiB measured


def address_space_left() -> int | None:
    """Bytes that this process may still map; None where there is no limit, or none is enforced."""
    try:
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])  # Linux
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()


def check_address_space(location: str) -> None:
    """Under a limit (ulimit -v) that is too low the engine hangs, deaf to signals: it lacks memory
    for the text of its own error. Raises StoreError."""
    left = address_space_left()
    if left is not None and left < ADDRESS_SPACE:
        raise StoreError(
            f"the limit on memory leaves {left >> 20} MiB of address space, the engine needs "
            f"{ADDRESS_SPACE >> 20} to open the collection",
            path=location,
            hint="raise it (ulimit -v): an ingest maps about 1.6 GiB and uses far less; to "
            "limit memory that is used, take a container's limit or systemd's MemoryMax",
        )
