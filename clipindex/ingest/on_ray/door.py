"""The only module that imports Ray: a cluster to connect to, actors on it, and what they answer."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

from clipindex.errors import ClipIndexError, UsageError
from clipindex.ingest.cores import usable_cores
from clipindex.ingest.on_ray.agreement import Job
from clipindex.ingest.on_ray.slices import Slice
from clipindex.ingest.on_ray.station import Done, Joined, Looked, SliceWorker
from clipindex.ingest.options import RayOptions

IN_HAND = 2  # slices of an actor: while one is written, the next is read
OBJECT_STORE = 80 << 20  # bytes, near Ray's least: slices and rows are small
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")
CLEARING = 20.0  # seconds
ANSWERS = 5.0  # seconds, within which a cluster takes a connection
WATCH = "watch"  # a thread of an actor that answers while the others work
Ref = Any  # of an answer that is not there yet


class Lost(Exception):
    """An actor, its worker process or its node died before it answered; Ray starts it again."""


class Gone(Lost):
    """An actor that Ray does not start again: it cannot even be created."""


def check_installed() -> None:
    """Raises UsageError without Ray."""
    if find_spec("ray") is None:
        raise UsageError(
            "--engine ray needs the package ray, which is not installed",
            hint="pip install 'clipindex[ray]', here and on every node of the cluster",
        )


@contextmanager
def connected(options: RayOptions) -> Iterator[None]:
    """A connection to the cluster that is named; where none is, a cluster of this machine's cores,
    which ends with it. Actors end with it as well, whatever happens to this process.

    Raises UsageError for a cluster that does not answer.
    """
    # Ray reports how it is used to its makers, unless this is set when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address is None and "ray" not in sys.modules:
        # Read at the import: whoever has no token may run nothing on our cluster.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    with _own_folder(None if address else "clipindex-ray-") as folder:
        _print_no_deaths()
        try:
            _connect(address, folder)
            yield
        finally:
            clear_up(ray.shutdown)


def _connect(address: str | None, folder: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    own: dict[str, Any] = {
        "num_cpus": usable_cores(),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "_temp_dir": folder,
    }
    try:
        _connect_once(address or "")
        with _own_signals():
            ray.init(address or "local", **quiet, **({} if address else own))
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"the Ray cluster does not answer: {str(error).strip().splitlines()[0]}",
            path=address or "",
            hint="is it running, with the same versions of Ray and Python? --ray-address takes "
            "HOST:6379, or auto on one of its machines",
        ) from error


def is_head_there() -> bool:
    """Whether the cluster that we are connected to still takes connections. Ray ends this process,
    without a word of ours, when its head has been away for a minute."""
    import ray

    try:
        _connect_once(ray.get_runtime_context().gcs_address)
    except OSError:
        return False
    return True


def _connect_once(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT. Ray tries that for minutes, deaf to
    Ctrl-C."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts handlers for SIGTERM in place of ours when it connects: one in Python, that only
    exits, and one in C, that prints a trace."""
    from ray._private import utils

    utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        if _is_main() and (own := signal.getsignal(signal.SIGTERM)) is not None:
            signal.signal(signal.SIGTERM, own)


def _is_main() -> bool:
    """Whether signals arrive in this thread, and handlers can be set."""
    return threading.current_thread() is threading.main_thread()


def clear_up(work: Callable[[], object]) -> None:
    """Do what ends processes that we started. A second Ctrl-C does not stop it. It is given up
    after CLEARING seconds: a cluster that stands still would be waited for for ever."""

    def quietly() -> None:
        with suppress(Exception):  # nobody could do better
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    with _signals_ignored():
        thread.start()
        thread.join(CLEARING)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in ENDINGS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers if _is_main()}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _own_folder(prefix: str | None) -> Iterator[str | None]:
    """A folder for the logs and sockets of a cluster of our own, deleted with it."""
    if prefix is None:
        yield None
        return
    folder = tempfile.mkdtemp(prefix=prefix)
    try:
        yield folder
    finally:
        clear_up(partial(shutil.rmtree, folder, ignore_errors=True))


def _print_no_deaths() -> None:
    """Ray prints each death of a worker to standard output, where `--json` has its lines; a run
    reports deaths by itself."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


def room_for(options: RayOptions) -> int:
    """How many actors the cluster has room for. Raises UsageError for none."""
    import ray

    room = min(
        int(ray.cluster_resources().get(name, 0.0) / each)
        for name, each in (("CPU", options.cpus_per_actor), ("GPU", options.gpus_per_actor))
        if each
    )
    if room < 1:
        raise UsageError(
            f"the cluster has no room for an actor with {options.cpus_per_actor} cores and "
            f"{options.gpus_per_actor:g} GPUs",
            hint="ask for less with --cpus-per-actor or --gpus-per-actor; `ray status` shows what "
            "there is",
        )
    return room


class Actors:
    """The actors of a run. One that dies is started again by Ray, on whichever node has room."""

    def __init__(self, job: Job, options: RayOptions, count: int) -> None:
        import ray

        class Actor(SliceWorker):
            """Says where it runs."""

            def __init__(self) -> None:
                super().__init__(socket.gethostname())

        kind = ray.remote(concurrency_groups={WATCH: 1})(Actor).options(
            num_cpus=options.cpus_per_actor,
            num_gpus=options.gpus_per_actor,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=IN_HAND,
        )
        self.count = count
        self._job = ray.put(job)
        self._actors = [kind.remote() for _ in range(count)]

    def join(self, number: int) -> Ref:
        """Have an actor make itself ready, it answers with Joined."""
        return self._actors[number].join.remote(self._job)

    def work(self, number: int, slice_: Slice) -> Ref:
        """Hand a slice to an actor; it answers with Done."""
        return self._actors[number].work.remote(slice_)

    def look(self, number: int) -> Ref:
        """Ask an actor how it gets on, while it works; it answers with Looked."""
        return self._actors[number].look.options(concurrency_group=WATCH).remote()

    def kill(self, number: int) -> None:
        """End an actor that does not answer; Ray starts it again."""
        import ray

        ray.kill(self._actors[number], no_restart=False)

    def close(self) -> None:
        """End all actors at once."""
        clear_up(self._kill_all)

    def _kill_all(self) -> None:
        import ray

        for actor in self._actors if is_head_there() else ():
            ray.kill(actor)


def answered(refs: Sequence[Ref], timeout: float) -> list[Ref]:
    """Those that have an answer, within `timeout` seconds."""
    import ray

    done, _ = ray.wait(list(refs), num_returns=1, timeout=timeout)
    more, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
    return list({*done, *more})


def answer(ref: Ref) -> Joined | Done | Looked:
    """An answer. Raises Lost or Gone where there will be none, and what the actor itself raised."""
    import ray
    from ray.exceptions import ActorDiedError, RayError, RayTaskError

    try:
        value: Joined | Done | Looked = ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, ClipIndexError) else error from None
    except RayError as error:
        lines = str(error).strip().splitlines()
        kind = Gone if isinstance(error, ActorDiedError) else Lost
        raise kind(lines[-1] if lines else type(error).__name__) from error
    return value
