"""What the environment says of web requests: proxies (HTTP_PROXY and its like) and ~/.netrc.

Both may hold passwords: they go into the requests that they are meant for, and nowhere else.
"""

from __future__ import annotations

import ipaddress
import netrc
import os
from functools import cache
from urllib.request import getproxies, proxy_bypass


def proxy_for(scheme: str, host: str, port: int) -> str | None:
    """The proxy that a request to a host goes through; None: it goes there directly.

    Never for this machine itself: a proxy's `localhost` is another one.
    """
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(f"{host}:{port}") or _is_in_excluded_network(host):
        return None
    return proxy if "://" in proxy else "http://" + proxy


def login_for(scheme: str, host: str) -> tuple[str, str] | None:
    """Name and password of a host in ~/.netrc, for https and this machine; the entry `default`
    would hand them to every host, so it counts for none."""
    entries = _netrc()
    if entries is None or host not in entries.hosts or host == "default":
        return None
    if scheme != "https" and not is_loopback(host):
        return None
    login, account, password = entries.hosts[host]
    return login or account or "", password or ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as far as its name says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_in_excluded_network(host: str) -> bool:
    """NO_PROXY may name networks: 10.0.0.0/8."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    excluded = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return any(
        _holds(network.strip(), address) for network in excluded.split(",") if "/" in network
    )


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


@cache
def _netrc() -> netrc.netrc | None:
    """NETRC, ~/.netrc or ~/_netrc; one that cannot be read or understood is as none."""
    own = os.environ.get("NETRC")
    for name in (own,) if own else ("~/.netrc", "~/_netrc"):
        try:
            return netrc.netrc(os.path.expanduser(name))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError, netrc.NetrcParseError):
            return None
    return None
