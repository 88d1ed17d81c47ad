"""What runs the vision tower: the providers a user may ask for, and what each of them is.

Light on purpose: the command line imports it before any option is read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from clipindex.errors import ProviderUnavailable

if TYPE_CHECKING:
    import numpy as np

    from clipindex.pictures.decode import Pixels


CPU_BATCH = 4  # 4 to 8 cost the same on one thread, 8 takes 40 MB more


class Provider(StrEnum):
    """`auto` is cuda where it loads, else cpu; it never fails and never asks for less precision."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"
    DIRECTML = "directml"


class VisionTower(Protocol):
    """A vision tower, loaded."""

    provider: str  # what really runs it, read back
    batch: int  # pictures at a time that suit it

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """Pixels [batch, size, size, 3] uint8 to embeddings [batch, dimension] of any length;
        safe to call from threads."""
        ...


_GPU = "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_HINTS = {
    Provider.CUDA: f"for an NVIDIA GPU: {_GPU}",
    Provider.TENSORRT: f"for an NVIDIA GPU, with TensorRT installed: {_GPU}",
    Provider.OPENVINO: "pip install 'clipindex[openvino]'",
    Provider.COREML: "onnxruntime has it on macOS alone",
    Provider.DIRECTML: "on Windows: pip uninstall onnxruntime && pip install onnxruntime-directml",
}


def unavailable(provider: Provider, why: str) -> ProviderUnavailable:
    """The error for a provider that was asked for and cannot be had, and how to get it."""
    hint = f"{_HINTS[provider]}; or leave --provider out"
    return ProviderUnavailable(f"the provider '{provider}' is not available: {why}", hint=hint)
