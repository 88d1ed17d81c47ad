"""How a service is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from clipindex.model.providers import Provider
from clipindex.serve.guard.tokens import Tokens

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a service takes from its callers, all of them together where nothing else is said."""

    body: int = 32 << 20  # bytes of one request
    pixels: int = 100_000_000  # of one picture
    connections: int = 100
    waiting: int = 64  # requests that wait for a thread; more are refused
    seconds: float = 30.0  # of one request, from its first byte to the last of the answer
    idle: float = 10.0  # seconds for a connection without a request, and for a request's headers


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where a service listens, whom it answers and how much it takes."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    hosts: tuple[str, ...] = ()  # further names by which it is called, behind a proxy
    fetch_from: tuple[str, ...] = ()  # hosts from which a picture may be fetched, by its URL
    tokens: Tokens = field(default_factory=Tokens)
    limits: Limits = field(default_factory=Limits)
    models: tuple[str, ...] = ()  # loaded beside the collection's own, for embeddings
    provider: Provider = Provider.AUTO  # runs their vision towers
    thumbnails: Path | None = None  # folder of their cache; None: in the user's cache folder
    uploads: Path | None = None  # where pictures that are sent to be indexed are kept
