"""Both towers on onnxruntime, by its CPU provider or another; the only module that imports it."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipindex.errors import ModelError, ProviderUnavailable
from clipindex.model.imports import guarded_import
from clipindex.model.providers import CPU_BATCH, Provider, unavailable
from clipindex.model.saturation import make_exact

if TYPE_CHECKING:
    from clipindex.pictures.decode import Pixels

with guarded_import():
    import onnxruntime

    if sys.platform == "win32":  # which has no variable for it
        onnxruntime.disable_telemetry_events()

CPU = "CPUExecutionProvider"
GPU_BATCH = 32

# In order of preference, by onnxruntime's names; the CPU runs the operators that a GPU lacks.
_CHAINS: dict[Provider, list[str | tuple[str, dict[str, str]]]] = {
    Provider.CPU: [CPU],
    # Without TF32 a GPU gives the vectors of a CPU. It costs nothing: decoding limits the speed.
    Provider.CUDA: [("CUDAExecutionProvider", {"use_tf32": "0"}), CPU],
    Provider.TENSORRT: [
        "TensorrtExecutionProvider",
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        CPU,
    ],
    # The newer of its two formats; the older one computes in half precision.
    Provider.COREML: [("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}), CPU],
    Provider.DIRECTML: ["DmlExecutionProvider", CPU],
}


def name_of(provider: Provider) -> str:
    """onnxruntime's own name of a provider."""
    first = _CHAINS[provider][0]
    return first if isinstance(first, str) else first[0]


def check(provider: Provider) -> None:
    """Raises ProviderUnavailable when the installed onnxruntime was built without the provider.

    Whether it starts is known only once it has loaded a model. Call it from the main thread.
    """
    built_with = onnxruntime.get_available_providers()
    if name_of(provider) not in built_with:
        why = f"the installed onnxruntime has {', '.join(built_with)}"
        raise unavailable(provider, why)
    on_cuda = provider in (Provider.CUDA, Provider.TENSORRT)
    if on_cuda and hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()  # CUDA's libraries, from packages where pip has them


def has_cuda() -> bool:
    """Whether the installed onnxruntime was built with CUDA. Call it from the main thread."""
    try:
        check(Provider.CUDA)
    except ProviderUnavailable:
        return False
    return True


class SessionTower:
    """A vision tower in an onnxruntime session."""

    def __init__(self, path: Path, probe: Path | None, provider: Provider) -> None:
        """Load the graph at `path`. `probe`: see `saturation`; only 8-bit weights have one.

        Raises ModelError, or ProviderUnavailable for a provider other than the CPU.
        """
        options = session_options()
        self._one_at_a_time: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if provider is Provider.DIRECTML:  # its documentation asks for both
            options.enable_mem_pattern = False
            self._one_at_a_time = threading.Lock()
        options = make_exact(options, probe, load)
        self._session = load(path, options, provider)
        self.provider_in_use: str = self._session.get_providers()[0]
        self.batch = CPU_BATCH if provider is Provider.CPU else GPU_BATCH

    def run(self, pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        """See `VisionTower.run`."""
        with self._one_at_a_time:
            (output,) = self._session.run(["image_embeds"], {"pixels": pixels})
        embeddings: np.ndarray[tuple[int, ...], np.dtype[Any]] = output
        return embeddings


def session_options() -> onnxruntime.SessionOptions:
    """Options for a session of one thread. The pipeline's workers run in parallel, and a vector
    must not depend on how many there are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def fast_start_options() -> onnxruntime.SessionOptions:
    """Options for a process that encodes one text, where optimising costs more than it saves.

    Graph and weights unprepared: 95 instead of 140 ms of CPU (mini, load and run). No plan for
    reusing buffers: 14 instead of 52 ms of CPU (ViT-B/32, load).
    """
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_reuse = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def load(
    path: Path, options: onnxruntime.SessionOptions, provider: Provider = Provider.CPU
) -> onnxruntime.InferenceSession:
    """A session on this provider and no other.

    onnxruntime itself only logs that a provider did not start, and continues on the CPU.
    Raises ModelError, or ProviderUnavailable for a provider other than the CPU.
    """
    chain = _CHAINS[provider]
    if provider is Provider.CPU:
        options.log_severity_level = 4  # what goes wrong there is in the exception as well
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=chain, enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        why = f"onnxruntime cannot load {path.name}: {str(error).splitlines()[0][:400]}"
        if provider is not Provider.CPU:
            raise unavailable(provider, why) from error
        hint = "download or convert the bundle again"
        if "bad_alloc" in why:
            hint = "there is too little memory: free some, or raise its limit (ulimit -v)"
        raise ModelError(why, path=str(path), hint=hint) from error
    session.disable_fallback()  # of a later run
    used = session.get_providers()[0]
    if used != name_of(provider):
        raise unavailable(provider, f"it did not start, onnxruntime went on with {used}")
    return session
