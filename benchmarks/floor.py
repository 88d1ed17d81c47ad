"""The physical floor: what no program on this machine can go below, measured on one core.

    python -m benchmarks.floor LIST

Two things must be done for each picture, whoever does them: its bytes must be entropy decoded,
and the network's multiplications made. The first is timed by decoding JPEGs at an eighth of
their size, which leaves libjpeg little else; the second is a matrix product of the network's
shape at the best rate that the kernels reach. Prints JSON.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from PIL import Image

from clipindex.model.imports import guarded_import

GFLOP = 8.24  # ViT-B/32, the last layer for the class token alone
ROWS, WIDTH, HIDDEN = 400, 768, 3072  # eight pictures of fifty tokens through the first MLP layer
TRIES = 40
SAMPLE = 40  # files


def main() -> None:
    files = Path(sys.argv[1]).read_text("utf-8").splitlines()
    rates = {"fp32": fp32_rate(), "int8": int8_rate(), "bf16": bf16_rate()}
    floor = {
        "entropy_ms_per_mb": entropy_ms_per_mb([path for path in files if path.endswith(".jpg")]),
        "gigaflops_of_a_core": {name: rate for name, rate in rates.items() if rate},
        "gflop_a_picture": GFLOP,
    }
    print(json.dumps(floor))


def entropy_ms_per_mb(files: list[str]) -> float | None:
    """CPU ms for a megabyte of JPEG; the faster of two rounds for each file."""
    spent = size = 0.0
    for path in files[:SAMPLE]:
        data = Path(path).read_bytes()
        spent += min(_decode_an_eighth(data) for _ in range(2))
        size += len(data)
    return spent * 1e3 / (size / 1e6) if size else None


def _decode_an_eighth(data: bytes) -> float:
    began = time.thread_time()
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (image.width // 8, image.height // 8))
        image.load()
    return time.thread_time() - began


def fp32_rate() -> float:
    """GFLOP/s of onnxruntime's MatMul."""
    weights = np.ones((WIDTH, HIDDEN), np.float32)
    return _rate(_product("MatMul", weights, TensorProto.FLOAT), np.ones((ROWS, WIDTH), np.float32))


def int8_rate() -> float:
    """GOP/s of unsigned activations by signed weights."""
    weights = np.ones((WIDTH, HIDDEN), np.int8)
    left = np.ones((ROWS, WIDTH), np.uint8)
    return _rate(_product("MatMulInteger", weights, TensorProto.INT32), left)


def bf16_rate() -> float | None:
    """GFLOP/s of OpenVINO's product in bf16; None without OpenVINO or such a CPU."""
    try:
        with guarded_import():
            import openvino
    except ImportError:
        return None
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    graph = _graph("MatMul", np.ones((WIDTH, HIDDEN), np.float32), TensorProto.FLOAT)
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", settings)
    request, left = compiled.create_infer_request(), np.ones((ROWS, WIDTH), np.float32)
    return _best(lambda: request.infer({"left": left}, share_inputs=True))


def _rate(session: onnxruntime.InferenceSession, left: object) -> float:
    return _best(lambda: session.run(None, {"left": left}))


def _best(call: Callable[[], object]) -> float:
    """Operations a CPU second, in billions, of the fastest try; one thread computes."""
    fastest = float("inf")
    for _ in range(TRIES):
        began = time.process_time()
        call()
        fastest = min(fastest, time.process_time() - began)
    return 2 * ROWS * WIDTH * HIDDEN / fastest / 1e9


def _product(kind: str, weights: object, out: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = _graph(kind, weights, out).SerializeToString()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _graph(kind: str, weights: object, out: int) -> onnx.ModelProto:
    right = onnx.numpy_helper.from_array(weights, "right")
    left_type = TensorProto.UINT8 if out == TensorProto.INT32 else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ["left", "right"], ["product"])],
        kind,
        [helper.make_tensor_value_info("left", left_type, [ROWS, WIDTH])],
        [helper.make_tensor_value_info("product", out, [ROWS, HIDDEN])],
        [right],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
