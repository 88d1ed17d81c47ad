"""How a native library is imported: with its telemetry off, and not in the middle of a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Read by the libraries when they are imported. A value that the user has set stays.
TELEMETRY_VARIABLES = {
    # onnxruntime 1.29 and later keep a device id below the cache folder and connect to Microsoft.
    # Calling its disable_telemetry_events() is too late: the import has written the id already.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, by which the converter downloads
}
# OpenVINO sends "imported" to Google Analytics while it is imported, and has no variable for it
# but those of CI services. Without this package it takes a stub that sends nothing.
OPENVINO_TELEMETRY = "openvino_telemetry"

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def disable_telemetry() -> None:
    """Set the variables that onnxruntime and huggingface_hub read when they are imported."""
    for name, value in TELEMETRY_VARIABLES.items():
        os.environ.setdefault(name, value)


@contextmanager
def guarded_import() -> Iterator[None]:
    """Around the import of a native library: no telemetry, and signals wait until it is done.

    Ctrl-C inside such an import becomes an ImportError, which another import on the way may take
    for a missing option and drop: the run would simply go on.
    """
    disable_telemetry()
    with _hidden(OPENVINO_TELEMETRY), _signals_deferred():
        yield


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """An import of this module fails, unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how Python marks it as missing
    try:
        yield
    finally:
        del sys.modules[module]


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """SIGINT and SIGTERM reach their handlers at the end. Python runs handlers in the main thread
    only, so there is nothing to do in another one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    handlers = {
        number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda *signal_and_frame: arrived.append(signal_and_frame))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late, frame in arrived:
            handlers[signal.Signals(late)](late, frame)
