"""The vision tower on OpenVINO, in bfloat16 where that is exact enough.

It uses the package openvino, which only this module imports, not onnxruntime's provider for
OpenVINO: that wheel lags behind and is slower.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from clipindex.errors import ModelError
from clipindex.model.imports import guarded_import
from clipindex.model.providers import CPU_BATCH
from clipindex.model.saturation import Run, check_exact
from clipindex.pictures.decode import Pixels

with guarded_import():
    import openvino
    from openvino import opset13 as ops

EXACT_SINCE = (2026, 3)


class OpenVinoTower:
    """A vision tower compiled for the CPU, with a stream and an infer request for each thread."""

    batch = CPU_BATCH

    def __init__(self, path: Path, probe: Path | None, callers: int) -> None:
        """Load the graph at `path` for `callers` threads that call `run` at once.

        `probe`: see `saturation`; only 8-bit weights have one. Raises ModelError.
        """
        core = openvino.Core()
        try:
            if probe is not None:
                _refuse_old(probe)
                check_exact(_runner(core, probe), probe)
            model = core.read_model(path)
            precision = _precision(core, model)
            if precision == "bf16":
                _keep_sums(model)
            settings = {
                "INFERENCE_PRECISION_HINT": precision,
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # else int8 weights make it int8, unasked
                "NUM_STREAMS": callers,
                "INFERENCE_NUM_THREADS": callers,
            }
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot read {path.name}: {_reason(error)}",
                path=str(path),
                hint="use --provider cpu, which reads every bundle",
            ) from error
        _release_mapped_weights(path.parent)
        self._own = threading.local()
        # One run before other threads call: if two threads are the first to fetch a result,
        # openvino's Python binding deadlocks.
        _, *sizes = self._compiled.input("pixels").partial_shape
        self.run(np.zeros((1, *(size.get_length() for size in sizes)), np.uint8))
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.provider_in_use = f"OpenVINO {','.join(devices)} {used}"

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """See `VisionTower.run`. Each thread has a request of its own, which holds its buffers."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        outputs = self._own.request.infer({"pixels": pixels}, share_inputs=True)
        embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]] = outputs["image_embeds"]
        return embeddings


def _refuse_old(probe: Path) -> None:
    """2026.1 and 2026.2 silently read 8-bit inputs below their zero point as large numbers."""
    year, number = openvino.__version__.split(".")[:2]
    if (int(year), int(number)) < EXACT_SINCE:
        raise ModelError(
            f"OpenVINO {openvino.__version__} computes int8 models wrongly",
            path=str(probe.parent),
            hint="pip install 'openvino>=2026.3', or use --provider cpu",
        )


def _runner(core: openvino.Core, path: Path) -> Run:
    """Runs a graph as onnxruntime would: all outputs, in their order, computed in float32."""
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda _, inputs: list(compiled(inputs).values())


def _precision(core: openvino.Core, model: openvino.Model) -> str:
    """bf16 where the CPU has it and the tower tolerates it, else f32.

    Against float32, a transformer's vectors keep a cosine of 0.9999, a convolutional tower's do
    not (mini: 0.991).
    """
    fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    convolutional = any(node.get_type_name() == "Convolution" for node in model.get_ops())
    return "bf16" if fast and not convolutional else "f32"


def _keep_sums(model: openvino.Model) -> None:
    """Keep the residual sums between matrix products in float32.

    OpenVINO computes in float32 what lies between the last product and a result. So the first
    number of each sum that a product reads is made an (unused) result: on ViT-B/32 the mean
    cosine to float32 rises from 0.99986 to 0.99994, for 2 % of the time.
    """
    products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
    inputs = [product.input_value(0) for product in products]
    model.add_results(
        [_first_number(value) for value in inputs if value.get_node().get_type_name() == "Add"]
    )


def _first_number(value: openvino.Output) -> openvino.Node:
    axes = len(value.get_partial_shape())
    return ops.result(ops.slice(value, [0] * axes, [1] * axes, [1] * axes))


def _release_mapped_weights(folder: Path) -> None:
    """Free the pages of the mapped weight files: 335 MB for ViT-B/32.

    The compiled tower has its own copy, yet OpenVINO keeps the files mapped. Pages that are needed
    later are simply read again.
    """
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines():
        addresses, rights, *_ = line.split(maxsplit=5)
        if rights == "r--s" and line.endswith(".data") and f" {folder.resolve()}/" in line:
            start, end = (int(address, 16) for address in addresses.split("-"))
            advise(start, end - start, mmap.MADV_DONTNEED)


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
