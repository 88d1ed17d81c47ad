"""The weights of a bundle of `mini`, widened again, to go on from where no run was kept."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from .towers import POSITIONS

HEADS = {"vision": ("head.", "vision_head."), "text": ("head.", "text_head.")}


def read_bundle(bundle: Path) -> dict[str, Tensor]:
    """The state of a DualEncoder, as far as the two graphs hold it (not the temperatures)."""
    state: dict[str, Tensor] = {}
    for tower, (old, new) in HEADS.items():
        graph = onnx.load(bundle / f"{tower}.onnx").graph
        arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        for name, array in arrays.items():
            if name.endswith(".scale"):
                continue
            values = array.astype(np.float32)
            if array.dtype == np.int8:
                values = values * arrays[name.removesuffix("weight") + "scale"]
                if not name.startswith(("encoder.words", "encoder.positions")):
                    values = values.T  # Int8Linear keeps (inputs, outputs)
            if name == "encoder.positions.weight":  # a bundle has those of its context alone
                values = np.pad(values, ((0, POSITIONS - len(values)), (0, 0)))
            if name.endswith(".spread") and values.size == 1:
                values = values.reshape(())
            own = new + name.removeprefix(old) if name.startswith(old) else name
            state[own] = torch.from_numpy(np.ascontiguousarray(values))
    return state
