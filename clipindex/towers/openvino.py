"""The vision tower on OpenVINO, in bfloat16 where the CPU has it. The door to openvino.

The package itself, not onnxruntime's provider for it: that wheel lags behind and costs more.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from clipindex.errors import ModelError
from clipindex.images import Pixels

BATCH = 8  # above it nothing is gained


class OpenVinoTower:
    """A vision tower compiled for the CPU, with a stream and an infer request for each caller."""

    batch = BATCH

    def __init__(self, path: Path, callers: int) -> None:
        """`callers` is the number of threads that will call at once. Raises ModelError."""
        core = openvino.Core()
        fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": callers,
        }
        try:
            self._compiled = core.compile_model(core.read_model(path), "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot read {path.name}: {_reason(error)}",
                path=str(path),
                hint="take another provider (cpu reads every bundle), or convert the bundle again",
            ) from error
        self._own = threading.local()
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        precision = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.provider = f"OpenVINO {','.join(devices)} {precision.get_type_name()}"

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """A request serves one thread: it holds the buffers of the picture in hand."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer({"pixels": pixels}, share_inputs=True)
        embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]] = found["image_embeds"]
        return embeddings


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
