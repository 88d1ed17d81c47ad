"""Whether a request was meant for this service, by its Host, Origin and Sec-Fetch headers.

A page of another site makes the browser of somebody who may ask send requests here: to 127.0.0.1
itself, or to a name of its own that it lets point to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clipindex.serve.problems import Problem

LOOPBACK_NAMES = frozenset({"localhost"})
SAFE_SITES = ("same-origin", "none", "")  # none: typed, or from a bookmark


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES


@dataclass(frozen=True, slots=True)
class Origins:
    """The names by which a service is called. `any_address`: and by every IP address, which no
    site can let point elsewhere."""

    names: frozenset[str]
    any_address: bool

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises Problem: 421 for a foreign Host, 403 for a request from another site's page."""
        host = headers.get("host", "")
        if not self._is_own(_name_of(host)):
            raise Problem(
                421,
                "this service is not called by that name",
                "clipindex serve --allow-host NAME, for a name behind a proxy",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Problem(403, "the request comes from a page of another site")
        if headers.get("sec-fetch-site", "") not in SAFE_SITES and not _is_visit(
            method, path, headers
        ):
            raise Problem(403, "the request comes from a page of another site")

    def _is_own(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return self.any_address or address.is_loopback


def origins_of(host: str, also: Collection[str]) -> Origins:
    """The names of a service that listens at `host`; `also`: those that the user allowed."""
    names = {*LOOPBACK_NAMES, host.lower(), *(name.lower() for name in also)}
    elsewhere = not is_loopback(host)
    if elsewhere:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Origins(frozenset(names), elsewhere)


def _name_of(host: str) -> str:
    """The Host header without its port: `localhost:8420`, `[::1]:8420`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _is_visit(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether somebody followed a link to the page: that shows another site nothing."""
    return (
        method == "GET"
        and path == "/"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
