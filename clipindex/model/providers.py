"""The providers that can run the vision tower, and what a loaded tower offers.

Imports nothing heavy: the command line needs these names before it reads any option.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from clipindex.errors import ProviderUnavailable

if TYPE_CHECKING:
    import numpy as np

    from clipindex.pictures.decode import Pixels


CPU_BATCH = 4  # pictures; 4 to 8 take the same time each on one thread, 8 needs 40 MB more


class Provider(StrEnum):
    """What a user may ask for. `auto` is cuda where it starts, else cpu; it never fails and never
    lowers the precision."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"
    DIRECTML = "directml"


class VisionTower(Protocol):
    """A loaded vision tower."""

    provider_in_use: str  # as the runtime names it, read back after loading
    batch: int  # pictures; the batch size that suits it

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """Pixels [batch, size, size, 3] uint8 to embeddings [batch, dimension] float32, which are
        not normalised. Safe to call from several threads."""
        ...


_GPU = "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_HINTS = {
    Provider.CUDA: f"for an NVIDIA GPU: {_GPU}",
    Provider.TENSORRT: f"for an NVIDIA GPU, with TensorRT installed: {_GPU}",
    Provider.OPENVINO: "pip install 'clipindex[openvino]'",
    Provider.COREML: "onnxruntime has it on macOS only",
    Provider.DIRECTML: "on Windows: pip uninstall onnxruntime && pip install onnxruntime-directml",
}


def unavailable(provider: Provider, why: str) -> ProviderUnavailable:
    """The error for a provider that cannot be used, with a hint how to get it."""
    hint = f"{_HINTS[provider]}; or leave --provider out"
    return ProviderUnavailable(f"the provider '{provider}' is not available: {why}", hint=hint)
