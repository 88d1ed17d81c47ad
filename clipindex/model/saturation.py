"""Whether 8-bit products are summed exactly here: asked of the runtime, not of the processor.

Before VNNI, x86 processors add pairs of products of an unsigned and a signed 8-bit number in 16
bits and cut off what does not fit: 255 * 127 * 2 becomes 32,767, and vectors are silently wrong. A
bundle with 8-bit weights carries a probe, a graph of a few hundred bytes whose sums do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from clipindex.errors import ModelError

INPUTS = 64  # of the probe: it gives `sums` [rows, outputs] of 255s, and those `expected`
LOUDEST = 255
ROWS = (1, 8)  # runtimes have kernels of their own for a single row
# onnxruntime's switch to kernels that are exact on any x86 processor, at half the speed.
EXACT_KERNELS = "session.x64quantprecision"


# A graph's outputs, all (None) in their order, of its inputs by name.
Run = Callable[[None, dict[str, Any]], Sequence[Any]]


class Session(Protocol):
    """What is used of onnxruntime's InferenceSession."""

    run: Run


class Options(Protocol):
    """What is used of onnxruntime's SessionOptions."""

    def add_session_config_entry(self, key: str, value: str, /) -> None:
        """Set an option that has no attribute."""
        ...


SomeOptions = TypeVar("SomeOptions", bound=Options)


def make_exact(
    options: SomeOptions, probe: Path, load: Callable[[Path, SomeOptions], Session]
) -> SomeOptions:
    """onnxruntime's options, changed only if need be, under which the probe is answered rightly.

    A bundle without a probe needs none. Raises ModelError where no option helps.
    """
    if not probe.exists() or is_exact(load(probe, options).run):
        return options
    options.add_session_config_entry(EXACT_KERNELS, "1")
    check_exact(load(probe, options).run, probe)
    return options


def check_exact(run: Run, probe: Path) -> None:
    """Raises ModelError when a runtime's answer to the probe is wrong."""
    if not is_exact(run):
        raise ModelError(
            "this processor's 8-bit arithmetic saturates: the model's vectors would be wrong",
            path=str(probe.parent),
            hint="convert it with --weight-bits 7 (a little less exact), or use an fp32 bundle",
        )


def is_exact(run: Run) -> bool:
    """Whether the sums are, to the last one, those that the probe expects."""
    for rows in ROWS:
        inputs = np.full((rows, INPUTS), LOUDEST, dtype=np.uint8)
        sums, expected = run(None, {"inputs": inputs})
        if not np.array_equal(sums, np.broadcast_to(expected, sums.shape)):
            return False
    return True
