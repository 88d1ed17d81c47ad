"""Tests whether the runtime sums 8-bit products exactly on this processor.

x86 processors without VNNI add two products of an unsigned and a signed 8-bit number in 16 bits,
with saturation: 255 * 127 * 2 = 64,770 becomes 32,767, and vectors are silently wrong (instruction
VPMADDUBSW). A bundle with 8-bit weights therefore carries a probe: a graph of a few hundred bytes
whose sums exceed 16 bits, with the right sums beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from clipindex.errors import ModelError

# The probe: `inputs` uint8 [rows, INPUTS] to `sums` int32 [rows, outputs], and `expected` int32
# [outputs], the right sums where every input is LARGEST.
INPUTS = 64
LARGEST = 255
ROWS = (1, 8)  # runtimes have separate kernels for a single row
# onnxruntime's option for kernels that are exact on any x86 processor, at half the speed.
EXACT_KERNELS = "session.x64quantprecision"


# Runs a graph: (None for all outputs, inputs by name) -> outputs in the graph's order.
Run = Callable[[None, dict[str, Any]], Sequence[Any]]


class Session(Protocol):
    """The part of onnxruntime's InferenceSession that is used here."""

    run: Run


class Options(Protocol):
    """The part of onnxruntime's SessionOptions that is used here."""

    def add_session_config_entry(self, key: str, value: str, /) -> None:
        """Set an option that has no attribute of its own."""
        ...


SomeOptions = TypeVar("SomeOptions", bound=Options)


def make_exact(
    options: SomeOptions, probe: Path | None, load: Callable[[Path, SomeOptions], Session]
) -> SomeOptions:
    """Switch `options` to exact kernels if the probe comes out wrong without them.

    None: the bundle has no 8-bit weights, and nothing is changed. Raises ModelError when the sums
    are wrong with exact kernels too.
    """
    if probe is None or is_exact(load(probe, options).run):
        return options
    options.add_session_config_entry(EXACT_KERNELS, "1")
    check_exact(load(probe, options).run, probe)
    return options


def check_exact(run: Run, probe: Path) -> None:
    """Raises ModelError when the probe's sums are wrong; `run` runs its graph."""
    if not is_exact(run):
        raise ModelError(
            "this processor's 8-bit arithmetic saturates: the model's vectors would be wrong",
            path=str(probe.parent),
            hint="make it anew with clipindex models quantise NAME --weight-bits 7 (slightly less"
            " exact), or use an fp32 model",
        )


def is_exact(run: Run) -> bool:
    """Whether all the probe's sums are right, for one row and for several."""
    for rows in ROWS:
        inputs = np.full((rows, INPUTS), LARGEST, dtype=np.uint8)
        sums, expected = run(None, {"inputs": inputs})
        if not np.array_equal(sums, np.broadcast_to(expected, sums.shape)):
            return False
    return True
