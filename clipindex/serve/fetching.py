"""Pictures that a request names by URL: only from hosts that the user of the service allowed.

The address is looked up once, checked and then connected to, so that no name can stand for another
address by then. Each redirect goes through the same checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass

import httpx

from clipindex.serve.problems import Problem

SECONDS = 10.0  # for one picture, redirects included
REDIRECTS = 3
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Fetcher:
    """`hosts`: names or addresses, with a port where it is not the usual one."""

    hosts: frozenset[str]
    most: int  # bytes

    async def fetch(self, url: str) -> bytes:
        """The bytes at a URL. Raises Problem: 403 for a host that is not allowed, 502 where the
        picture cannot be had, 413 where it is too large."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._fetch(url)
        except TimeoutError:
            raise Problem(502, f"the picture did not arrive within {SECONDS:g} s") from None
        except httpx.HTTPError as error:
            raise Problem(502, f"the picture cannot be fetched: {type(error).__name__}") from None

    async def _fetch(self, url: str) -> bytes:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            target = _parsed(url)
            for _ in range(REDIRECTS + 1):
                request = await self._request(client, target)
                answer = await client.send(request, stream=True)
                try:
                    location = answer.headers.get("location")
                    if not (answer.is_redirect and location):
                        return await self._body(answer)
                    target = _parsed(str(target.join(location)))
                finally:
                    await answer.aclose()
        raise Problem(502, f"the picture is behind more than {REDIRECTS} redirects")

    async def _request(self, client: httpx.AsyncClient, target: httpx.URL) -> httpx.Request:
        host = self._allowed(target)
        address = await self._address(target)
        return client.build_request(
            "GET",
            target.copy_with(host=address),
            headers={"host": host, "accept": "image/*"},
            extensions={"sni_hostname": target.host},
        )

    def _allowed(self, target: httpx.URL) -> str:
        """The Host header of an allowed target."""
        name = f"[{target.host}]" if ":" in target.host else target.host
        usual = PORTS[target.scheme]
        host = name if target.port in (None, usual) else f"{name}:{target.port}"
        if host.lower() not in self.hosts:
            raise Problem(
                403,
                "pictures are not fetched from that host",
                "clipindex serve --allow-fetch HOST names one",
            )
        return host

    async def _address(self, target: httpx.URL) -> str:
        """An address of the target. One that is not public must be allowed by itself: a name may
        be made to stand for it."""
        loop = asyncio.get_running_loop()
        port = target.port or PORTS[target.scheme]
        try:
            found = await loop.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Problem(502, "the picture's host has no address") from None
        address = ipaddress.ip_address(found[0][4][0])
        known = {host.rpartition(":")[0] or host for host in self.hosts} | self.hosts
        if not (address.is_global or str(address) in known or f"[{address}]" in known):
            raise Problem(403, "the picture's host has an address that is not public")
        return str(address)

    async def _body(self, answer: httpx.Response) -> bytes:
        if answer.status_code != 200:
            raise Problem(502, f"the picture's host answers with status {answer.status_code}")
        data = bytearray()
        async for piece in answer.aiter_bytes():
            data += piece
            if len(data) > self.most:
                raise Problem(413, f"the picture is larger than {self.most >> 20} MiB")
        return bytes(data)


def fetcher_of(hosts: Collection[str], most: int) -> Fetcher:
    """A fetcher for these hosts."""
    return Fetcher(frozenset(host.lower() for host in hosts), most)


def _parsed(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        target = httpx.URL()
    if target.scheme not in PORTS or not target.host or target.userinfo:
        raise Problem(400, f"{url[:80]!r} is not the URL of a picture")
    return target
