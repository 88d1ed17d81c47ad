"""A service as a process: its socket, its signals, its end."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from clipindex.errors import ClipIndexError, UsageError
from clipindex.serve.app import application
from clipindex.serve.guard.connections import Connections
from clipindex.serve.options import ServeOptions
from clipindex.serve.service import Service

PATIENCE = 10  # seconds at the end for requests in flight
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # as far as the system has them


def run(service: Service, ready: Callable[[str], object]) -> None:
    """Answer until SIGTERM or SIGINT, then finish the requests in flight. `ready` is called with
    the URL once requests are answered. Raises UsageError where the address cannot be used."""
    with bound(service.options) as listener:
        server = server_for(service, lambda: ready(url_of(listener)))
        server.run(sockets=[listener])


def server_for(service: Service, started: Callable[[], object]) -> Server:
    """A server that calls `started` once it answers; it ends when `should_exit` is set."""
    for name in ("uvicorn.error", "python_multipart"):  # the guard says what failed
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        application(service),
        http=Connections(service.options.limits).protocol,  # type: ignore[arg-type]  # called alike
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    return Server(config, started)


@contextmanager
def bound(options: ServeOptions) -> Iterator[socket.socket]:
    """A socket that listens at the address of the options. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"'{options.host}' is no address of this machine: {error.strerror}",
            hint="correct --host",
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise ClipIndexError(
                f"port {options.port} of {options.host} cannot be used: {error.strerror}",
                hint="name another one with --port; 0 takes any that is free",
            ) from None
        listener.listen(128)
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where the service is."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """uvicorn's, which ends by itself at a signal: whoever called `run` goes on."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then say that requests are answered."""
        await super().startup(sockets)
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A first signal ends the service in order, a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
