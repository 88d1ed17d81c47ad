"""The vision tower on OpenVINO, in bfloat16 where that is exact enough. The door to openvino.

The package itself, not onnxruntime's provider for it: that wheel lags behind and costs more.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from clipindex.errors import ModelError
from clipindex.model.providers import CPU_BATCH
from clipindex.model.saturation import Run, check_exact
from clipindex.pictures.decode import Pixels

EXACT_SINCE = (2026, 3)


class OpenVinoTower:
    """A vision tower compiled for the CPU, with a stream and an infer request for each caller."""

    batch = CPU_BATCH

    def __init__(self, path: Path, probe: Path, callers: int) -> None:
        """`callers` is the number of threads that will call at once. `probe` need not exist: it
        comes with int8 weights. Raises ModelError."""
        core = openvino.Core()
        try:
            if probe.exists():
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
                hint="take --provider cpu, which reads every bundle",
            ) from error
        _release_mapped_weights(path.parent)
        self._own = threading.local()
        # In this thread alone: when two threads are the first to take a result, openvino's binding
        # makes each wait for the other for ever.
        _, *sizes = self._compiled.input("pixels").partial_shape
        self.run(np.zeros((1, *(size.get_length() for size in sizes)), np.uint8))
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.provider = f"OpenVINO {','.join(devices)} {used}"

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """A request serves one thread: it holds the buffers of the pictures in hand."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer({"pixels": pixels}, share_inputs=True)
        embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]] = found["image_embeds"]
        return embeddings


def _refuse_old(probe: Path) -> None:
    """2026.1 and 2026.2 take 8-bit inputs below their zero point for large ones, in silence."""
    year, number = openvino.__version__.split(".")[:2]
    if (int(year), int(number)) < EXACT_SINCE:
        raise ModelError(
            f"OpenVINO {openvino.__version__} does not compute int8 models rightly",
            path=str(probe.parent),
            hint="pip install 'openvino>=2026.3', or take --provider cpu",
        )


def _runner(core: openvino.Core, path: Path) -> Run:
    """A graph as onnxruntime runs it: all of its outputs, in their order; nothing is rounded."""
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda _, inputs: list(compiled(inputs).values())


def _precision(core: openvino.Core, model: openvino.Model) -> str:
    """bf16 where the CPU computes in it and the tower bears it: a transformer's vectors keep a
    cosine of 0.9999 to float32's, a convolutional tower's do not (mini's: 0.991)."""
    fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    convolutional = any(node.get_type_name() == "Convolution" for node in model.get_ops())
    return "bf16" if fast and not convolutional else "f32"


def _keep_sums(model: openvino.Model) -> None:
    """Keep in float32 what lies between two matrix products, above all the sum of all layers.

    OpenVINO leaves in float32 what stands between the last product and a result. So a shred of
    each sum that a product reads becomes a result that nobody looks at: a mean cosine of 0.99994
    instead of 0.99986 on ViT-B/32, for 2 % of the time.
    """
    products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
    sums = [product.input_value(0) for product in products]
    model.add_results(
        [_first_number(sum) for sum in sums if sum.get_node().get_type_name() == "Add"]
    )


def _first_number(sum: openvino.Output) -> openvino.Node:
    """Its first number, as a result."""
    axes = len(sum.get_partial_shape())
    return ops.result(ops.slice(sum, [0] * axes, [1] * axes, [1] * axes))


def _release_mapped_weights(folder: Path) -> None:
    """Give back the memory of the weights as the files have them: the compiled tower has its own
    copy, yet OpenVINO keeps the files mapped (335 MB of ViT-B/32). Read again, they come again."""
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
